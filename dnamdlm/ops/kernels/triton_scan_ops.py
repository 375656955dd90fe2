"""Our Triton scan as operators of torch, one direction or both in one launch, with gradients.

As operators (`dnamdlm::scan_forward`, `dnamdlm::scan_backward`) the kernels are opaque to
torch.compile, which sees shapes alone and traces through them without a graph break.

Shapes: B sequences, L positions, D channels, N state size.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# ruff: noqa: PLR0917  operators take their arguments by position
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dnamdlm.ops.kernels.programs.triton_language import ceil_div, launching, power_of_two
from dnamdlm.ops.scan_inputs import ScanInputs


@dataclass(frozen=True)
class Tiles:
    """Sizes of the work of one program; the results depend on them in the last bits alone.

    Attributes:
        segment: positions of one program, a multiple of `chunk`.
        chunk: positions between kept states, a multiple of `sub`.
        sub: positions whose states are in registers in the backward pass.
        channels: channels of one program, a power of two.
        warps: warps of one program.
    """

    segment: int = 1024
    chunk: int = 64
    sub: int = 4
    channels: int = 32
    warps: int = 1


TILES = Tiles()


def triton_scan(
    ways: list[ScanInputs],
    *,
    softplus: bool,
    reverse: bool,
    present: Bool[Tensor, "B L"] | None,
) -> list[Float[Tensor, "B L D"]]:
    """Run the scan of each direction.

    Args:
        ways: the inputs of one direction, or of the forward and the reverse one.
        softplus: apply softplus to delta + delta_bias.
        reverse: the direction, if there is one; two are forward and reverse.
        present: False marks padding, which is skipped and whose output is zero.
    """
    first = ways[0]
    listed = [_tensors(way) for way in ways]
    flat = [tensor for tensors in listed for tensor in tensors]
    keeps = torch.is_grad_enabled() and any(x.requires_grad for x in flat)
    out = _scan_forward(flat, present, first.z is not None, softplus, reverse, keeps, len(ways))
    return list(out[: len(ways)])


def _tensors(way: ScanInputs) -> list[Tensor]:
    """u, delta, A, B, C, D, bias and, with a gate, z; the fixed ones in float32."""
    rates = way.A.float()
    direct, bias = (
        rates.new_zeros(len(rates)) if x is None else x.float() for x in (way.D, way.delta_bias)
    )
    tensors = [way.u, way.delta, rates, way.B, way.C, direct, bias]
    return tensors if way.z is None else [*tensors, way.z]


@dataclass(frozen=True)
class _Launch:
    """What the kernels of one call share.

    Attributes:
        ways: tensors of each direction, (u, delta, A, B, C, D, bias, z), z being u without a gate.
        sizes: batch, length, channels, state size, segments.
        grid: programs: sequences x segments, groups of channels, directions.
        options: the compile-time constants that all kernels have.
    """

    ways: list[list[Tensor]]
    sizes: tuple[int, int, int, int, int]
    grid: tuple[int, int, int]
    options: dict[str, Any]

    def pair(self, *places: int) -> list[Tensor]:
        """Tensors of the first direction, then of the last (the same one if there is one)."""
        return [way[i] for way in (self.ways[0], self.ways[-1]) for i in places]

    def strides(self, *places: int) -> list[int]:
        """Strides of rows and positions."""
        return [self.ways[0][i].stride(axis) for i in places for axis in (0, 1)]


def _launch(
    tensors: list[Tensor], has_z: bool, softplus: bool, reverse: bool, count: int
) -> _Launch:
    """Lay out one call; directions get the same strides."""
    size = len(tensors) // count
    ways = [tensors[i * size : (i + 1) * size] for i in range(count)]
    for i in (0, 1, 3, 4, *((7,) if has_z else ())):
        given = {way[i].stride() for way in ways}
        if len(given) > 1 or ways[0][i].stride(-1) != 1:
            for way in ways:
                way[i] = way[i].contiguous()
    for way in ways:
        way[2], way[5], way[6] = (way[i].contiguous() for i in (2, 5, 6))
        if not has_z:
            way.append(way[0])
    (batch, length, channels), states = ways[0][0].shape, ways[0][2].shape[1]
    segments = ceil_div(length, TILES.segment)
    options = {
        "REVERSE": int(reverse and count == 1),
        "DIRECTIONS": count,
        "SOFTPLUS": softplus,
        "SEGMENT": TILES.segment,
        "SUB": TILES.sub,
        "BLOCK": TILES.channels,
        "N": power_of_two(states),
        "num_warps": TILES.warps,
    }
    grid = (batch * segments, ceil_div(channels, TILES.channels), count)
    return _Launch(ways, (batch, length, channels, states, segments), grid, options)


def _combine(launch: _Launch, ends: Tensor, totals: Tensor, *, from_last: bool) -> None:
    """Turn what segments add into what enters them, in place."""
    from dnamdlm.ops.kernels.programs.triton_scan import combine

    batch, _, channels, states, segments = launch.sizes
    kept = ("DIRECTIONS", "BLOCK", "N", "num_warps")
    combine[batch, *launch.grid[1:]](
        *launch.pair(2), ends, totals, batch, channels, states, segments, FROM_LAST=from_last,
        **{name: launch.options[name] for name in kept},
    )  # fmt: skip


@torch.library.custom_op("dnamdlm::scan_forward", mutates_args=())
def _scan_forward(
    tensors: list[Tensor],
    present: Tensor | None,
    has_z: bool,
    softplus: bool,
    reverse: bool,
    keeps: bool,
    count: int,
) -> list[Tensor]:
    """The outputs of `count` directions, states at chunk borders, and total steps of segments."""
    from dnamdlm.ops.kernels.programs.triton_scan import scan_forward, segment_ends

    launch = _launch(tensors, has_z, softplus, reverse, count)
    made = _forward_outputs(tensors, count, keeps)
    *outs, borders, totals = made
    batch, _, channels, states, segments = launch.sizes
    common = {**launch.options, "HAS_PRESENT": present is not None}
    padding = tensors[0] if present is None else present.contiguous()
    starts = borders
    with launching(tensors[0].device):
        if segments > 1:
            starts = borders.new_empty(count, batch, segments, channels, states)
            segment_ends[launch.grid](
                *launch.pair(0, 1, 2, 3, 6), padding, starts, totals, *launch.sizes,
                *launch.strides(0, 1, 3), **common,
            )  # fmt: skip
            _combine(launch, starts, totals, from_last=False)
        places = (0, 1, 2, 3, 4, 5, 6, 7)
        pairs = launch.pair(*places)
        scan_forward[launch.grid](
            *pairs[:8], outs[0], *pairs[8:], outs[-1], padding, starts, borders, *launch.sizes,
            *launch.strides(0, 1, 3, 4, 7), HAS_Z=has_z, HAS_STARTS=segments > 1, KEEPS=keeps,
            CHUNK=TILES.chunk, **common,
        )  # fmt: skip
    return made


@_scan_forward.register_fake
def _(tensors: list[Tensor], *others: Any) -> list[Tensor]:
    *_, keeps, count = others
    return _forward_outputs(tensors, count, keeps)


def _forward_outputs(tensors: list[Tensor], count: int, keeps: bool) -> list[Tensor]:
    """Memory for what the forward pass makes."""
    u, rates = tensors[0], tensors[2]
    (batch, length, channels), states = u.shape, rates.shape[1]
    chunks = ceil_div(length, TILES.chunk) if keeps else 0
    # one segment has nothing to pass on, and its total is not computed.
    segments = ceil_div(length, TILES.segment) if length > TILES.segment else 0
    return [
        *(u.new_empty(u.shape) for _ in range(count)),
        rates.new_empty(count, batch, chunks, channels, states, dtype=torch.float32),
        rates.new_empty(count, batch, segments, channels, dtype=torch.float32),
    ]


@torch.library.custom_op("dnamdlm::scan_backward", mutates_args=())
def _scan_backward(
    gradients: list[Tensor],
    tensors: list[Tensor],
    present: Tensor | None,
    borders: Tensor,
    totals: Tensor,
    has_z: bool,
    softplus: bool,
    reverse: bool,
) -> list[Tensor]:
    """Gradients of u, delta and z of each direction, then sums: those of B and C, A, D and bias."""
    from dnamdlm.ops.kernels.programs.triton_scan_backward import adjoint_ends, scan_backward

    count = len(gradients)
    launch = _launch(tensors, has_z, softplus, reverse, count)
    made = _backward_outputs(tensors, count, has_z)
    moving, wide, fixed = made[:-2], made[-2], made[-1]
    grads = [x.contiguous() for x in gradients]
    batch, length, channels, states, segments = launch.sizes
    rows, groups, _ = launch.grid
    common = {**launch.options, "HAS_PRESENT": present is not None, "HAS_Z": has_z}
    padding = tensors[0] if present is None else present.contiguous()
    carries = borders
    scratch = borders.new_empty(
        rows * groups * count * (TILES.chunk // TILES.sub) * TILES.channels * common["N"]
    )
    dbc = borders.new_empty(count, 2, groups, batch, length, states)
    parts = borders.new_empty(count, rows, channels, states + 2)
    each = 3 if has_z else 2
    first, last = moving[:each], moving[-each:]
    if not has_z:
        first, last = [*first, first[0]], [*last, last[0]]
    with launching(borders.device):
        if segments > 1:
            carries = borders.new_empty(count, batch, segments, channels, states)
            pairs = launch.pair(1, 2, 4, 6, 7)
            adjoint_ends[launch.grid](
                *pairs[:5], grads[0], *pairs[5:], grads[-1], padding, carries, *launch.sizes,
                *launch.strides(1, 4, 7), **common,
            )  # fmt: skip
            _combine(launch, carries, totals, from_last=True)
        pairs = launch.pair(0, 1, 2, 3, 4, 5, 6, 7)
        scan_backward[launch.grid](
            *pairs[:8], grads[0], *pairs[8:], grads[-1], *first, *last, padding, borders,
            carries, scratch, dbc, parts, *launch.sizes, *launch.strides(0, 1, 3, 4, 7),
            HAS_CARRIES=segments > 1, CHUNK=TILES.chunk, **common,
        )  # fmt: skip
    torch.sum(dbc, 2, out=wide)
    torch.sum(parts, 1, out=fixed)
    return made


@_scan_backward.register_fake
def _(gradients: list[Tensor], tensors: list[Tensor], *others: Any) -> list[Tensor]:
    *_, has_z, _softplus, _reverse = others
    return _backward_outputs(tensors, len(gradients), has_z)


def _backward_outputs(tensors: list[Tensor], count: int, has_z: bool) -> list[Tensor]:
    """Memory for what the backward pass makes."""
    u, rates = tensors[0], tensors[2]
    (batch, length, channels), states = u.shape, rates.shape[1]
    size = len(tensors) // count
    moving: list[Tensor] = []
    for i in range(count):
        way = tensors[i * size : (i + 1) * size]
        moving += [x.new_empty(x.shape) for x in (way[0], way[1], *((way[7],) if has_z else ()))]
    return [
        *moving,
        rates.new_empty(count, 2, batch, length, states, dtype=torch.float32),
        rates.new_empty(count, channels, states + 2, dtype=torch.float32),
    ]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """Keep what the backward pass reads."""
    tensors, present, has_z, softplus, reverse, _, count = inputs
    borders, totals = output[-2:]
    ctx.save_for_backward(*tensors, present, borders, totals)
    ctx.options = (has_z, softplus, reverse)
    ctx.count = count


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    """Gradients of the tensors, in their order and types."""
    *tensors, present, borders, totals = ctx.saved_tensors
    count, has_z = ctx.count, ctx.options[0]
    made = _scan_backward(gradients[:count], tensors, present, borders, totals, *ctx.options)
    *moving, wide, fixed = made
    size, each = len(tensors) // count, 3 if has_z else 2
    states, grads = tensors[2].shape[1], []
    for i in range(count):
        du, ddelta, *dz = moving[i * each : (i + 1) * each]
        write, read = tensors[i * size + 3 : i * size + 5]
        db, dc = wide[i, 0].to(write.dtype), wide[i, 1].to(read.dtype)
        da, dd, dbias = fixed[i, :, :states], fixed[i, :, states], fixed[i, :, states + 1]
        grads += [du, ddelta, da, db, dc, dd, dbias, *dz]
    return grads, None, None, None, None, None, None


_scan_forward.register_autograd(_backward, setup_context=_setup)
