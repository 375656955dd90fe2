"""Ctrl-C ends a command with the exit code of an interrupt, wherever it strikes.

A KeyboardInterrupt may strike within an import or a library, which then fails with an error of
another kind, and it may end a worker process before its parent. What fails after an interrupt was
interrupted.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class _Interruptible:
    """A block whose failure after a SIGINT is a KeyboardInterrupt."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.seen.append(number)
        signal.default_int_handler(number, frame)

    def __enter__(self) -> None:
        self._handler = self._receive
        signal.signal(signal.SIGINT, self._handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if signal.getsignal(signal.SIGINT) == self._handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if not self.seen or error is None:
            return
        code = error.code if isinstance(error, SystemExit) else None
        if isinstance(error, Exception) or (isinstance(code, int) and 0 < code < 128):
            raise KeyboardInterrupt from error


def interruptible(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose failure after a SIGINT is a KeyboardInterrupt.

    What handles SIGINT in another way, or ignores it, remains. An exit by `SystemExit` with a code
    above 128, that of a signal, remains as well.
    """

    @functools.wraps(function)
    def guarded(*arguments: P.args, **settings: P.kwargs) -> R:
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return function(*arguments, **settings)
        with _Interruptible():
            return function(*arguments, **settings)

    return guarded
