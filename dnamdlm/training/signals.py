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

STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(Exception):
    """A signal ended training; everything up to `step` is saved."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}")
        self.number = number
        self.step = step


class Finished(Exception):
    """Nothing is left to train; what an interrupted run lacked has been made up for."""


class ValidationCut(Exception):
    """A signal ended a validation between two of its batches; it is repeated on resuming."""

    def __init__(self, number: int) -> None:
        super().__init__(f"cut by {signal.Signals(number).name}")
        self.number = number


class StopRequest:
    """Remembers the first stopping signal; later ones change nothing, so that a save finishes.

    Only a second SIGINT that comes at least a second after the first, Ctrl-C pressed again, stops
    at once and saves nothing: a terminal and a launcher may each send one to the same process.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_forced = False
        self._since = 0.0

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        del frame
        if self.number is None:
            self.number, self._since = number, time.monotonic()
        elif number == self.number == signal.SIGINT and time.monotonic() - self._since >= 1.0:
            self.is_forced = True
            raise KeyboardInterrupt

    def install(self) -> None:
        """Handle the stopping signals from here on, in place of other handlers."""
        if _is_main_thread():
            for number in STOPPING_SIGNALS:
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
