"""Recovery of hidden spans of held-out windows, compared with Markov models and the commonest base.

    python -m benchmarks.quality.infilling --model RUN [--windows 400] [--length 512]
        [--hidden 0.3] [--split valid] [--smoke]

One span of the given share is hidden at a random place of each window (the same for all rows), then
refilled. Recovery is the share of hidden bases that come back as they were. Drawing from the true
distribution of a base recovers sum p^2, picking its most likely base max p: the two ways of filling
are different tasks and stand in rows of their own. The Markov model sees the left side only.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.started import start
from benchmarks.trained import genome_of, model_note
from dnamdlm.assembly.evaluate.markov_baselines import fit_baselines
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.rates import clustered_rate
from dnamdlm.evaluation.samples.infilling import hide_span, sharpest
from dnamdlm.lm.markov import MarkovLM, MarkovModel
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    ConfidenceSampler,
    EntropyBoundedSampler,
    FirstHittingSampler,
    Sampler,
)
from dnamdlm.tokens.iupac import ANY_BASE
from dnamdlm.words.markov_chain import DENSE_ORDER

FIRST_BASE_ID = 7
MASK_ID = 3
MOST_LIKELY = Choice(top_k=1)
FILLERS: dict[str, tuple[Sampler, Choice]] = {
    "first hitting, drawn": (FirstHittingSampler(), UNCHANGED),
    "ancestral, 64 steps, drawn": (AncestralSampler(num_steps=64), UNCHANGED),
    "entropy bound 5, drawn": (EntropyBoundedSampler(bound=5.0), UNCHANGED),
    "first hitting, most likely": (FirstHittingSampler(), MOST_LIKELY),
    "confidence, one per step, most likely": (ConfidenceSampler(num_steps=1024), MOST_LIKELY),
    "all at once, most likely": (AncestralSampler(num_steps=1), MOST_LIKELY),
}


def filled_by_model(
    loaded: LoadedModel, hidden: np.ndarray, keys: Tensor
) -> dict[str, tuple[np.ndarray, float | None]]:
    """Tokens of each way to fill the hidden ones with the network, and its calls per window."""
    filled: dict[str, tuple[np.ndarray, float | None]] = {}
    for label, (sampler, choice) in FILLERS.items():
        made, row_calls = [], 0
        for row in range(len(hidden)):
            template = Template(
                hidden[row].astype(np.uint8), np.full(hidden.shape[1], ANY_BASE, np.uint8)
            )
            for piece in generate_pieces(
                loaded.language_model,
                keys[row : row + 1],
                template,
                sampler=sampler,
                choice=choice,
                trained_length=loaded.length,
            ):
                made.append(piece.tokens.cpu().numpy())
                row_calls += piece.row_calls
        filled[label] = np.concatenate(made), row_calls / len(hidden)
    return filled


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Recovery of hidden spans.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--length", type=int, default=None, help="bases; default as in training")
    parser.add_argument("--hidden", type=float, default=0.3, help="share of each window")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--max-order", type=int, default=DENSE_ORDER, help="of the Markov models")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smoke", action="store_true", help="print a short table, store nothing")
    arguments = parser.parse_args()
    if arguments.max_order > DENSE_ORDER:
        raise ConfigError(
            f"--max-order {arguments.max_order} is too high, since only models to order "
            f"{DENSE_ORDER} generate; give {DENSE_ORDER} or less"
        )
    loaded = load_model(arguments.model, device=arguments.device)
    device = next(loaded.lm.parameters()).device
    genome = genome_of(loaded)
    windows = genome.evaluation_windows(arguments.split, arguments.length, arguments.windows)
    tokens = np.concatenate(
        [batch.tokens[batch.valid.all(dim=1)].numpy() for batch in windows.batches(64)]
    )
    size = max(1, round(arguments.hidden * tokens.shape[1]))
    hidden = hide_span(tokens, size, np.random.default_rng(0))
    asked = hidden == MASK_ID
    counts = asked.sum(axis=1).astype(np.float64)
    keys = row_keys(1, torch.arange(len(tokens)))
    filled = filled_by_model(loaded, hidden, keys.to(device))
    for fit in (fit_baselines(genome, arguments.max_order) or {}).values():
        assert isinstance(fit.model, MarkovModel), "orders above 10 have no table"
        for way, model in (("drawn", fit.best), ("most likely", sharpest(fit.best))):
            generated = MarkovLM(model).generate(
                keys, tokens.shape[1], initial=torch.from_numpy(hidden)
            )
            filled[f"{fit.best.label}, {way}"] = generated.tokens.numpy(), None
    visible = np.bincount(hidden[~asked], minlength=12)[FIRST_BASE_ID : FIRST_BASE_ID + 4]
    commonest = FIRST_BASE_ID + int(visible.argmax())
    filled["commonest base"] = np.where(asked, commonest, tokens), None
    rows: list[tuple[Cell, ...]] = []
    for label, (made, calls) in filled.items():
        rate = clustered_rate(((made == tokens) & asked).sum(axis=1).astype(np.float64), counts)
        rows.append((label, 100 * rate.value, 100 * rate.standard_error, calls))
    table = ResultTable(
        theme="quality-infilling",
        title=f"Recovery of spans of {arguments.hidden:.0%} of {len(tokens)} windows",
        columns=("filled by", "recovered, %", "standard error", "calls per window"),
        rows=rows,
        notes=(
            model_note(loaded),
            f"windows of {tokens.shape[1]} bases of the {arguments.split} split",
            "standard errors with windows as clusters; seeds 0 of the spans and 1 of the draws",
        ),
    )
    finish(table, smoke=arguments.smoke, threads=torch.get_num_threads())


if __name__ == "__main__":
    start(main)
