"""Designs of high measured activity, judged by an oracle that never saw what they were made from.

    python -m benchmarks.quality.designs --table FILE.tsv.gz --column expression --length 150
        --runs DIR [--whole 150] [--start 0] [--log] [--place start_U00096.2] [--seeds 1 2 3 4 5]
        [--designs 6] [--steps 600] [--epochs 4] [--pieces N] [--set KEY=VALUE ...] [--smoke]

The rows are divided, by alternating regions of the genome where the table has places. From the
design half come a masked diffusion model that is conditioned on the activity (left open where it is
not asked for), one of two classes (the most active tenth, and the rest), and for each seed a
fine-tuned regression, the reward. The audit half, without near copies, is read by the held-out
oracle alone: ridge regression on shares of words. For each seed sequences are made by

| way | |
| --- | --- |
| populations | steered to exp(reward / a), with the proposal and a that were chosen |
| populations, guided | the same from the model that is asked for the chosen quantile |
| number, class | guidance alone, with the strength that was chosen |
| rejection, best of draws | from as many network calls as the populations took |
| mutation | of the most active sequences with selection, as many rewards as the populations took |
| mutation, natural | the same, no child beyond the bits per base of 95 % of the real sequences |
| lines, natural | the same, each parent by itself |
| most active, random | real sequences of the design half |

Choices are made once, with a regression of seed 0, by the mean of a ridge regression on words that
is fitted on the design half. Percentiles are those of what each oracle predicts for the design
half. All that was computed is kept in `--runs`, and an interrupted run continues; `--pieces 1` does
one piece of the work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.design_rows import read_halves
from benchmarks.design_runs import Runs
from benchmarks.design_ways import POPULATION, SAMPLER, Maker
from benchmarks.measured_rows import RowSettings
from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.started import start
from benchmarks.trained import model_note, sha256_note
from dnamdlm.assembly.design.audits import Audit
from dnamdlm.assembly.design.baseline_draws import Compared
from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.natural_sequences import Natural
from dnamdlm.evaluation.tasks.kmer_oracle import KmerOracle, fit_kmer_oracle
from dnamdlm.rewards.reward import CountedReward, Reward, rewards_of

_TILTS = (
    *(("bootstrap", share) for share in (0.2, 0.05)),
    *(("gradient", share) for share in (0.2, 0.1, 0.05, 0.02)),
)
_ASKED = tuple((quantile, g) for quantile in ("q0.9", "q0.99") for g in (1.0, 2.0, 4.0))
_UNFINISHED = 75
_FIGURES = (
    "reward_mean", "reward_above_99", "reward_above_99.9", "audit_mean", "audit_above_99",
    "audit_above_99.9", "pair_distance", "nearest_identity", "bits_per_base", "gc",
    "network_calls", "reward_sequences", "seconds",
)  # fmt: skip
_COLUMNS = (
    "sequences by", "reward", "> 99 %", "> 99.9 %", "audit", "> 99 %", "> 99.9 %", "pair distance",
    "nearest natural (identity)", "bits per base", "GC", "network calls", "rewards", "seconds",
)  # fmt: skip


def choose(runs: Runs, count: int) -> dict[str, Any]:
    """Temperature, proposal and guidance, by a ridge regression on the design half."""
    rows = runs.halves.design
    judge = fit_kmer_oracle(rows.texts, rows.values, seed=0)
    maker = Maker(runs, runs.reward(0), 0, count)

    def best(way: Callable[..., Compared], choices: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
        found = {choice: float(judge.batch(way(*choice).sequences).mean()) for choice in choices}
        return {
            "chosen": max(found, key=found.__getitem__),
            "scores": [[*choice, value] for choice, value in found.items()],
        }

    return {
        "populations": best(maker.steered, _TILTS),
        "number": best(maker.asked, _ASKED),
        "class": best(maker.of_class, [(1.0,), (2.0,), (4.0,)]),
    }


def made_in_every_way(
    runs: Runs, choice: Mapping[str, Any], seed: int, count: int
) -> dict[str, tuple[Compared, float]]:
    """Way -> its sequences and what they took, with the seconds."""
    reward = runs.reward(seed)
    maker = Maker(runs, reward, seed, count)
    tilt, (quantile, guidance) = choice["populations"]["chosen"], choice["number"]["chosen"]
    found: dict[str, tuple[Compared, float]] = {}

    def add(name: str, way: Callable[[], Compared]) -> Compared:
        began = time.perf_counter()
        made = way()
        found[name] = made, time.perf_counter() - began
        return made

    own = add("populations", lambda: maker.steered(*tilt))
    asked = {"condition": {"activity": quantile}, "guidance": guidance}
    add("populations, guided", lambda: maker.steered(*tilt, **asked))
    add("number", lambda: maker.asked(quantile, guidance))
    add("class", lambda: maker.of_class(*choice["class"]["chosen"]))
    began = time.perf_counter()
    for name, made in maker.drawn(own.network_calls, tilt[1]).items():
        found[name] = made, time.perf_counter() - began
    for name, way in maker.mutants(own.rewards).items():
        add(name, way)
    rows = runs.halves.design
    order = np.argsort(-rows.values, kind="stable")[:count]
    some = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    for name, chosen in (("most active", order), ("random", some)):
        found[name] = Compared([rows.texts[row] for row in chosen]), 0.0
    return found


def figures(
    runs: Runs, made: Mapping[str, tuple[Compared, float]], reward: Reward, audit: KmerOracle,
    seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row of figures for each way."""
    rows = runs.halves.design
    names = [f"row_{number + 1}" for number in range(len(rows))]
    natural = Natural("design half", names, rows.texts, rows.values)
    settings = DesignSettings("x", "x", "x", baselines=False, seed=seed, natural="x")
    judge = Audit(runs.numbers, settings, {"reward": reward, "audit": audit}, natural)
    (first, (own, _)), *others = made.items()
    columns = {"reward": CountedReward(reward).batch(own.sequences).tolist()}
    found = judge.compared(
        columns | judge.columns(own.sequences), own, {name: item for name, (item, _) in others}
    )
    for row, (name, (_, seconds)) in zip(found, made.items(), strict=True):
        row |= {"name": name, "seconds": seconds}
    assert found[0]["name"] == first
    return found


def seed_figures(
    runs: Runs,
    choice: Mapping[str, Any],
    audit: KmerOracle,
    seed: int,
    *,
    count: int,
) -> dict[str, Any]:
    """All that one seed gives."""
    made = made_in_every_way(runs, choice, seed, count)
    reward = runs.reward(seed)
    held = runs.halves.audit
    predicted = rewards_of(reward, held.texts[:1000])
    return {
        "rows": figures(runs, made, reward, audit, seed),
        "reward_pearson": float(np.corrcoef(predicted, held.values[:1000])[0, 1]),
        "sequences": {name: list(item.sequences) for name, (item, _) in made.items()},
    }


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What a file holds, which is computed where there is none."""
    if not path.is_file():
        found = compute()
        path.write_text(json.dumps(found, indent=1) + "\n")
    return json.loads(path.read_text())


def table_rows(seeds: Sequence[dict[str, Any]]) -> list[tuple[Cell, ...]]:
    """Mean over the seeds of each figure, with the standard deviation of the seeds."""
    rows: list[tuple[Cell, ...]] = []
    for number, row in enumerate(seeds[0]["rows"]):
        cells: list[Cell] = [row["name"]]
        for key in _FIGURES:
            values = [float(one["rows"][number].get(key, np.nan)) for one in seeds]
            values = [value for value in values if np.isfinite(value)]
            if not values or (key in _FIGURES[-3:] and not any(values)):
                cells.append(None)
                continue
            digits = 0 if key in _FIGURES[-3:] else 3
            spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
            shown = f"{np.mean(values):,.{digits}f}"
            cells.append(shown if digits == 0 else f"{shown} +- {spread:.{digits}f}")
        rows.append(tuple(cells))
    return rows


def pieces(
    runs: Runs, audit: KmerOracle, seeds: Sequence[int], count: int
) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """Each piece of work in order: a file that is there once it is done, and how it is done."""
    choice = runs.folder / "choice.json"
    yield runs.done("numbers"), lambda: runs.numbers
    yield runs.done("classes"), lambda: runs.classes
    yield runs.done("reward_0"), lambda: runs.reward(0)
    yield choice, lambda: kept(choice, lambda: choose(runs, max(5, count)))
    for seed in seeds:
        yield runs.done(f"reward_{seed}"), lambda seed=seed: runs.reward(seed)
        path = runs.folder / f"seed_{seed}.json"

        def compute(seed: int = seed) -> dict[str, Any]:
            return seed_figures(runs, kept(choice, dict), audit, seed, count=count)

        yield path, lambda path=path, compute=compute: kept(path, compute)


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="Designs, judged by a held-out oracle.")
    parser.add_argument("--table", required=True, type=Path)
    parser.add_argument("--column", required=True, help="of the activities")
    parser.add_argument("--length", required=True, type=int, help="bases that are designed")
    parser.add_argument("--runs", required=True, type=Path)
    parser.add_argument("--whole", type=int, help="bases of a sequence; default: length")
    parser.add_argument("--start", type=int, default=0, help="first base that is designed")
    parser.add_argument("--log", action="store_true", help="log(1 + max(activity, 0))")
    parser.add_argument("--place", help="column of places, whose regions of 50 kb alternate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--designs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pieces", type=int, help="stop after so many pieces, with status 75")
    parser.add_argument("--set", nargs="*", default=[], help="other settings of train")
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    return parser.parse_args()


def main() -> None:
    """Train, choose, make, judge, print and store."""
    arguments = parsed()
    settings = RowSettings(
        arguments.column, arguments.start, arguments.length, arguments.whole or arguments.length,
        arguments.log, arguments.place,
    )  # fmt: skip
    halves = read_halves(arguments.table, settings)
    stem, count = arguments.table.name.split(".")[0], arguments.designs
    runs = Runs(
        arguments.runs / stem, halves, arguments.steps, arguments.epochs, tuple(arguments.set)
    )
    audit = fit_kmer_oracle(halves.audit.texts, halves.audit.values, seed=1)
    left = [piece for piece in pieces(runs, audit, arguments.seeds, count) if not piece[0].exists()]
    for _, compute in left[: arguments.pieces]:
        compute()
    if len(left) > len(left[: arguments.pieces]):
        sys.exit(_UNFINISHED)
    found = [kept(runs.folder / f"seed_{seed}.json", dict) for seed in arguments.seeds]
    choice = kept(runs.folder / "choice.json", dict)
    pearson = ", ".join(f"{one['reward_pearson']:.2f}" for one in found)
    table = ResultTable(
        f"quality-designs-{stem.replace('_', '-')}",
        f"Designs judged by a held-out oracle: {arguments.table.name}, {len(found)} seeds",
        _COLUMNS,
        table_rows(found),
        (
            f"{count} sequences of each way and seed; mean +- standard deviation over seeds",
            f"rows: design half {len(halves.design):,}, audit half {len(halves.audit):,}; left "
            f"out: {halves.left_out}",
            f"correlation with the measurements of the other half: rewards {pearson}; audit "
            f"{audit.pearson:.2f}, {audit.k}-mers (with a part of its own half that it was not "
            "fitted on)",
            "chosen on the design half, temperatures in standard deviations of the reward: "
            f"{ {name: item['chosen'] for name, item in choice.items()} }",
            f"populations of {POPULATION}, {SAMPLER.num_steps} steps, value=likely",
            sha256_note(arguments.table),
            *map(model_note, (runs.numbers, runs.classes)),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    start(main)
