"""Distributions of tokens at positions of a batch: at all of them, or only where they are read.

With many ids a distribution is a long vector, and a sampler reads few of them. So the positions
that were chosen are written as N rows of one position, (N, 1, ...), where all positions keep their
shape (B, L, ...). Formulas per position need no second form for this: below both are called
(P, Q, ...).

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

# of a float64 copy of distributions, 32 MB.
NUMBERS_AT_ONCE = 1 << 22


@runtime_checkable
class Positions(Protocol):
    """A choice of positions of (B, L)."""

    def of_positions(self, values: Shaped[Tensor, "B L ..."]) -> Shaped[Tensor, "P Q ..."]:
        """The values at the positions."""
        ...

    def of_rows(self, values: Shaped[Tensor, " B"]) -> Shaped[Tensor, " P"]:
        """The number of its row, for each row of the new form."""
        ...

    def spread(self, values: Shaped[Tensor, "P Q"]) -> Shaped[Tensor, "B L"]:
        """Back to the shape of the batch; zero at the positions that were left out."""
        ...


class AllPositions:
    """All positions, as they are."""

    def of_positions(self, values: Shaped[Tensor, "B L ..."]) -> Shaped[Tensor, "P Q ..."]:
        """The values."""
        return values

    def of_rows(self, values: Shaped[Tensor, " B"]) -> Shaped[Tensor, " P"]:
        """The values."""
        return values

    def spread(self, values: Shaped[Tensor, "P Q"]) -> Shaped[Tensor, "B L"]:
        """The values."""
        return values


class ChosenPositions:
    """Some positions, in row-major order."""

    def __init__(
        self, shape: tuple[int, int], rows: Int[Tensor, " N"], columns: Int[Tensor, " N"]
    ) -> None:
        """Choose positions by their rows and columns in a batch of this shape."""
        self.shape = shape
        self.rows, self.columns = rows, columns

    def of_positions(self, values: Shaped[Tensor, "B L ..."]) -> Shaped[Tensor, "P Q ..."]:
        """The values there."""
        return values[self.rows, self.columns].unsqueeze(1)

    def of_rows(self, values: Shaped[Tensor, " B"]) -> Shaped[Tensor, " P"]:
        """The value of the row that each position is in."""
        return values[self.rows]

    def spread(self, values: Shaped[Tensor, "P Q"]) -> Shaped[Tensor, "B L"]:
        """The values at their places and zero elsewhere; gradients pass."""
        empty = values.new_zeros(self.shape)
        return empty.index_put((self.rows, self.columns), values.squeeze(1))


ALL_POSITIONS = AllPositions()


@dataclass(frozen=True)
class LogProbs:
    """Log p(x0 | xt) at positions of a batch, as step rules read it.

    Attributes:
        values: log-probabilities, -inf where impossible.
        positions: where they are; a rule says in `StepRule.reads` which positions it needs.

    Example: two positions of a row of three.
        >>> import torch
        >>> where = ChosenPositions((1, 3), torch.tensor([0, 0]), torch.tensor([0, 2]))
        >>> found = LogProbs(torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]]).log(), where)
        >>> found.each(lambda values: values.exp().amax(dim=-1))
        tensor([[0.5000, 0.0000, 0.9000]])
        >>> found.dense().exp()[0, 1]
        tensor([0., 0.])
    """

    values: Float[Tensor, "P Q V"]
    positions: Positions = ALL_POSITIONS

    def at(self, chosen: Bool[Tensor, "B L"]) -> Float[Tensor, "n V"]:
        """The distributions of chosen positions, in row-major order; all of them must be there."""
        return self.values[self.positions.of_positions(chosen)]

    def of_chosen(
        self,
        chosen: Bool[Tensor, "B L"],
        function: Callable[..., Tensor],
        *others: Shaped[Tensor, "B L"],
    ) -> Shaped[Tensor, " n"]:
        """One number of each distribution of `at`, without a copy of all of these.

        Args:
            chosen: positions.
            function: from (n, 1, V), and the others there, to (n, 1); applied as in `each`.
            *others: further arguments, of all positions.
        """
        number = self.positions.of_positions(chosen).flatten().nonzero()
        inputs = [self.positions.of_positions(values).flatten() for values in others]
        values = self.values.flatten(0, 1)

        def of_part(number: Int[Tensor, "n 1"]) -> Tensor:
            return function(values[number], *(given[number] for given in inputs))

        return in_parts(of_part, number, num_ids=values.shape[-1]).squeeze(1)

    def each(
        self, function: Callable[..., Tensor], *others: Shaped[Tensor, "B L ..."]
    ) -> Shaped[Tensor, "B L"]:
        """One number of each distribution; zero at the positions that are not there.

        Args:
            function: from (P, Q, V), and the others at these positions, to (P, Q). It is applied to
                some positions at a time, so that its float64 copies stay small.
            *others: further arguments, of all positions.
        """
        inputs = (self.positions.of_positions(values) for values in others)
        found = in_parts(function, self.values, *inputs, num_ids=self.values.shape[-1])
        return self.positions.spread(found)

    def changed(
        self, function: Callable[..., Tensor], *others: Shaped[Tensor, "P Q ..."]
    ) -> LogProbs:
        """Other distributions at the same positions.

        Args:
            function: from (P, Q, V), and the others, to (P, Q, V); applied as in `each`.
            *others: further arguments, of the positions that are there.
        """
        found = in_parts(function, self.values, *others, num_ids=self.values.shape[-1])
        return LogProbs(found, self.positions)

    def dense(self) -> Float[Tensor, "B L V"]:
        """The distributions of all positions, -inf for every token where they are not known."""
        if not isinstance(self.positions, ChosenPositions):
            return self.values
        full = self.values.new_full((*self.positions.shape, self.values.shape[-1]), -torch.inf)
        full[self.positions.rows, self.positions.columns] = self.values.squeeze(1)
        return full


def in_parts(
    function: Callable[..., Tensor],
    first: Shaped[Tensor, "P Q ..."],
    *others: Shaped[Tensor, "P Q ..."],
    num_ids: int,
) -> Shaped[Tensor, "P Q ..."]:
    """Apply a function of distributions to some positions at a time, with the same bits.

    Args:
        function: from as many positions of each input to as many of the result, each by itself.
        first: the first argument.
        *others: further arguments.
        num_ids: numbers of one distribution.
    """
    shape = first.shape[:2]
    count = shape.numel()
    size = max(2, NUMBERS_AT_ONCE // max(1, num_ids))
    if count != 1 and count <= size:
        return function(first, *others)
    rows = [given.flatten(0, 1).unsqueeze(1) for given in (first, *others)]
    found: Tensor | None = None
    for start in range(0, count, size):
        part = slice(start, start + size)
        made = _more_than_one(function, *(given[part] for given in rows))
        if found is None:
            found = made.new_empty((count, *made.shape[2:]))
        found[part] = made.squeeze(1)
    assert found is not None
    return found.view(*shape, *found.shape[1:])


def _more_than_one(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """A single distribution twice: the sum of a lone one is divided among threads, and rounded."""
    if len(inputs[0]) > 1:
        return function(*inputs)
    return function(*(given.expand(2, *given.shape[1:]) for given in inputs))[:1]
