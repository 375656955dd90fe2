"""Networks that remember their constructor arguments, so that a checkpoint can rebuild them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

Arguments = ParamSpec("Arguments")
MADE_WITH = "made_with"


def keeps_arguments(
    init: Callable[Concatenate[Any, Arguments], None],
) -> Callable[Concatenate[Any, Arguments], None]:
    """Decorate `__init__` of a class: its instances keep the arguments, with defaults filled in.

    They are found in the attribute `made_with`, argument name -> value. A subclass with a
    constructor of its own keeps nothing unless that is decorated, too.

    >>> class Net:
    ...     @keeps_arguments
    ...     def __init__(self, width, depth=2):
    ...         self.layers = [width] * depth
    >>> Net(8).made_with
    {'width': 8, 'depth': 2}
    """
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapped(self: Any, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if inspect.unwrap(type(self).__init__) is inspect.unwrap(init):
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            # not by assignment, which a module refuses before its own constructor has run.
            vars(self)[MADE_WITH] = dict(list(bound.arguments.items())[1:])
        init(self, *args, **kwargs)

    return wrapped
