"""Seconds of train, evaluate, sample and score in another checkout and in this one, in pairs.

    python -m benchmarks.speed.versions --before CHECKOUT --model RUN --variants VCF --fasta FASTA
        [--rounds 5] [--only COMMAND ...] [--no-store] [--smoke]

Every run is a process of its own, imports included. A round runs a command in both checkouts, in
turns first and second, and the ratio is that of one round. With one thread each does the same
arithmetic in one process; `defaults` leaves threads and processes to each checkout. The run
`RUN` and the settings of the commands must be readable by both.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.command_times import Setting, Times, timed
from benchmarks.results_table import Cell, ResultTable, commit_of, store

HERE = Path(__file__).resolve().parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def commands_of(model: str, variants: str, fasta: str, *, smoke: bool) -> dict[str, list[str]]:
    """Command -> arguments, in words that both checkouts know; some ten seconds each."""
    steps, limit, sequences, draws = (2, 2, 1, 1) if smoke else (120, 160, 32, 8)
    return {
        # a recipe that has not changed; config=demo is not the same work in every version.
        "train": [
            "config=genome", "data.fasta=embedded:yeast", "data.valid=[chrXV]",
            "data.test=[chrXVI]", "backbone.hidden_size=64", "backbone.num_blocks=3",
            "backbone.num_heads=1", "backbone.attention_window=32", f"trainer.max_steps={steps}",
            "trainer.valid_windows=8", "run_dir={folder}/run",
        ],
        "evaluate": [
            f"model={model}", "split=test", f"limit={limit}", "max_order=0", "out={folder}/e.json",
        ],
        "sample": [
            f"model={model}", f"num_sequences={sequences}", "length=256", "sampler.num_steps=64",
            "out={folder}/s.fa",
        ],
        "score": [
            f"model={model}", f"variants={variants}", f"data.fasta={fasta}", f"draws={draws}",
            "out={folder}/v.tsv",
        ],
    }  # fmt: skip


def paired(
    commands: Mapping[str, Sequence[str]], before: Path, rounds: int
) -> dict[tuple[str, str], list[tuple[Times, Times]]]:
    """(command, setting) -> times before and after, of each round."""
    found: dict[tuple[str, str], list[tuple[Times, Times]]] = {}
    for number in range(rounds):
        for command, arguments in commands.items():
            for name, variables in (("1 thread", ONE_THREAD), ("defaults", {})):
                # one process in both: the other checkout may have no more, and no such setting.
                own = ("workers=1",) if variables and command != "train" else ()
                pair = [Setting("before", variables, folder=before)]
                pair.append(Setting("after", variables, own, folder=HERE))
                order = (0, 1) if number % 2 == 0 else (1, 0)
                times = {i: timed(command, arguments, pair[i]) for i in order}
                found.setdefault((command, name), []).append((times[0], times[1]))
                print(command, name, times[0], times[1], file=sys.stderr)
    return found


def rows_of(
    found: Mapping[tuple[str, str], Sequence[tuple[Times, Times]]],
) -> list[tuple[Cell, ...]]:
    """One row per command and setting: medians, and the ratios of the rounds."""
    rows: list[tuple[Cell, ...]] = []
    for (command, name), pairs in found.items():
        walls = [after.wall / before.wall for before, after in pairs]
        cpus = [after.cpu / before.cpu for before, after in pairs]
        rows.append(
            (
                command,
                name,
                statistics.median(before.wall for before, _ in pairs),
                statistics.median(after.wall for _, after in pairs),
                statistics.median(walls),
                f"{min(walls):.2f} to {max(walls):.2f}",
                statistics.median(cpus),
                statistics.median(max(pair[0].others, pair[1].others) for pair in pairs),
            )
        )
    return rows


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Seconds of two checkouts.")
    parser.add_argument("--before", required=True, type=Path, help="another checkout")
    parser.add_argument("--model", required=True, help="run folder of the demo")
    parser.add_argument("--variants", required=True, help="VCF file of some hundred rows")
    parser.add_argument("--fasta", required=True, help="its genome")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", nargs="+", metavar="COMMAND", help="of train, evaluate, sample, score; not stored"
    )
    parser.add_argument("--no-store", action="store_true", help="print the table alone")
    parser.add_argument("--smoke", action="store_true", help="one short round, store nothing")
    arguments = parser.parse_args()
    model, variants, fasta = (
        str(Path(name).resolve()) for name in (arguments.model, arguments.variants, arguments.fasta)
    )
    commands = commands_of(model, variants, fasta, smoke=arguments.smoke)
    if unknown := set(arguments.only or ()) - commands.keys():
        parser.error(f"--only takes {', '.join(commands)}, and not {', '.join(sorted(unknown))}")
    commands = {
        name: given for name, given in commands.items() if name in (arguments.only or commands)
    }
    rounds = 1 if arguments.smoke else arguments.rounds
    before = arguments.before.resolve()
    commit = commit_of(before)
    table = ResultTable(
        theme="speed-versions",
        title=f"Seconds of a command at {commit} and at this commit",
        columns=(
            "command", "setting", "wall s before", "wall s after", "wall after / before",
            "of the rounds", "CPU after / before", "processors used by others",
        ),
        rows=rows_of(paired(commands, before, rounds)),
        notes=(f"medians of {rounds} pairs, imports included",),
    )  # fmt: skip
    if arguments.smoke or arguments.no_store or arguments.only:
        print(table.markdown({}))
    else:
        store(table)


if __name__ == "__main__":
    main()
