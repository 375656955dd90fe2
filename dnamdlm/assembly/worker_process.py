"""The other end of `workers`: what a worker process does, and the messages both sides exchange.

A process reads its connection in a thread of its own, so that it ends within milliseconds of the
process that started it, whatever it is doing. It needs no signal for that and saves nothing.
Nothing here imports torch: the task does, when it is unpickled.
"""

from __future__ import annotations

import copy
import logging
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Protocol, TypeVar

from dnamdlm.freed_memory import keep_freed_memory
from dnamdlm.threads import running_with

Context = TypeVar("Context")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

Advance = Callable[[int], None]
"""Called with how much has been done since the last call, such as bases filled."""

BEFORE_THE_FIRST = -1
"""Number of the item that a process was at when it could not begin."""

_SECONDS_PER_COUNT = 0.1


class Task(Protocol[Context, Item_contra, Result_co]):
    """What is done to each item; picklable, and defined in a module that can be imported."""

    def open(self) -> Context:
        """What all items need, such as a loaded model; made once in each process."""
        ...

    def work(self, context: Context, item: Item_contra, advance: Advance) -> Result_co:
        """The result of one item, which depends on the task and the item alone."""
        ...


@dataclass(frozen=True)
class Setup:
    """First message to a process.

    Attributes:
        task: what is done to each item.
        threads: of torch; None leaves their number.
    """

    task: Task[Any, Any, Any]
    threads: int | None


@dataclass(frozen=True)
class Numbered:
    """An item to work on."""

    number: int
    item: Any


@dataclass(frozen=True)
class Finished:
    """The result of an item."""

    number: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """What the work on an item raised; `number` is `BEFORE_THE_FIRST` if there was none yet."""

    number: int
    error: Exception
    trace: str


@dataclass(frozen=True)
class Opened:
    """The context is open; items are worked on at once from now on."""


@dataclass(frozen=True)
class Counted:
    """Progress within items."""

    amount: int


@dataclass(frozen=True)
class Warned:
    """What a process logged at the level of a warning or above."""

    name: str
    level: int
    text: str


class Caught:
    """Keeps what the body raises, to be raised in another process or elsewhere in this one."""

    error: Exception | None = None

    def __enter__(self) -> Caught:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
        return self.error is not None


class _Line:
    """The way to the other side, for several threads; where it ends, this process ends."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lock = threading.Lock()

    def send(self, message: object) -> None:
        """Send a message.

        Raises:
            TypeError, AttributeError, PicklingError: if it cannot be pickled.
        """
        content = encoded(message)
        with self.lock:
            try:
                self.connection.send_bytes(content)
            except OSError:
                os._exit(1)


class _Counter:
    """Adds progress up, and sends it now and then."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        self.amount = 0
        self.sent = time.monotonic()

    def add(self, amount: int) -> None:
        """Count."""
        self.amount += amount
        if time.monotonic() - self.sent > _SECONDS_PER_COUNT:
            self.flush()

    def flush(self) -> None:
        """Send what was counted since the last time."""
        if self.amount:
            self.line.send(Counted(self.amount))
        self.amount, self.sent = 0, time.monotonic()


class _ToOtherSide(logging.Handler):
    """Sends warnings to the process that speaks to the user."""

    def __init__(self, line: _Line) -> None:
        super().__init__(logging.WARNING)
        self.line = line

    def emit(self, record: logging.LogRecord) -> None:
        self.line.send(Warned(record.name, record.levelno, record.getMessage()))


def encoded(message: object) -> bytes:
    """A message as bytes for `Connection.send_bytes`, to be read with `Connection.recv`.

    `Connection.send` would put tensors into shared memory, which ends with the process.
    """
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def serve(connection: Connection) -> None:
    """Work on what arrives until the other side closes the connection, which ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    line = _Line(connection)
    arrived: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(line, arrived), daemon=True).start()
    logging.basicConfig(level=logging.WARNING, handlers=[_ToOtherSide(line)], force=True)
    logging.captureWarnings(True)
    setup: Setup = arrived.get()
    counter = _Counter(line)
    with running_with(setup.threads):
        context = None
        with Caught() as caught:
            context = setup.task.open()
        if caught.error is not None:
            line.send(failed(BEFORE_THE_FIRST, caught.error))
            threading.Event().wait()
        line.send(Opened())
        while True:
            numbered: Numbered = arrived.get()
            with Caught() as caught:
                result = setup.task.work(context, numbered.item, counter.add)
                counter.flush()
                line.send(Finished(numbered.number, result))
            if caught.error is not None:
                line.send(failed(numbered.number, caught.error))


def _read(line: _Line, arrived: SimpleQueue[Any]) -> None:
    """Pass on what arrives; end the process with the connection."""
    while True:
        with Caught() as caught:
            arrived.put(line.connection.recv())
        if isinstance(caught.error, EOFError | OSError):
            os._exit(1)
        if caught.error is not None:
            line.send(failed(BEFORE_THE_FIRST, caught.error))


def failed(number: int, error: Exception) -> Failed:
    """An error as it can be sent: itself if it can be pickled and made again, else a quotation.

    >>> str(failed(0, ValueError("odd")).error)
    'odd'
    """
    trace = "".join(traceback.format_exception(error))
    try:
        encoded(error)
        # copied and unpickled errors are made in the same way.
        copy.copy(error)
    except (TypeError, AttributeError, pickle.PicklingError):
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failed(number, error, trace)
