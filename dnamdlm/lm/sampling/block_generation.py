"""Sequences block by block from left to right, with any step rule within a block.

The noise of block 0 is that of the row, and that of block b comes from a key of its own. So a
sequence of one block is the one that a masked diffusion model makes, and the complete blocks of a
sequence do not depend on its length.

Shapes: B sequences, L positions, S positions of one block, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.positions import ChosenPositions, LogProbs
from dnamdlm.diffusion.randomness import RowNoise, child_keys
from dnamdlm.diffusion.reverse import Generated, reverse_process
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.errors import ConfigError
from dnamdlm.lm import places
from dnamdlm.lm.sampling.block_context import BlockContext, BlockParts
from dnamdlm.lm.sampling.network_calls import (
    Guide,
    NetworkCalls,
    NetworkInput,
    OneLabel,
    denoiser_of,
    rows_per_call,
)


@dataclass(frozen=True)
class BlockRun:
    """What all blocks of all rows share.

    Attributes:
        parts: the model.
        rule: step rule within a block.
        times: time grid of a block.
        window: most positions that the network reads, see `block_context`.
        constraints: tokens that masks may become; None allows every real token.
        guidance: a class to steer towards; None is the model without a class.
        watch: called after each step with the number of tokens just filled.
        use_cache: keep keys and values of finished blocks.
    """

    parts: BlockParts
    rule: StepRule
    times: Float64[Tensor, " T1"]
    window: int
    constraints: Constraints | None = None
    guidance: Guide | None = None
    watch: Callable[[int], None] | None = None
    use_cache: bool = True


def check_left_to_right(
    initial: Int[Tensor, "B L"], block_length: int, *, mask_id: int, pad_id: int
) -> None:
    """Refuse given tokens in a block to the right of one with masks, which are never seen there.

    Raises:
        ConfigError: naming the first of them.
    """
    block = torch.arange(initial.shape[1], device=initial.device) // block_length
    first = torch.where(initial == mask_id, block, initial.shape[1]).amin(dim=1, keepdim=True)
    late = (block > first) & (initial != mask_id) & (initial != pad_id)
    if bool(late.any()):
        place = int(late.any(dim=0).nonzero()[0])
        raise ConfigError(
            f"position {place} is given, but blocks of {block_length} are filled from left to "
            "right, and one with gaps lies before it; use a model trained with lm=mdlm, or a "
            "larger block_length"
        )


def pieces_of(
    run: BlockRun,
    keys: Int[Tensor, " B"],
    initial: Int[Tensor, "B L"],
    *,
    evaluated: Callable[[], AbstractContextManager[None]],
) -> Iterator[Generated]:
    """Fill the masks of rows: block by block where one call takes all of them, else in one piece.

    Args:
        run: model and settings.
        keys: noise keys.
        initial: ids to start from.
        evaluated: puts the model into evaluation mode while a block is made.
    """
    at_once = rows_per_call(min(initial.shape[1], run.window), is_cpu=keys.device.type == "cpu")
    groups = torch.arange(len(keys), device=keys.device).split(at_once)

    def made(rows: Tensor) -> Iterator[Generated]:
        chosen = None if run.constraints is None else run.constraints.select(rows)
        of_rows = replace(run, constraints=chosen)
        blocks = _blocks_of(of_rows, keys[rows], initial[rows], at_once)
        while True:
            with torch.no_grad(), evaluated():
                block = next(blocks, None)
            if block is None:
                return
            yield block

    if len(groups) == 1:
        yield from made(groups[0])
        return
    parts = [list(made(rows)) for rows in groups]
    yield Generated(
        torch.cat([torch.cat([block.tokens for block in part], dim=1) for part in parts]),
        sum(block.network_calls for part in parts for block in part),
        sum(block.row_calls for part in parts for block in part),
    )


def _blocks_of(
    run: BlockRun, keys: Int[Tensor, " B"], initial: Int[Tensor, "B L"], at_once: int
) -> Iterator[Generated]:
    """Fill the masks of at most `at_once` rows, block by block.

    Every call of the network has `at_once` rows, filled up with copies, so that rounding does not
    depend on how many rows there are.
    """
    parts, size = run.parts, run.parts.block_length
    context = BlockContext(parts, at_once, run.window, use_cache=run.use_cache)
    calls = _BlockCalls(context, run.rule.takes_unnormalized, is_cpu=keys.device.type == "cpu")
    copies = torch.arange(at_once, device=keys.device).clamp(max=len(keys) - 1)
    for number, start in enumerate(range(0, initial.shape[1], size)):
        before = calls.num_calls, calls.num_rows, context.num_encodings
        tokens = initial[:, start : start + size]
        context.make_space(tokens.shape[1])
        # one answer for which the host waits.
        marks = [(tokens == mark).any() for mark in (parts.mask_id, parts.pad_id)]
        has_masks, context.is_padded = torch.stack(marks).tolist()
        if has_masks:
            tokens = reverse_process(
                denoiser_of(calls, None, run.guidance),
                tokens,
                rule=run.rule,
                schedule=parts.schedule,
                times=run.times,
                mask_id=parts.mask_id,
                noise=RowNoise(keys if number == 0 else child_keys(keys, number)),
                constraints=_part(run.constraints, start, tokens.shape[1]),
                watch=run.watch,
            ).tokens
        context.append(tokens[copies])
        encodings = context.num_encodings - before[2]
        yield Generated(
            tokens,
            calls.num_calls - before[0] + encodings,
            calls.num_rows - before[1] + encodings * len(keys),
        )


class _BlockCalls(NetworkCalls):
    """Calls all rows of a context at once, whichever of them a step is for."""

    def __init__(self, context: BlockContext, takes_unnormalized: bool, *, is_cpu: bool) -> None:
        super().__init__(context, is_cpu=is_cpu, takes_unnormalized=takes_unnormalized)
        self.num_context_rows = len(context.tokens)

    def _called(
        self, network: Callable[..., Tensor], inputs: NetworkInput, label: OneLabel
    ) -> LogProbs:
        rows = inputs.rows
        assert rows is not None
        self.count(1, len(rows))
        # rows that no step is for repeat the first one.
        source = torch.zeros(self.num_context_rows, dtype=torch.int64, device=rows.device)
        source[rows] = torch.arange(len(rows), device=rows.device)
        given: tuple[Any, ...] = (inputs.xt[source], inputs.time[source], None)
        if inputs.wanted is None or places.is_small(len(self.lm.real_tokens)):
            return LogProbs(network(*given, label=label)[rows])
        wanted = torch.zeros_like(given[0], dtype=torch.bool)
        wanted[rows] = inputs.wanted
        chosen = places.Chosen(wanted, positions_per_call=self.positions_per_call)
        shape = (inputs.xt.shape[0], inputs.xt.shape[1])
        # rows ascend, so that both count the same positions in the same order.
        in_rows = ChosenPositions(shape, source[chosen.rows], chosen.columns)
        return LogProbs(network(*given, chosen, label=label), in_rows)


def _part(constraints: Constraints | None, start: int, size: int) -> Constraints | None:
    """The constraints of the positions of one block."""
    return None if constraints is None else constraints.within(start, start + size)
