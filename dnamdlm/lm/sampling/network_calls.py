"""How generation calls networks: always in the same shapes, and only where a rule reads.

Matrix products of another height may round differently, and one rounding can change a base. So
every call has the same number of rows: one on a CPU, and a group elsewhere, filled up with copies.
Then a sequence does not depend on the batch it is made in. A group has fewer rows the longer they
are, so that it fits the memory of a GPU. Short rows go together on a CPU, too, where a trial shows
that each has the bits that it has alone: which terms a sum has, and in which order, depends on
shapes, not on values.

Shapes: B sequences, of which b take part in a call, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.diffusion.positions import ChosenPositions, LogProbs
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.lm import places

ROWS_PER_CALL_CPU = 1
ROWS_PER_CALL = 32
POSITIONS_OF_ROWS = 1 << 15
NUMBERS_OF_ROWS = 1 << 30
POSITIONS_PER_CALL = 256
POSITIONS_OF_ROWS_CPU = 1 << 10
"""Positions of short rows that share a call on a CPU; the overhead of a call is small then."""
# vectors of a processor, in numbers of 16 bits: a longer row ends within none.
_NUMBERS_OF_VECTORS = 32


OneLabel = int | tuple[float, ...] | None
"""The class of all rows, or their standardised numbers, nan where one is not known; None: none."""


@runtime_checkable
class Denoising(Protocol, metaclass=ByAttributes):
    """A masked diffusion model as far as generation calls it; see `MaskedDiffusionLM`."""

    schedule: Schedule
    real_tokens: Tensor
    num_classes: int
    num_numbers: int

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        ...

    @property
    def denoise(self) -> Callable[..., Tensor]:
        """Give log p(x0 | xt)."""
        ...

    @property
    def log_unnormalized(self) -> Callable[..., Tensor]:
        """The same with the totals that the model gives."""
        ...


@dataclass(frozen=True)
class NetworkInput:
    """The rows of a batch whose step needs the network.

    Attributes:
        xt: ids with masks.
        time: t of each row.
        present: False at padding; None means no padding.
        wanted: positions that the step rule reads; None for all hidden ones.
        rows: their numbers in the batch.
        aligned: templates of the rows, see `Batch.aligned`, or None.
    """

    xt: Int[Tensor, "b L"]
    time: Float64[Tensor, " b"]
    present: Bool[Tensor, "b L"] | None
    wanted: Bool[Tensor, "b L"] | None = None
    rows: Int[Tensor, " b"] | None = None
    aligned: Int[Tensor, "b L"] | None = None


class NetworkCalls:
    """Calls a model in fixed shapes and counts the calls.

    Attributes:
        num_calls: calls so far, each with some rows of the batch.
        num_rows: rows summed over all calls: the work, whatever the batch size.
    """

    def __init__(self, lm: Denoising, *, is_cpu: bool, takes_unnormalized: bool) -> None:
        """Start to count.

        Args:
            lm: the model, in evaluation mode.
            is_cpu: whether it runs on a CPU.
            takes_unnormalized: whether the step rule can use distributions that do not sum to 1.
        """
        self.lm = lm
        self.is_cpu = is_cpu
        self.takes_unnormalized = takes_unnormalized
        # on a CPU the row decides how many positions are read, not the batch.
        self.positions_per_call = None if is_cpu else POSITIONS_PER_CALL
        self.num_calls = 0
        self.num_rows = 0
        self._alike: dict[tuple[Any, ...], bool] = {}

    def rows_per_call(self, length: int) -> int:
        """Rows of a call, see `rows_per_call`."""
        return rows_per_call(length, is_cpu=self.is_cpu)

    def count(self, calls: int, rows: int) -> None:
        """Add calls of another network, or in another shape."""
        self.num_calls += calls
        self.num_rows += rows

    def normalized(self, inputs: NetworkInput, label: OneLabel = None) -> LogProbs:
        """Log-probabilities of the model, given a class or numbers, or without."""
        return self._called(self.lm.denoise, inputs, label)

    def for_rule(self, inputs: NetworkInput, label: OneLabel = None) -> LogProbs:
        """What the step rule takes: the totals of the model if it can use them."""
        network = self.lm.log_unnormalized if self.takes_unnormalized else self.lm.denoise
        return self._called(network, inputs, label)

    def _called(
        self, network: Callable[..., Tensor], inputs: NetworkInput, label: OneLabel
    ) -> LogProbs:
        self.count(1, len(inputs.xt))
        called = partial(network, label=label)
        if inputs.wanted is not None and not places.is_small(len(self.lm.real_tokens)):
            return self._sparse(called, inputs, inputs.wanted)
        size = self.rows_per_call(inputs.xt.shape[1])
        rows = inputs.xt, inputs.time, inputs.present
        if inputs.aligned is not None:

            def given_templates(*one: Tensor | None) -> Tensor:
                return called(*one[:-1], aligned=one[-1])

            return LogProbs(in_groups(given_templates, *rows, inputs.aligned, size=size))
        if not self.is_cpu or (together := self._rows_together(inputs)) == 1:
            return LogProbs(in_groups(called, *rows, size=size))
        kind = network, label is None, inputs.present is None, inputs.xt.shape[1]
        if kind not in self._alike:
            self._alike[kind] = _are_alike(called, self.lm, inputs, together)
        if not self._alike[kind]:
            return LogProbs(in_groups(called, *rows, size=size))
        # what does not fill a group is called row by row, as it would be without others.
        cut = len(inputs.xt) // together * together
        first, rest = _cut(rows, slice(cut)), _cut(rows, slice(cut, None))
        parts = [in_groups(called, *first, size=together)]
        parts += [in_groups(called, *rest, size=size)] if len(inputs.xt) > cut else []
        return LogProbs(torch.cat(parts))

    def _rows_together(self, inputs: NetworkInput) -> int:
        """Rows that may share a call on a CPU; 1 where the values of one could matter to another.

        Padding changes how a whole call attends, and several threads divide sums by its size.
        """
        length = inputs.xt.shape[1]
        together = POSITIONS_OF_ROWS_CPU // length
        is_padded = inputs.present is not None and not bool(inputs.present.all())
        fits = len(inputs.xt) >= together and length % _NUMBERS_OF_VECTORS == 0
        is_safe = torch.get_num_threads() == 1 and not is_padded
        return together if together > 1 and fits and is_safe else 1

    def _sparse(
        self, network: Callable[..., Tensor], inputs: NetworkInput, wanted: Tensor
    ) -> LogProbs:
        """The output layer at the wanted positions alone."""
        size = self.rows_per_call(wanted.shape[1])
        groups = groups_of(len(inputs.xt), size, wanted.device)
        parts = [self._chosen(wanted, group) for group in groups]
        count = sum(len(part.rows) for part in parts)
        found: Tensor | None = None
        start = 0
        for group, part in zip(groups, parts, strict=True):
            present = None if inputs.present is None else inputs.present[group]
            made = network(inputs.xt[group], inputs.time[group], present, part)
            if found is None:
                # memory of several parts once, rather than theirs and their sum.
                found = made if len(made) == count else made.new_empty((count, *made.shape[1:]))
            if found is not made:
                found[start : start + len(made)] = made
            start += len(made)
        assert found is not None
        rows = torch.cat([group[part.rows] for group, part in zip(groups, parts, strict=True)])
        columns = torch.cat([part.columns for part in parts])
        return LogProbs(found, ChosenPositions((len(wanted), wanted.shape[1]), rows, columns))

    def _chosen(self, wanted: Bool[Tensor, "b L"], group: Int[Tensor, " s"]) -> places.Chosen:
        """The wanted positions of a group; the copies that fill it up are not read."""
        is_first = torch.ones_like(group, dtype=torch.bool)
        is_first[1:] = group[1:] != group[:-1]
        mask = wanted[group] & is_first[:, None]
        return places.Chosen(mask, positions_per_call=self.positions_per_call)


def _cut(rows: Iterable[Tensor | None], part: slice) -> list[Tensor | None]:
    return [None if values is None else values[part] for values in rows]


def _are_alike(
    network: Callable[..., Tensor], lm: Denoising, inputs: NetworkInput, together: int
) -> bool:
    """Whether random rows have the same bits in one call as in calls of their own."""
    draw = torch.Generator().manual_seed(0)
    real = lm.real_tokens.nonzero()[:, 0]
    shape = together, inputs.xt.shape[1]
    ids = real[torch.randint(len(real), shape, generator=draw)]
    # some rows of few masks, and some of many.
    is_hidden = torch.rand(shape, generator=draw) < torch.linspace(0.1, 1, together)[:, None]
    xt = torch.where(is_hidden, lm.mask_id, ids)
    rows = _cut((xt, inputs.time, inputs.present), slice(together))
    return torch.equal(in_groups(network, *rows, size=together), in_groups(network, *rows, size=1))


Guide = Callable[[NetworkCalls, NetworkInput], LogProbs]
"""Gives guided log-probabilities; see `class_guidance.Guidance`."""


class PlainDenoiser:
    """What the reverse process calls for a model of few ids: all positions of some rows."""

    def __init__(
        self,
        calls: NetworkCalls,
        present: Bool[Tensor, "B L"] | None,
        aligned: Int[Tensor, "B L"] | None = None,
    ) -> None:
        """Wrap a model; arguments as in `denoiser_of`."""
        self.calls = calls
        self.present = present
        self.aligned = aligned

    def __call__(
        self, xt: Int[Tensor, "b L"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b L V"]:
        """Give log p(x0 | xt) for the rows `rows` of the whole batch."""
        return self.calls.for_rule(self._input(xt, time, rows)).dense()

    def _input(self, xt: Tensor, time: Tensor, rows: Tensor) -> NetworkInput:
        present = None if self.present is None else self.present[rows]
        aligned = None if self.aligned is None else self.aligned[rows]
        return NetworkInput(xt, time, present, rows=rows, aligned=aligned)


class SparseDenoiser(PlainDenoiser):
    """The same, with the positions that are read: for many ids, or guidance."""

    def __init__(
        self,
        calls: NetworkCalls,
        present: Bool[Tensor, "B L"] | None,
        guide: Guide = NetworkCalls.for_rule,
        aligned: Int[Tensor, "B L"] | None = None,
    ) -> None:
        """Wrap a model and its guidance."""
        super().__init__(calls, present, aligned)
        self.guide = guide

    def __call__(
        self, xt: Int[Tensor, "b L"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b L V"]:
        """Give log p(x0 | xt) for the rows `rows` of the whole batch."""
        return self.guide(self.calls, self._input(xt, time, rows)).dense()

    def at(
        self,
        xt: Int[Tensor, "b L"],
        time: Float64[Tensor, " b"],
        rows: Int[Tensor, " b"],
        wanted: Bool[Tensor, "b L"],
    ) -> LogProbs:
        """Give log p(x0 | xt) where `wanted`; elsewhere nothing, or -inf for every token."""
        found = self.guide(self.calls, replace(self._input(xt, time, rows), wanted=wanted))
        if isinstance(found.positions, ChosenPositions):
            return found
        return LogProbs(found.values.masked_fill(~wanted.unsqueeze(-1), -torch.inf))


def denoiser_of(
    calls: NetworkCalls,
    present: Bool[Tensor, "B L"] | None,
    guide: Guide | None,
    aligned: Int[Tensor, "B L"] | None = None,
) -> PlainDenoiser:
    """The denoiser that suits the vocabulary and the guidance.

    Args:
        calls: the model.
        present: False at padding, for the whole batch; None means no padding.
        guide: None without guidance.
        aligned: templates of the whole batch, see `Batch.aligned`; None without any.
    """
    if guide is not None:
        return SparseDenoiser(calls, present, guide, aligned)
    kind = PlainDenoiser if places.is_small(len(calls.lm.real_tokens)) else SparseDenoiser
    return kind(calls, present, aligned=aligned)


def rows_per_call(length: int, *, is_cpu: bool) -> int:
    """Rows of every call for sequences of a length, a function of nothing else.

    >>> rows_per_call(1024, is_cpu=False), rows_per_call(131_072, is_cpu=False)
    (32, 1)
    """
    if is_cpu:
        return ROWS_PER_CALL_CPU
    return max(1, min(ROWS_PER_CALL, POSITIONS_OF_ROWS // length))


def rows_held(batch_size: int, length: int, num_ids: int, *, is_cpu: bool) -> int:
    """Sequences made at once: fewer on a GPU whose memory would not hold their distributions.

    >>> rows_held(64, 1024, 12, is_cpu=False), rows_held(64, 1024, 50_257, is_cpu=False)
    (64, 32)
    """
    if is_cpu:
        return batch_size
    most = max(rows_per_call(length, is_cpu=False), NUMBERS_OF_ROWS // (length * num_ids))
    return min(batch_size, most)


def in_groups(
    function: Callable[..., Tensor], *inputs: Tensor | None, size: int, fill: bool = True
) -> Tensor:
    """Apply a function of rows to a fixed number of them at a time.

    Args:
        function: from some rows of every input to as many rows of a result.
        *inputs: tensors with the same number of rows, or None, which is passed on; the first is a
            tensor.
        size: rows of a group.
        fill: fill the last group up with copies of its last row.
    """
    assert inputs[0] is not None
    num_rows = len(inputs[0])
    parts = [
        function(*(None if values is None else values[group] for values in inputs))
        for group in groups_of(num_rows, size, inputs[0].device, fill=fill)
    ]
    return torch.cat(parts)[:num_rows]


def groups_of(
    num_rows: int, size: int, device: torch.device, *, fill: bool = True
) -> tuple[Int[Tensor, " size"], ...]:
    """Row numbers of each group, see `in_groups`."""
    rows = torch.arange(num_rows, device=device)
    if fill:
        rows = torch.cat([rows, rows[-1:].expand(-num_rows % size)])
    return rows.split(size)
