"""How well a classifier of 4-mers distinguishes samples from real windows, over several draws.

    python -m benchmarks.quality.distinguished [--model RUN] [--sets 8] [--size 64] [--length 512]
        [--steps 64] [--smoke]

One set of 64 sequences gives an area with an interval of about 0.17, so that one set cannot tell a
good sampler from a poor one. Every set has its own noise, its own real windows of the test split,
and its own Markov and shuffled sequences, made as `dnamdlm.judge` makes them. Real windows, against
other real windows, show how far from 0.5 chance leads.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.objectives import mean_and_error
from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import codes_of, genome_of, model_note
from dnamdlm.assembly.models import load_model
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.evaluation.samples.discriminator import FOLDS, discriminate
from dnamdlm.evaluation.samples.reference_samples import compare_with
from dnamdlm.lm.masked import MaskedDiffusionLM

Codes = list[NDArray[np.uint8]]
COLUMNS = ("sample", "AUROC", "+- (sets)", "lowest", "highest")


def sets_of(
    model: MaskedDiffusionLM, *, sets: int, size: int, length: int, num_steps: int
) -> Iterator[Codes]:
    """Sets of sequences by ancestral steps; the seed of the noise is the number of the set."""
    for seed in range(1, sets + 1):
        keys = row_keys(seed, torch.arange(size))
        yield codes_of(model.generate(keys, length, num_steps=num_steps).tokens)


def areas(generated: Sequence[Codes], genome: OpenGenome) -> dict[str, list[float]]:
    """Areas under the ROC curve, one for each set: of generated and of other samples, by label."""
    found: dict[str, list[float]] = {}
    for seed, codes in enumerate(generated, 1):
        compared = compare_with(
            codes, genome.store, genome.splits["test"], np.random.default_rng(seed),
            where="the test split",
        )  # fmt: skip
        for name, sample in compared.samples.items():
            area = discriminate(sample, compared.reference, seed, network=False)
            found.setdefault(compared.labels[name], []).append(area.value)
    return found


def result_table(
    found: dict[str, list[float]],
    notes: Sequence[str],
    report: Callable[[str], object] = print,
) -> ResultTable:
    """One row for each kind of sample, with means over the sets."""
    rows: list[tuple[Cell, ...]] = []
    for label, of_sets in found.items():
        rows.append((label, *mean_and_error(of_sets), min(of_sets), max(of_sets)))
        report(f"{label}: {of_sets}")
    return ResultTable(
        "quality-distinguished",
        "How well a classifier of 4-mers distinguishes samples from held-out windows",
        COLUMNS,
        rows,
        (
            *notes,
            f"areas under the ROC curve of a logistic regression fitted in {FOLDS} folds, 0.5: no "
            "better than chance; each sample against all windows of the test split that are not "
            "its own",
            "+-: standard error of the mean over sets; sets share the test split, not the noise",
        ),
    )


def main() -> None:
    """Generate, compare, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="yeast-demo", help="a run of a genome, or yeast-demo")
    parser.add_argument("--sets", type=int, default=8)
    parser.add_argument("--size", type=int, default=64, help="sequences per set")
    parser.add_argument("--length", type=int, default=512, help="bases per sequence")
    parser.add_argument("--steps", type=int, default=64, help="ancestral steps")
    parser.add_argument("--smoke", action="store_true", help="two sets of ten, print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sets, size, num_steps = arguments.sets, arguments.size, arguments.steps
    if arguments.smoke:
        sets, size, num_steps = 2, 10, 4
    loaded = load_model(arguments.model)
    model = loaded.language_model
    assert isinstance(model, MaskedDiffusionLM)
    made = sets_of(model, sets=sets, size=size, length=arguments.length, num_steps=num_steps)
    found = areas(list(made), genome_of(loaded))
    about = (
        f"{sets} sets of {size} sequences of {arguments.length} bases, {num_steps} ancestral steps"
    )
    finish(result_table(found, (model_note(loaded), about)), smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
