"""Hiding every n-th base at a time, as `tracks` and `interpret` do, against hiding one at a time.

    python -m benchmarks.quality.strides --model RUN [--other RUN] [--windows 40]
        [--strides 2 4 8 16 32 64] [--split test] [--smoke]

For every base of the windows and each of its three exchanges the score is log p(alt) - log p(ref)
of the base hidden. With a stride n a window takes n passes and other bases are hidden too, n apart;
as long as the window it takes one pass for each base, which is exact. Windows are those of a split
of the genome that the model was trained on. `--other` is a run of the same settings with another
seed: how far its exact scores are from those of the model is the noise of training, against which
the error of a stride is to be read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.started import start
from benchmarks.trained import genome_of, model_note
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.correlations import pearson
from dnamdlm.evaluation.likelihood.locus_bits import surrounded_log_probs
from dnamdlm.lm.masked import MaskedDiffusionLM


def exchange_scores(
    loaded: LoadedModel, batches: Sequence[Batch], stride: int
) -> NDArray[np.float64]:
    """The log ratio of alternative and reference for the three exchanges of every base, (N, 3).

    Args:
        loaded: a masked diffusion model.
        batches: windows.
        stride: every stride-th base is hidden at a time.

    Raises:
        ConfigError: for a model of another kind.
    """
    lm = loaded.lm
    if not isinstance(lm, MaskedDiffusionLM):
        raise ConfigError(f"{loaded.folder} is no masked diffusion model; give one that is")
    real = torch.tensor(lm.vocabulary.real_ids)
    found = []
    for batch in batches:
        with torch.inference_mode():
            log_probs = surrounded_log_probs(lm, batch, stride)[..., real].double()
        is_base = batch.valid & torch.isin(batch.tokens, real)
        here = log_probs[is_base]
        ref = torch.searchsorted(real, batch.tokens[is_base])[:, None]
        others = torch.arange(len(real)) != ref
        scores = here - here.gather(1, ref)
        found.append(scores[others].reshape(len(ref), len(real) - 1).numpy())
    return np.concatenate(found)


def compared(
    name: Cell, passes: Cell, scores: NDArray[np.float64], exact: NDArray[np.float64]
) -> tuple[Cell, ...]:
    """A row: Pearson's r with the exact scores, root mean square and largest difference, nats."""
    difference = scores - exact
    return (
        name, passes, pearson(scores.ravel(), exact.ravel()),
        float(np.sqrt((difference**2).mean())), float(np.abs(difference).max()),
    )  # fmt: skip


def main() -> None:
    """Score, compare, print and store."""
    parser = argparse.ArgumentParser(description="Strides of masks against single masks.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--other", help="run of the same settings with another seed")
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--strides", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    parser.add_argument("--smoke", action="store_true", help="two windows, store nothing")
    arguments = parser.parse_args()
    if min(arguments.strides) < 1:
        raise ConfigError(f"--strides {min(arguments.strides)} is impossible; give 1 or more")
    loaded = load_model(arguments.model)
    number = 2 if arguments.smoke else arguments.windows
    opened = genome_of(loaded)
    windows = opened.evaluation_windows(arguments.split, None, number)
    batches = list(windows.batches(16))
    length = batches[0].tokens.shape[1]
    number = sum(len(batch.tokens) for batch in batches)
    exact = exchange_scores(loaded, batches, length)
    rows = [
        compared(f"stride {stride}", stride, exchange_scores(loaded, batches, stride), exact)
        for stride in arguments.strides
        if stride < length
    ]
    notes = [model_note(loaded)]
    if arguments.other is not None:
        other = load_model(arguments.other)
        if (other.length, genome_of(other).store.sha256) != (loaded.length, opened.store.sha256):
            raise ConfigError(
                f"{arguments.other} reads other windows or another genome than {arguments.model}; "
                "give a run that differs by its seed"
            )
        rows.append(
            compared("another seed", length, exchange_scores(other, batches, length), exact)
        )
        notes.append(f"another seed: {model_note(other)}")
    table = ResultTable(
        "quality-strides",
        f"All exchanges of {number} windows with several bases hidden against one at a time",
        ("bases hidden", "passes of a window", "Pearson r with single masks",
         "root mean square difference, nats", "largest difference, nats"),
        rows,
        (
            f"{exact.size:,} exchanges of {len(exact):,} bases of the {arguments.split} split, "
            f"windows of {length}; standard deviation of the exact scores {exact.std():.3f} nats",
            *notes,
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=torch.get_num_threads())


if __name__ == "__main__":
    start(main)
