"""Designs of high measured activity, judged by oracles that never saw what they were made from.

    python -m benchmarks.quality.designs --table FILE.tsv.gz --column expression --length 150
        --runs DIR [--whole 150] [--start 0] [--log] [--place start_U00096.2]
        [--region 50000] [--genome FASTA] [--seeds 1 2 3 4 5]
        [--designs 6] [--steps 600] [--epochs 4] [--ensemble N] [--words] [--caution K]
        [--finetune KEY=VALUE ...] [--draws 2000] [--tuning-steps 300] [--pieces N]
        [--set KEY=VALUE ...] [--smoke]

The rows are divided, by alternating regions of the genome where the table has places. From the
design half come a masked diffusion model that is conditioned on the activity (left open where it is
not asked for), one of two classes (the most active tenth, and the rest), and for each seed a
fine-tuned regression, the reward. The audit half, without near copies, is read by two held-out
oracles alone: ridge regression on shares of words, and a fine-tuned network of convolutions. Both
also read the sequences with their letters in random order, which shows what composition alone
gives.

With `--ensemble N` the reward is the mean of N heads, each from a split and a seed of its own;
`--words` adds a regression on words of the design half as a member (`--ensemble 0 --words`: alone),
and `--caution K` takes K standard deviations of the members off their mean. `--finetune` gives
settings to the fine-tuning, such as `transform=rank` or `method=probe probe=ridge`. For each seed
sequences are made by

| way | |
| --- | --- |
| populations | steered to exp(reward / a), with the proposal and a that were chosen |
| populations, guided | the same from the model that is asked for the chosen quantile |
| fine-tuned | draws of a model that was fine-tuned on the reward, see below |
| fine-tuned, populations | steered from it, as the populations above |
| number, class | guidance alone, with the strength that was chosen |
| rejection, best of draws | from as many network calls as the populations took |
| mutation | of the most active sequences with selection, as many rewards as the populations took |
| mutation, natural | the same, no child beyond the bits per base of 95 % of the real sequences |
| lines, natural | the same, each parent by itself |
| most active, random | real sequences of the design half |

With `--genome` every model of the table begins as one that was trained on that genome.

Fine-tuning on the reward is by weighted denoising cross-entropy (`data=tilted`) on draws of a model
of the design half that knows no number, with weights exp(reward / a) and the a that was chosen. The
draws are made once for all seeds. Its network calls and seconds are those of the draws, of the
training (three calls for each row of a batch), and of the sequences themselves.

Choices are made once, with a reward of seed 0, by the mean of a ridge regression on words that is
fitted on the design half. Percentiles are those of what each oracle predicts for the design half.
All that was computed is kept in `--runs`, with the settings that decide it; models that know no
reward are shared by tables with different rewards. An interrupted run continues; `--pieces 1` does
one piece of the work.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.design_audit import NetworkAudit
from benchmarks.design_figures import COLUMNS, figures, table_rows
from benchmarks.design_rewards import RewardSettings, reward_note
from benchmarks.design_rows import Halves, read_halves
from benchmarks.design_runs import SAMPLER, Runs
from benchmarks.design_ways import POPULATION, Maker
from benchmarks.kept_results import Piece, kept, of_settings, read_kept, recorded, worked
from benchmarks.measured_rows import RowSettings, add_row_arguments, row_settings
from benchmarks.results_table import ResultTable, finish
from benchmarks.started import start
from benchmarks.trained import model_note, sha256_note
from dnamdlm.assembly.design.baseline_draws import Compared
from dnamdlm.evaluation.tasks.kmer_oracle import KmerOracle, fit_kmer_oracle
from dnamdlm.rewards.reward import rewards_of

_TILTS = (
    *(("bootstrap", share) for share in (0.2, 0.05)),
    *(("gradient", share) for share in (0.2, 0.1, 0.05, 0.02)),
)
_ASKED = tuple((quantile, g) for quantile in ("q0.9", "q0.99") for g in (1.0, 2.0, 4.0))
# weights exp(reward / a) at 0.5 are worth a twentieth of the draws, or less
_TUNINGS = (1.0, 0.5)
_WAYS = (
    "populations", "populations, guided", "fine-tuned", "fine-tuned, populations", "number",
    "class", "rejection", "best of draws", "mutation", "mutation, natural", "lines, natural",
    "most active", "random",
)  # fmt: skip
_UNFINISHED = 75


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
        "fine-tuned": best(maker.tuned, [(share,) for share in _TUNINGS]),
    }


def made_in_every_way(
    runs: Runs, choice: Mapping[str, Any], seed: int, count: int
) -> dict[str, tuple[Compared, float]]:
    """Way -> its sequences and what they took, with the seconds."""
    reward = runs.reward(seed)
    maker = Maker(runs, reward, seed, count)
    tilt, (quantile, guidance) = choice["populations"]["chosen"], choice["number"]["chosen"]
    (tuning,) = choice["fine-tuned"]["chosen"]
    found: dict[str, tuple[Compared, float]] = {}

    def add(name: str, way: Callable[[], Compared], before: float = 0.0) -> Compared:
        began = time.perf_counter()
        made = way()
        found[name] = made, time.perf_counter() - began + before
        return made

    own = add("populations", lambda: maker.steered(*tilt))
    asked = {"condition": {"activity": quantile}, "guidance": guidance}
    add("populations, guided", lambda: maker.steered(*tilt, **asked))
    before = runs.tuned(seed, tuning).seconds
    add("fine-tuned", lambda: maker.tuned(tuning), before)
    add("fine-tuned, populations", lambda: maker.tuned_steered(tuning, *tilt), before)
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
    assert tuple(found) == _WAYS
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
    tuned = runs.tuned(seed, choice["fine-tuned"]["chosen"][0])
    return {
        "rows": figures(runs, made, reward, audit, seed),
        "reward_pearson": float(np.corrcoef(predicted, held.values[:1000])[0, 1]),
        "tuned": {"network_calls": tuned.network_calls, "seconds": tuned.seconds},
        "sequences": {name: list(item.sequences) for name, (item, _) in made.items()},
    }


def pieces(
    runs: Runs, audit: KmerOracle, network: NetworkAudit, seeds: Sequence[int], count: int
) -> Iterator[Piece]:
    """Each piece of work in order; those of a seed are known once the choices are made."""
    choice = runs.results / "choice.json"

    def reward(seed: int) -> Piece:
        done = runs.done(f"reward_{seed}")
        # a reward without heads is fitted wherever it is used.
        return done if runs.rewards.heads else runs.draws_file, lambda: runs.reward(seed)

    def tuned(seed: int, share: float) -> Piece:
        return runs.done(runs.tuned_name(seed, share)), lambda: runs.tuned(seed, share)

    if runs.genome is not None:
        yield runs.done("genome"), runs.genome_model
    yield runs.done("numbers"), lambda: runs.numbers
    yield runs.done("classes"), lambda: runs.classes
    yield runs.done("plain"), lambda: runs.plain
    yield runs.draws_file, runs.drawn
    yield reward(0)
    yield from (tuned(0, share) for share in _TUNINGS)
    yield choice, lambda: kept(choice, lambda: choose(runs, max(5, count)))
    chosen = read_kept(choice)
    for seed in seeds:
        yield reward(seed)
        yield tuned(seed, chosen["fine-tuned"]["chosen"][0])
        path = runs.results / f"seed_{seed}.json"

        def compute(path: Path = path, seed: int = seed) -> dict[str, Any]:
            return kept(path, lambda: seed_figures(runs, chosen, audit, seed, count=count))

        yield path, compute
    yield from network.pieces()


def runs_of(arguments: argparse.Namespace, halves: Halves, settings: RowSettings) -> Runs:
    """The runs of the arguments, in folders that record what decides them.

    Raises:
        ConfigError: for folders of other settings.
    """
    rewards = RewardSettings(
        arguments.epochs, arguments.ensemble, arguments.caution, arguments.words,
        tuple(arguments.finetune),
    )  # fmt: skip
    folder = arguments.runs / arguments.table.name.split(".")[0]
    of_models = {
        "table": hashlib.sha256(arguments.table.read_bytes()).hexdigest(), **asdict(settings),
        "steps": arguments.steps, "set": arguments.set, "draws": arguments.draws,
    }  # fmt: skip
    if arguments.genome is not None:
        of_models["genome"] = hashlib.sha256(arguments.genome.read_bytes()).hexdigest()
    of_results = {
        **rewards.record(), "designs": arguments.designs, "tuning_steps": arguments.tuning_steps,
        "ways": _WAYS, "tilts": _TILTS, "asked": _ASKED, "tunings": _TUNINGS,
    }  # fmt: skip
    recorded(folder, of_models)
    return Runs(
        folder, of_settings(folder, of_results), halves, arguments.steps, tuple(arguments.set),
        rewards, arguments.draws, arguments.tuning_steps, arguments.genome,
    )  # fmt: skip


def tuning_note(runs: Runs, tuned: Sequence[dict[str, float]]) -> str:
    """What fine-tuning on the reward took."""
    drawn = runs.drawn()
    calls, seconds = (np.mean([one[key] for one in tuned]) for key in ("network_calls", "seconds"))
    return (
        f"fine-tuned: {runs.tuning_steps} steps on {runs.draws:,} weighted draws of a model; of "
        f"the network calls and seconds {drawn['network_calls']:,} and {drawn['seconds']:,.0f} are "
        f"of these draws, made once for all seeds, {calls - drawn['network_calls']:,.0f} and "
        f"{seconds - drawn['seconds']:,.0f} of the training of a seed, however many sequences "
        "follow"
    )


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="Designs, judged by held-out oracles.")
    add_row_arguments(parser)
    parser.add_argument("--runs", required=True, type=Path)
    parser.add_argument("--genome", type=Path, help="FASTA that the models are pre-trained on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--designs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--ensemble", type=int, default=1, help="heads whose mean is the reward")
    parser.add_argument("--words", action="store_true", help="a regression on words is a member")
    parser.add_argument(
        "--caution", type=float, default=0.0, help="deviations of the members off their mean"
    )
    parser.add_argument("--finetune", nargs="*", default=[], help="other settings of finetune")
    parser.add_argument("--draws", type=int, default=2000, help="to fine-tune on the reward with")
    parser.add_argument("--tuning-steps", type=int, default=300, help="of that fine-tuning")
    parser.add_argument("--pieces", type=int, help="stop after so many pieces, with status 75")
    parser.add_argument("--set", nargs="*", default=[], help="other settings of train")
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    return parser.parse_args()


def main() -> None:
    """Train, choose, make, judge, print and store."""
    arguments = parsed()
    settings = row_settings(arguments)
    halves = read_halves(arguments.table, settings)
    stem, count = arguments.table.name.split(".")[0], arguments.designs
    runs = runs_of(arguments, halves, settings)
    audit = fit_kmer_oracle(halves.audit.texts, halves.audit.values, seed=1)
    network = NetworkAudit(runs.folder, halves)
    if not worked(pieces(runs, audit, network, arguments.seeds, count), arguments.pieces):
        sys.exit(_UNFINISHED)
    found = [read_kept(runs.results / f"seed_{seed}.json") for seed in arguments.seeds]
    for seed, result in zip(arguments.seeds, found, strict=True):
        judged = network.figures(seed, result["sequences"])
        for row in result["rows"]:
            row.update(judged[row["name"]])
    choice = read_kept(runs.results / "choice.json")
    has_genome = arguments.genome is not None
    table = ResultTable(
        f"quality-designs-{stem.replace('_', '-')}{runs.rewards.suffix}{'-genome' * has_genome}",
        f"Designs judged by held-out oracles: {arguments.table.name}, {len(found)} seeds",
        COLUMNS,
        table_rows(found),
        (
            f"{count} sequences of each way and seed; mean +- standard deviation over seeds",
            f"rows: design half {len(halves.design):,}, audit half {len(halves.audit):,}; left "
            f"out: {halves.left_out}",
            reward_note(runs.rewards, [one["reward_pearson"] for one in found]),
            f"audit: {audit.k}-mers, correlation {audit.pearson:.2f} with a part of its own half "
            "that it was not fitted on",
            network.note(),
            "chosen on the design half, temperatures in standard deviations of the reward: "
            f"{ {name: item['chosen'] for name, item in choice.items()} }",
            f"populations of {POPULATION}, {SAMPLER.num_steps} steps, value=likely",
            tuning_note(runs, [one["tuned"] for one in found]),
            *((f"models begin as one of {arguments.genome.name}, {runs.steps} steps",
               sha256_note(arguments.genome)) if has_genome else ()),
            sha256_note(arguments.table),
            *map(model_note, (runs.numbers, runs.classes, runs.plain)),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    start(main)
