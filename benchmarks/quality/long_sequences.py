"""A long sequence from a model of blocks: cost and memory along it, and its statistics.

    python -m benchmarks.quality.long_sequences --model RUN [--masked RUN] [--kilobases 100]
        [--no-cache 2] [--smoke]

`RUN` is a run of `lm=block` on a genome with a test split, and `--masked` one of `lm=mdlm` with the
same network and windows, whose sampler `semi_ar` makes long sequences from overlapping windows. One
thread. A second table compares the sequence with the test split: 6-mers, and how often bases at a
distance are equal, of which the reading frame makes more at multiples of three. Its other rows are
real sequence of the same length, a Markov model of order 5, and shuffled bases.
"""

import argparse
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import genome_of, model_note
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.evaluation.samples.infilling import FIRST_BASE_ID
from dnamdlm.evaluation.samples.reference_samples import markov_models
from dnamdlm.evaluation.samples.spectra import jensen_shannon
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.markov import MarkovLM
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.words.codes import N_CODE
from dnamdlm.words.kmers import kmer_counts

WORD = 6
MARKOV_ORDER = 5
STRETCHES = 10
NEAR, FAR = range(3, 303), range(303, 3003)
"""Distances of the reading frame, and of what is beyond a window."""
MIB = 1 << 20


@dataclass(frozen=True)
class Made:
    """A sequence and what it cost.

    Attributes:
        codes: of the bases.
        seconds: of the processor, after each piece.
        lengths: bases after each piece.
        memory: of the process in MiB, after each piece.
    """

    codes: np.ndarray
    seconds: list[float]
    lengths: list[int]
    memory: list[float]

    def stretches(self) -> list[tuple[float, float]]:
        """Processor seconds per 1,000 bases, and memory at the end, of tenths of the sequence."""
        ends = np.linspace(0, self.lengths[-1], STRETCHES + 1)[1:]
        found: list[tuple[float, float]] = []
        before, began = 0, 0.0
        for end in ends:
            last = int(np.searchsorted(self.lengths, end - 0.5))
            bases, spent = self.lengths[last] - before, self.seconds[last] - began
            if bases:
                found.append((1000 * spent / bases, self.memory[last]))
            before, began = self.lengths[last], self.seconds[last]
        return found


def resident() -> float:
    """Memory that the process has now, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(kilobytes) * 1024 / MIB


def made(pieces: Iterator[Generated]) -> Made:
    """The one row of some pieces, with the cost of each."""
    codes: list[np.ndarray] = []
    seconds: list[float] = []
    lengths: list[int] = []
    memory: list[float] = []
    began = time.process_time()
    for piece in pieces:
        codes.append(piece.tokens[0].numpy().astype(np.uint8) - FIRST_BASE_ID)
        seconds.append(time.process_time() - began)
        lengths.append(sum(map(len, codes[-1:])) + (lengths[-1] if lengths else 0))
        memory.append(resident())
    return Made(np.concatenate(codes), seconds, lengths, memory)


def by_blocks(loaded: LoadedModel, length: int, *, use_cache: bool) -> Iterator[Generated]:
    """Pieces of a sequence from a model of blocks."""
    lm = loaded.language_model
    assert isinstance(lm, BlockDiffusionLM), "--model is a run of lm=block"
    start = torch.full((1, length), lm.vocabulary.mask_id)
    return lm.pieces(
        row_keys(1, torch.arange(1)), start, window=loaded.length, num_steps=lm.block_length,
        use_cache=use_cache,
    )  # fmt: skip


def by_windows(loaded: LoadedModel, length: int) -> Iterator[Generated]:
    """Pieces of a sequence from a masked model, in windows that overlap by half."""
    template = Template.of_masks(length, loaded.language_model.vocabulary)
    return generate_pieces(
        loaded.language_model, row_keys(1, torch.arange(1)), template, sampler="semi_ar",
        trained_length=loaded.length,
    )  # fmt: skip


def equal_shares(codes: np.ndarray, distances: range) -> np.ndarray:
    """Share of bases that are equal at each distance, less that of shuffled bases."""
    frequencies = np.bincount(codes, minlength=4)[:4] / len(codes)
    shares = [np.mean(codes[distance:] == codes[:-distance]) for distance in distances]
    return np.array(shares) - np.square(frequencies).sum()


def statistics_of(codes: np.ndarray, reference: np.ndarray) -> tuple[float, ...]:
    """Divergence of words in bits, GC, excess at multiples of three, and excess far away."""
    own, theirs = (kmer_counts([item], WORD)[WORD - 1] for item in (codes, reference))
    near, far = (equal_shares(codes, distances) for distances in (NEAR, FAR))
    in_frame = np.array(NEAR) % 3 == 0
    frame = near[in_frame].mean() - near[~in_frame].mean()
    gc = float(np.isin(codes, (1, 2)).mean())
    return float(jensen_shannon(own, theirs)), gc, float(frame), float(far.mean())


def real_stretches(genome: OpenGenome, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A stretch of the test split without N, and another to compare with."""
    windows = genome.evaluation_windows("test", length=length)
    found: list[np.ndarray] = []
    for batch in windows.batches(1):
        codes = batch.tokens[0].numpy() - FIRST_BASE_ID
        if bool(batch.valid.all()) and codes.max() < N_CODE:
            found.append(codes.astype(np.uint8))
        if len(found) == 2:
            return found[0], found[1]
    raise ValueError(f"the test split has no two stretches of {length} known bases")


def cost_rows(name: str, sequence: Made) -> list[tuple[Cell, ...]]:
    """Rows of the first table: the tenths of a sequence."""
    rows: list[tuple[Cell, ...]] = []
    first: float | None = None
    for number, (cost, memory) in enumerate(sequence.stretches(), start=1):
        first = cost if first is None else first
        rows.append((name, number, sequence.lengths[-1], cost, cost / first, memory))
    return rows


def compare(loaded: LoadedModel, codes_made: np.ndarray, *, smoke: bool) -> None:
    """The second table: a generated sequence, and others of its length."""
    length, note = len(codes_made), model_note(loaded)
    genome = genome_of(loaded)
    real, reference = real_stretches(genome, length)
    chain = MarkovLM(markov_models([reference], MARKOV_ORDER)[MARKOV_ORDER])
    drawn = chain.generate(row_keys(1, torch.arange(1)), length).tokens[0].numpy() - FIRST_BASE_ID
    sequences = {
        "generated": codes_made,
        "real, another stretch of the test split": real,
        f"Markov order {MARKOV_ORDER} of the test split": drawn.astype(np.uint8),
        "real, bases shuffled": np.random.default_rng(0).permutation(real),
    }
    finish(
        ResultTable(
            theme="quality-long-statistics",
            title=f"A generated sequence of {length:,} bases compared with real ones",
            columns=("sequence", f"divergence of {WORD}-mers, bits", "GC",
                     "more equal bases in frame than out of it", "equal bases far away"),
            rows=[(name, *statistics_of(codes, reference)) for name, codes in sequences.items()],
            notes=(
                note,
                f"divergence from a stretch of the test split of {length:,} bases",
                f"in frame: distances {NEAR.start} to {NEAR.stop - 1}, multiples of three against "
                f"the others; far away: {FAR.start} to {FAR.stop - 1}, less what shuffled bases "
                "have",
            ),
        ),
        smoke=smoke,
    )  # fmt: skip


def main() -> None:
    """Generate, measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="run folder of lm=block on a genome")
    parser.add_argument("--masked", help="run folder of lm=mdlm with the same network and windows")
    parser.add_argument("--kilobases", type=int, default=100)
    parser.add_argument("--no-cache", type=int, default=2, help="kilobases without a cache")
    parser.add_argument("--smoke", action="store_true", help="print short tables, store nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(arguments.model, device="cpu")
    length = 1000 * arguments.kilobases
    # tables and threads are made before anything is measured.
    list(itertools.islice(by_blocks(loaded, 2 * loaded.length, use_cache=True), 4))
    long = made(by_blocks(loaded, length, use_cache=True))
    rows = cost_rows("blocks, keys and values kept", long)
    others = {
        "blocks, nothing kept": partial(by_blocks, loaded, use_cache=False),
    }
    if arguments.masked:
        masked = load_model(arguments.masked, device="cpu")
        others["masked model, windows that overlap"] = partial(by_windows, masked)
    for name, make in others.items():
        short = made(make(1000 * arguments.no_cache))
        cost = 1000 * short.seconds[-1] / short.lengths[-1]
        rows.append((name, None, short.lengths[-1], cost, cost / float(str(rows[0][3])), None))
    note = model_note(loaded)
    finish(
        ResultTable(
            theme="quality-long-cost",
            title=f"Cost of a sequence of {length:,} bases along it",
            columns=("made by", "tenth", "bases in all", "processor s per 1,000 bases",
                     "of the first", "memory of the process, MiB"),
            rows=rows,
            notes=(note, f"windows of {loaded.length} bases, one thread"),
        ),
        smoke=arguments.smoke,
    )  # fmt: skip
    compare(loaded, long.codes, smoke=arguments.smoke)


if __name__ == "__main__":
    main()
