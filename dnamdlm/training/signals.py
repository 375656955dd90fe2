"""Signals ask a run to stop: it saves at that step, and the command exits with 128 + n.

Python gives signals to the main thread alone; a training in another thread does not see them.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING_SIGNALS = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


TIME_LIMIT = 1_000
"""Stands for the end of `trainer.max_minutes` among the numbers of signals, and is above them."""


class Interrupted(Exception):
    """A signal ended training; everything up to `step` is saved."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}")
        self.number = number
        self.step = step


class OutOfTime(Exception):
    """The minutes of a command are over; everything up to `step` is saved."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped by trainer.max_minutes after step {step}")
        self.step = step


def stopped_by(number: int, step: int) -> Interrupted | OutOfTime:
    """What ends a training that was asked to stop.

    Args:
        number: of a signal, or `TIME_LIMIT`.
        step: optimizer steps that are saved.
    """
    return OutOfTime(step) if number == TIME_LIMIT else Interrupted(number, step)


class Finished(Exception):
    """Nothing is left to train; what an interrupted run lacked has been made up for."""


class ValidationCut(Exception):
    """A validation was stopped between two of its batches; it is repeated on resuming."""

    def __init__(self, number: int) -> None:
        super().__init__(str(stopped_by(number, 0)))
        self.number = number


class StopRequest:
    """Remembers the first stopping signal; later ones change nothing, so that a save finishes.

    Only a second SIGINT that comes at least a second after the first, Ctrl-C pressed again, stops
    at once and saves nothing: a terminal and a launcher may each send one to the same process.

    Args:
        deadline: moment of `time.monotonic` from which the time of the command is over, or None.

    Attributes:
        has_progress: whether the command has done a step, before which its time is never over: so
            a run whose command is repeated comes to its end however short the time is.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.has_progress = False
        self.number: int | None = None
        self.is_forced = False
        self._since = 0.0

    def reason(self) -> int | None:
        """The signal to stop for, `TIME_LIMIT`, or None."""
        is_late = self.deadline is not None and time.monotonic() >= self.deadline
        return TIME_LIMIT if self.number is None and is_late and self.has_progress else self.number

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        del frame
        if self.number is None:
            self.number, self._since = number, time.monotonic()
        elif number == self.number == signal.SIGINT and time.monotonic() - self._since >= 1.0:
            self.is_forced = True
            raise KeyboardInterrupt

    def install(self) -> None:
        """Handle the stopping signals from here on, in place of other handlers.

        A command that was started with nohup still outlives its terminal.
        """
        if _is_main_thread():
            for number in STOPPING_SIGNALS:
                is_nohup = number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
                if not is_nohup:
                    signal.signal(number, self.receive)


@contextmanager
def restored_handlers() -> Iterator[None]:
    """On leaving, the signal handlers are those that were there on entering."""
    kept = {number: signal.getsignal(number) for number in STOPPING_SIGNALS}
    try:
        yield
    finally:
        if _is_main_thread():
            for number, handler in kept.items():
                signal.signal(number, handler)


def ignore_stopping_signals(worker: int = 0) -> None:
    """For loader workers: only the trainer reacts to a signal to the whole process group."""
    del worker
    for number in STOPPING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
