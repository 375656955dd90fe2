"""Sequences per second, network calls and k-mer likeness of every sampler.

    python -m benchmarks.speed.samplers --model RUN [--lengths 512 1024] [--steps 64 256 1024]
        [--sequences 16] [--split valid] [--threads 1] [--smoke]

Seconds are processor seconds of one thread on a CPU, which other work on the machine hardly moves,
and wall seconds elsewhere. All rows use one model and the same keys. The first two rows of each
block follow the schedule of calls of the original code: a call for every unfinished sequence in
every step (ancestral without cache), and a call for all of them in each step in which any of them
changes (its cache, which is batch-wide). Both give the very sequences of our ancestral rule, so
that their quality is its own. Likeness is the Jensen-Shannon divergence of 6-mers from the split,
compared with that of as many real windows; entropy is that of the 6-mers. Both depend on the amount
generated, so compare only rows of one length.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import genome_of
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.steps import Ancestral, Step
from dnamdlm.evaluation.samples.spectra import spectrum_divergences
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    BlockSampler,
    ConfidenceSampler,
    EntropyBoundedSampler,
    FirstHittingSampler,
    RemaskSampler,
    Sampler,
    SemiAutoregressiveSampler,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.words.kmers import kmer_counts

K = 6
FIRST_BASE_ID = 7


class EveryStep(Ancestral):
    """Calls the network in every step, as the original does without its cache."""

    def needs_network(self, step: Step) -> torch.Tensor:
        return step.hidden.any(dim=-1)


class BatchWideCache(Ancestral):
    """Calls the network for the whole batch if any row changes, as the original's cache does."""

    def needs_network(self, step: Step) -> torch.Tensor:
        return super().needs_network(step).any().expand(len(step.tokens))


@dataclass(frozen=True)
class OriginalSchedule(AncestralSampler):
    """The ancestral sampler with another rule for calls."""

    cached: bool = False

    def rule(self, choice: Choice) -> Ancestral:
        return BatchWideCache(choice) if self.cached else EveryStep(choice)


def samplers_of(num_steps: int, length: int) -> dict[str, Sampler]:
    """Label -> sampler that depends on a number of steps."""
    return {
        "original: ancestral, no cache": OriginalSchedule(num_steps=num_steps),
        "original: ancestral, batch-wide cache": OriginalSchedule(num_steps=num_steps, cached=True),
        "ancestral": AncestralSampler(num_steps=num_steps),
        "ancestral, cosine grid": AncestralSampler(num_steps=num_steps, grid="cosine"),
        "remask, cap": RemaskSampler(num_steps=num_steps),
        "remask, confidence": RemaskSampler(num_steps=num_steps, strategy="confidence", eta=1.0),
        "remask, loop": RemaskSampler(num_steps=num_steps, strategy="loop"),
        "confidence, probability": ConfidenceSampler(num_steps=num_steps),
        "confidence, entropy": ConfidenceSampler(num_steps=num_steps, order="entropy"),
        "semi-autoregressive": SemiAutoregressiveSampler(num_steps=num_steps),
        "block of 32": BlockSampler(num_steps=max(1, num_steps * 32 // length)),
    }


WITHOUT_STEPS: dict[str, Sampler] = {
    "first hitting": FirstHittingSampler(),
    "entropy bound 1": EntropyBoundedSampler(bound=1.0),
    "entropy bound 5": EntropyBoundedSampler(bound=5.0),
    "entropy bound 20": EntropyBoundedSampler(bound=20.0),
}


def clock_of(device: torch.device) -> Callable[[], float]:
    """Processor time where one thread does all the work, else wall time."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def measure(
    loaded: LoadedModel, sampler: Sampler, length: int, num_sequences: int
) -> tuple[list[np.ndarray], float, int, int]:
    """Codes of the sequences, seconds, network calls and row calls."""
    device = next(loaded.lm.parameters()).device
    clock = clock_of(device)
    start = clock()
    pieces = list(
        generate_pieces(
            loaded.language_model,
            row_keys(1, torch.arange(num_sequences)).to(device),
            Template.of_masks(length, NUCLEOTIDE_VOCABULARY),
            sampler=sampler,
            choice=UNCHANGED,
            trained_length=loaded.length,
        )
    )
    tokens = torch.cat([piece.tokens for piece in pieces], dim=1).cpu().numpy()
    seconds = clock() - start
    calls = sum(piece.network_calls for piece in pieces)
    row_calls = sum(piece.row_calls for piece in pieces)
    return [(row - FIRST_BASE_ID).astype(np.uint8) for row in tokens], seconds, calls, row_calls


def quality(sequences: list[np.ndarray], reference: list[np.ndarray]) -> tuple[float, float, float]:
    """Divergence of 6-mers with its standard error, and their entropy in bits."""
    rng = np.random.default_rng(0)
    divergence = spectrum_divergences(
        sequences, reference, rng, max_k=K, max_blocks=512, repeats=200
    )[K - 1]
    counts = kmer_counts(sequences, K)[K - 1]
    shares = counts[counts > 0] / counts.sum()
    error = (divergence.high - divergence.value) / 1.96
    return divergence.value, error, float(-(shares * np.log2(shares)).sum())


def real_windows(
    genome: OpenGenome, split: str, length: int, limit: int, seed: int
) -> list[np.ndarray]:
    """Codes of whole real windows without N, spread over a split."""
    batches = genome.evaluation_windows(split, length, limit, seed).batches(64)
    return [
        (row.numpy() - FIRST_BASE_ID).astype(np.uint8)
        for batch in batches
        for row, valid in zip(batch.tokens, batch.valid, strict=True)
        if bool(valid.all())
    ]


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Speed and likeness of every sampler.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--steps", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--sequences", type=int, default=16, help="per row of the table")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="print a short table, store nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    loaded = load_model(arguments.model, device=arguments.device)
    genome = genome_of(loaded)
    rows: list[tuple[Cell, ...]] = []
    for length in arguments.lengths:
        reference = real_windows(genome, arguments.split, length, 4096, seed=0)
        own = reference[:: max(1, len(reference) // arguments.sequences)][: arguments.sequences]
        value, error, entropy = quality(own, reference)
        rows.append((length, "real windows", None, None, None, None, value, error, entropy))
        chosen = [
            (steps, item)
            for steps in arguments.steps
            for item in samplers_of(steps, length).items()
        ]
        chosen += [(None, item) for item in WITHOUT_STEPS.items()]
        for steps, (label, sampler) in chosen:
            sequences, seconds, calls, row_calls = measure(
                loaded, sampler, length, arguments.sequences
            )
            per_second = arguments.sequences / seconds
            per_row = row_calls / arguments.sequences
            figures = quality(sequences, reference)
            rows.append((length, label, steps, per_second, calls, per_row, *figures))
    table = ResultTable(
        theme="speed-samplers",
        title=f"Samplers, {arguments.sequences} sequences per row",
        columns=(
            "length", "sampler", "steps", "sequences/s", "network calls", "calls per sequence",
            "6-mer JS, bits", "standard error", "6-mer entropy, bits",
        ),
        rows=rows,
        notes=(
            f"model {loaded.digest[:12]}, {loaded.num_parameters:,} parameters, trained on windows "
            f"of {loaded.length}; reference: {arguments.split} split",
            "one run per row, in the order shown; steps are per window (semi-autoregressive) or "
            "shared out over the blocks",
            "the original also calls finished sequences and makes one more call at the end; both "
            "are left out here in its favour",
            "real windows: as many as generated sequences, taken from the reference itself",
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=arguments.threads)


if __name__ == "__main__":
    main()
