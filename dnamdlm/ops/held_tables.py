"""Tables that many forward passes share: rotary angles and attention patterns.

A forward pass makes its tables anew, so that nothing stale is ever used. Where a network is called
thousands of times with sequences of one length, as in sampling, that is several percent of the
time. Within `holding_tables` the last table of each kind is kept and used again where the arguments
are equal. It is given up on leaving.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
Table = TypeVar("Table")


class _Held(threading.local):
    """What this thread holds: the last arguments and the table of each function."""

    depth: int = 0

    def __init__(self) -> None:
        self.tables: dict[Callable[..., Any], tuple[Hashable, Any]] = {}


_HELD = _Held()


@contextmanager
def holding_tables() -> Generator[None]:
    """Keep the last table of each kind within a block; blocks may be nested.

    >>> @held
    ... def table(length):
    ...     return torch.arange(length)
    >>> with holding_tables():
    ...     table(3) is table(3)
    True
    >>> table(3) is table(3)
    False
    """
    _HELD.depth += 1
    try:
        yield
    finally:
        _HELD.depth -= 1
        if _HELD.depth == 0:
            _HELD.tables.clear()


def held(make: Callable[P, Table]) -> Callable[P, Table]:
    """Let `holding_tables` keep the last result of a function of hashable arguments.

    The result must not be modified. It is made anew in compiled code, and in inference mode, whose
    tensors no gradient may pass.
    """

    @functools.wraps(make)
    def made_or_held(*arguments: P.args, **settings: P.kwargs) -> Table:
        is_made = torch.compiler.is_compiling() or torch.is_inference_mode_enabled()
        if _HELD.depth == 0 or is_made:
            return make(*arguments, **settings)
        key = (arguments, tuple(settings.items()))
        found = _HELD.tables.get(make)
        if found is None or found[0] != key:
            found = _HELD.tables[make] = (key, make(*arguments, **settings))
        return found[1]

    return made_or_held
