"""Mixtures over windows with constant weights, and with weights by what is before each window.

    python -m benchmarks.quality.mixture_weights NAME=RUN [NAME=RUN ...] [--windows N] [--smoke]

Each run is the folder of a trained model of a genome. Its network is mixed with Markov models and
copies of its training split, as `evaluate mixture=copies` does, once with weights that are the same
in all windows and once with those that depend on the sequence before a window. Both are chosen on
the same windows of the validation split, and both use the same scores of the network.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluate.markov_baselines import fit_baselines
from dnamdlm.assembly.evaluate.markov_mixture import mixed_orders, windows_to_choose_by
from dnamdlm.assembly.model_data import DataChanges, genome_data
from dnamdlm.assembly.models import load_model
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.likelihood.before_windows import nats_before
from dnamdlm.evaluation.likelihood.markov_scores import score_copies, score_markov
from dnamdlm.evaluation.likelihood.mixture_scores import choose_mixture, mixed_scores
from dnamdlm.evaluation.shared_windows import shared_windows
from dnamdlm.evaluation.window_scores import (
    REPEATS,
    UNIQUE_WINDOWS,
    BaseClasses,
    WindowScores,
    score_windows,
)
from dnamdlm.lm.chain_fit import fit_chain_copies
from dnamdlm.words.context_model import ContextModel
from dnamdlm.words.copies import CopyModel

CLASSES = (UNIQUE_WINDOWS, REPEATS, "all")
DRAWS = 4
REPEAT_LENGTH = 20


def measured(name: str, run: str, windows: int | None) -> list[tuple[Cell, ...]]:
    """The rows of a run: the network, and both mixtures with their differences to it."""
    loaded = load_model(run)
    genome = genome_data(loaded, DataChanges()).open()
    assert isinstance(genome, OpenGenome)
    settings = EvaluateSettings(run, mixture="copies", draws=DRAWS, limit=windows)
    fits = fit_baselines(genome, settings.max_order)
    assert fits is not None, "a mixture needs a training and a validation split"
    fit = fits["interpolated"]
    splits = genome.splits
    copies = fit_chain_copies(genome.store, splits.train, splits.valid, fit.model).model
    models = [model for model in fit.models if model.order in mixed_orders(fit.model.order)]
    valid = windows_to_choose_by(settings, genome)
    test = genome.evaluation_windows("test", limit=windows, seed=settings.seed)
    groups = shared_windows(test, splits.train, REPEAT_LENGTH)
    scores: list[tuple[WindowScores, Mapping[str, WindowScores], np.ndarray]] = []
    for sweep, classes in (
        (valid, BaseClasses(genome.store)),
        (test, BaseClasses(genome.store, None, groups)),
    ):
        network = score_windows(
            loaded.language_model, sweep, draws=DRAWS, batch_size=16, classes=classes
        )
        before = nats_before((models[0], copies), sweep)
        scores.append((network, _copiers(models, copies, sweep, classes), before))
    (of_valid, valid_copiers, valid_before), (of_test, test_copiers, test_before) = scores
    rows = [_row(name, "network alone", of_test, None)]
    for label, chosen_by, known in (
        ("the same in all windows", None, None),
        ("by what is before a window", valid_before, test_before),
    ):
        chosen = choose_mixture(of_valid, valid_copiers, before=chosen_by)
        mixed = mixed_scores(of_test, test_copiers, chosen, by_rule=True, before=known)
        rows.append(_row(name, f"{label}, pi = {chosen.fit.pi:.3f}", mixed, of_test))
    return rows


def _copiers(
    models: Sequence[ContextModel],
    copies: CopyModel,
    windows: Sweep[SplitWindows],
    classes: BaseClasses,
) -> Mapping[str, WindowScores]:
    found = score_markov(models, windows, classes)
    by_name = dict(zip((model.name for model in models), found, strict=True))
    return by_name | {copies.name: score_copies(copies, windows, classes)}


def _row(
    genome: str, name: str, scores: WindowScores, network: WindowScores | None
) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    for part in CLASSES:
        apart = None if network is None else scores.bits_above(network, part)
        cells.append(scores.bits(part).value)
        cells += [None, None] if apart is None else [apart.value, apart.standard_error]
    return (genome, name, *cells)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--windows", type=int, help="of the test split; none: all")
    parser.add_argument("--smoke", action="store_true", help="few windows, print only")
    arguments = parser.parse_args()
    rows: list[tuple[Cell, ...]] = []
    for text in arguments.runs:
        name, _, run = text.partition("=")
        if not Path(run).is_dir():
            parser.error(
                f"{text!r} is not NAME=RUN with a folder; give for instance yeast=runs/demo"
            )
        rows += measured(name, run, 60 if arguments.smoke else arguments.windows)
    columns = [text for part in CLASSES for text in (part, "minus the network", "s.e.")]
    table = ResultTable(
        theme="quality-mixture-weights",
        title="Mixtures over windows: constant weights, and weights by what is before a window",
        columns=("genome", "weights of the Markov models", *columns),
        rows=rows,
        notes=(
            f"bits per base, upper bounds, {DRAWS} draws, shares by a rule; weights and rule are "
            "chosen on the validation split, with the same scores in both mixtures",
            "differences are paired by window; pi: mean weight on the validation split",
        ),
    )
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
