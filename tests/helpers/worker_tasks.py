"""Tasks for worker processes, and what the tests ask of such processes."""

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dnamdlm.errors import DataError

if TYPE_CHECKING:
    from dnamdlm.assembly.model_source import ModelSource


@dataclass(frozen=True)
class Squares:
    """Squares numbers, each as slowly as asked, and writes down which process did it.

    Attributes:
        folder: gets a file for each process, with a line for each item it begins.
        seconds: of sleep per item, by number; the last holds for all that follow.
        fault: what happens at an item, by its number.
    """

    folder: str
    seconds: tuple[float, ...] = (0.0,)
    fault: tuple[int, str] | None = None

    def open(self):
        if self.fault == (-1, "refuse"):
            raise DataError("the genome is missing; give data.fasta=FILE")
        Path(self.folder, str(os.getpid())).touch()
        return os.getpid()

    def work(self, context, item, advance):
        with Path(self.folder, str(context)).open("a") as stream:
            stream.write(f"{item}\n")
        if self.fault is not None and self.fault[0] == item:
            FAULTS[self.fault[1]](item)
        time.sleep(self.seconds[min(item, len(self.seconds) - 1)])
        advance(item)
        return item * item


@dataclass(frozen=True)
class Surroundings:
    """Says where it runs: the processors that it may use, and an environment variable."""

    variable: str

    def open(self):
        return os.environ.get(self.variable)

    def work(self, context, item, advance):
        del advance
        # long enough that no process gets all items.
        time.sleep(0.2)
        return sorted(os.sched_getaffinity(0)), context, item


class Awkward(Exception):
    """An error that cannot be made again from its arguments."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def _refuse(item):
    raise DataError(f"record {item} has no bases; remove it")


def _fail_awkwardly(item):
    raise Awkward(item, item + 1)


FAULTS = {
    "kill": lambda item: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda item: os._exit(3),
    "refuse": _refuse,
    "fail awkwardly": _fail_awkwardly,
}


@dataclass(frozen=True)
class Warned(Squares):
    """Logs the same warning at each item."""

    def work(self, context, item, advance):
        logging.getLogger("tests.warned").warning("long sequences are slow")
        return super().work(context, item, advance)


@dataclass(frozen=True)
class ThreadsSeen:
    """How many threads torch has in the process."""

    def open(self):
        import torch

        return torch

    def work(self, context, item, advance):
        return context.get_num_threads()


@dataclass(frozen=True)
class Logits:
    """The output of the network of a trained model, for rows of ids."""

    source: "ModelSource"

    def open(self):
        return self.source.open().lm.get_submodule("backbone")

    def work(self, context, item, advance):
        import torch

        with torch.inference_mode():
            return context(torch.tensor(item))


def is_alive(number):
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, limit=60.0):
    """Wait until something holds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it never came true")
        time.sleep(0.01)
