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
from types import FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


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
        seen: list[int] = []

        def receive(number: int, frame: FrameType | None) -> None:
            seen.append(number)
            signal.default_int_handler(number, frame)

        signal.signal(signal.SIGINT, receive)
        try:
            return function(*arguments, **settings)
        except Exception as error:
            if seen:
                raise KeyboardInterrupt from error
            raise
        except SystemExit as end:
            if seen and isinstance(end.code, int) and 0 < end.code < 128:
                raise KeyboardInterrupt from end
            raise
        finally:
            if signal.getsignal(signal.SIGINT) is receive:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    return guarded
