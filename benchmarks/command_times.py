"""Times of whole commands, each a process of its own as a user starts it, imports included."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dnamdlm.threads import WAITING

# what a setting of a table decides, and the user's shell does not.
# PYTHONDONTWRITEBYTECODE would make every process compile the package anew.
VARIABLES = (*WAITING, "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
LIMIT_S = 1200


@dataclass(frozen=True)
class Setting:
    """How a command is started.

    Attributes:
        name: as in the table.
        variables: of the environment.
        arguments: of the command.
        folder: where it starts, which decides the checkout that runs; None: here.
    """

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True)
class Times:
    """What one run took.

    Attributes:
        wall: seconds of the clock.
        cpu: processor seconds of the command.
        others: processors that other work used meanwhile.
    """

    wall: float
    cpu: float
    others: float


@contextmanager
def busy_neighbours(number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that each fill a processor."""
    code = "while True: pass"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(number)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def busy_seconds() -> float:
    """Processor seconds that the machine has worked since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, soft, *_ = map(int, fields)
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def seconds_of(process: subprocess.Popen[bytes]) -> float:
    """Processor seconds of a process that is alive."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seconds_of_children() -> float:
    """Processor seconds of the children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed(command: str, arguments: Sequence[str], setting: Setting, neighbours: int = 0) -> Times:
    """Run a command once.

    Args:
        command: name of the module in dnamdlm.
        arguments: its settings; `{folder}` stands for an empty folder.
        setting: how it is started.
        neighbours: processes in an endless loop beside it.
    """
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with tempfile.TemporaryDirectory() as folder, busy_neighbours(neighbours) as busy:
        given = [argument.format(folder=folder) for argument in arguments]
        own, all_work = seconds_of_children(), busy_seconds()
        of_neighbours = sum(map(seconds_of, busy))
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", f"dnamdlm.{command}", *given, *setting.arguments],
            env={**environment, **setting.variables}, cwd=setting.folder, check=True,
            capture_output=True, timeout=LIMIT_S,
        )  # fmt: skip
        wall = time.perf_counter() - began
        cpu = seconds_of_children() - own
        of_neighbours = sum(map(seconds_of, busy)) - of_neighbours
        others = (busy_seconds() - all_work - cpu - of_neighbours) / wall
    return Times(wall, cpu, max(0.0, others))
