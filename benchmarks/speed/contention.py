"""Seconds of train, evaluate and sample on an idle machine and with a busy neighbour.

    python -m benchmarks.speed.contention --model RUN [--rounds 5] [--neighbours 1] [--no-store]
        [--smoke]

Every run is a process of its own, as a user starts it, imports included. One round runs each
command with each setting in both situations, and only times of one round are compared, since other
work on the machine comes and goes; the order of the settings changes from round to round. The last
column says how many processors others used meanwhile, as the system counts it: a row of the idle
machine with more than a few hundredths there was not taken on an idle machine.

Settings: `defaults` leaves everything to dnamdlm, `defaults, 1 process` the number of threads
alone; numbers of threads are set with OMP_NUM_THREADS; threads that spin wait as the OpenMP library
does if nobody says otherwise. A neighbour is a Python process in an endless loop.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.command_times import Setting, Times, timed
from benchmarks.results_table import Cell, ResultTable, store
from dnamdlm.threads import available_processors

# a variable that libgomp does not know keeps dnamdlm from choosing, and libgomp as it is.
SPIN = {"KMP_BLOCKTIME": "200"}


@dataclass(frozen=True)
class Run:
    """One run of a command.

    Attributes:
        situation: idle, or with neighbours.
        command: train, evaluate or sample.
        setting: name of the setting.
        round: runs of one round are compared with each other.
        times: what it took.
    """

    situation: str
    command: str
    setting: str
    round: int
    times: Times


def settings_of(processors: int) -> list[Setting]:
    """The settings that are compared, on so many processors."""
    many = str(processors)
    return [
        Setting("defaults"),
        Setting("defaults, 1 process", arguments=("workers=1",)),
        Setting("1 thread", {"OMP_NUM_THREADS": "1"}),
        Setting(f"{many} threads", {"OMP_NUM_THREADS": many}),
        Setting(f"{many} threads that spin", {"OMP_NUM_THREADS": many, **SPIN}),
    ]


def commands_of(model: str, *, smoke: bool) -> dict[str, list[str]]:
    """Command -> arguments; each takes about ten seconds of one processor after its imports."""
    steps, limit, sequences = (2, 2, 1) if smoke else (120, 160, 32)
    return {
        "train": [
            "config=demo", f"trainer.max_steps={steps}", "trainer.valid_windows=8",
            "run_dir={folder}/run",
        ],
        "evaluate": [
            f"model={model}", "split=test", f"limit={limit}", "max_order=0", "out={folder}/e.json",
        ],
        "sample": [
            f"model={model}", f"num_sequences={sequences}", "length=256", "sampler.num_steps=64",
            "out={folder}/s.fa",
        ],
    }  # fmt: skip


def measured(
    commands: Mapping[str, Sequence[str]], settings: Sequence[Setting], rounds: int, neighbours: int
) -> list[Run]:
    """All runs of all rounds."""
    runs: list[Run] = []
    for number in range(rounds):
        for situation, busy in (("idle", 0), (f"{neighbours} busy", neighbours)):
            for command, arguments in commands.items():
                # each setting is first, last and in between in turn.
                turned = [settings[(i + number) % len(settings)] for i in range(len(settings))]
                for setting in turned:
                    if command == "train" and setting.arguments:
                        continue  # one process of training is one rank.
                    found = timed(command, arguments, setting, busy)
                    runs.append(Run(situation, command, setting.name, number, found))
                    print(runs[-1], file=sys.stderr)
    return runs


def rows_of(runs: Sequence[Run]) -> list[tuple[Cell, ...]]:
    """One row per situation, command and setting: medians over the rounds.

    The ratio is that of the wall time to the shortest of the same round.
    """
    best: dict[tuple[str, str, int], float] = {}
    for run in runs:
        key = (run.situation, run.command, run.round)
        best[key] = min(best.get(key, run.times.wall), run.times.wall)
    rows: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys((run.situation, run.command, run.setting) for run in runs):
        same = [run for run in runs if (run.situation, run.command, run.setting) == name]
        ratios = [run.times.wall / best[run.situation, run.command, run.round] for run in same]
        medians = (
            statistics.median(values)
            for values in (
                [run.times.wall for run in same], [run.times.cpu for run in same], ratios,
                [run.times.others for run in same],
            )
        )  # fmt: skip
        rows.append((*name, *medians))
    order = list(dict.fromkeys(run.situation for run in runs))
    return sorted(rows, key=lambda row: order.index(str(row[0])))


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Seconds with a busy neighbour.")
    parser.add_argument("--model", required=True, help="run folder of the demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--neighbours", type=int, default=1)
    parser.add_argument("--no-store", action="store_true", help="print the table alone")
    parser.add_argument("--smoke", action="store_true", help="one short round, store nothing")
    arguments = parser.parse_args()
    processors = available_processors()
    settings = settings_of(processors)
    commands = commands_of(arguments.model, smoke=arguments.smoke)
    rounds = 1 if arguments.smoke else arguments.rounds
    rows = rows_of(measured(commands, settings, rounds, arguments.neighbours))
    worst = max(float(row[5] or 0.0) for row in rows if row[2] == "defaults")
    table = ResultTable(
        theme="speed-contention",
        title="Seconds of a command, alone and with a busy neighbour",
        columns=(
            "machine", "command", "setting", "wall s", "CPU s", "wall over the best of the round",
            "processors used by others",
        ),
        rows=rows,
        notes=(
            f"medians of {rounds} rounds on {processors} processors, imports included",
            f"defaults are at most {worst:.2f} times as slow as the best setting",
        ),
    )  # fmt: skip
    if arguments.smoke or arguments.no_store:
        print(table.markdown({}))
    else:
        store(table)


if __name__ == "__main__":
    main()
