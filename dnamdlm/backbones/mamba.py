"""Mamba-1 mixers in one direction or both, and the block around them.

Shapes: B sequences, L positions, D channels, I inner channels, N state size, R rank of the step
size, C width of the conditioning vector.
Source: Gu and Dao 2023 (arXiv:2312.00752); both directions with shared projections: Schiff et al.
2024 (arXiv:2403.03234), section 3.
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.backbones.layers import Modulation
from dnamdlm.ops.conv import causal_conv, causal_conv_both
from dnamdlm.ops.norm import ShiftAndScale, rms_norm
from dnamdlm.ops.scan import scan_both, selective_scan
from dnamdlm.ops.scan_inputs import ScanInputs

Directions = Literal["forward", "add", "multiply"]

MIN_STEP, MAX_STEP, STEP_FLOOR = 1e-3, 1e-1, 1e-4


class RmsNorm(nn.Module):
    """Root-mean-square norm with a gain, in float32 or wider."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(
        self, x: Float[Tensor, "*rows D"], modulation: ShiftAndScale | None = None
    ) -> Float[Tensor, "*rows D"]:
        """Normalise over the last axis; with a modulation, shift and scale the result."""
        return rms_norm(x, self.weight, modulation=modulation)


class SelectiveState(nn.Module):
    """Short convolution and selective scan along one direction, between the projections."""

    undecayed = ("log_rates",)

    def __init__(self, inner_size: int, state_size: int, conv_width: int, rank: int) -> None:
        super().__init__()
        self.splits = (rank, state_size, state_size)
        bound = conv_width**-0.5
        self.conv_weight = nn.Parameter(torch.empty(inner_size, conv_width).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(inner_size).uniform_(-bound, bound))
        self.select = nn.Linear(inner_size, sum(self.splits), bias=False)
        bound = rank**-0.5
        self.step_weight = nn.Parameter(torch.empty(inner_size, rank).uniform_(-bound, bound))
        self.step_bias = nn.Parameter(_initial_step_bias(inner_size))
        rates = torch.arange(1.0, state_size + 1).log().expand(inner_size, state_size)
        self.log_rates = nn.Parameter(rates.clone())
        self.direct = nn.Parameter(torch.ones(inner_size))

    def forward(
        self,
        x: Float[Tensor, "B L I"],
        gate: Float[Tensor, "B L I"] | None,
        present: Bool[Tensor, "B L"] | None,
        *,
        reverse: bool,
    ) -> Float[Tensor, "B L I"]:
        """Mix positions; with a gate, the result is multiplied by SiLU(gate)."""
        # in the type of the projections, half precision under autocast.
        x = causal_conv(x, self.conv_weight, self.conv_bias, reverse=reverse, present=present)
        return selective_scan(*self.scan_inputs(x, gate), reverse=reverse, present=present)

    def scan_inputs(
        self, x: Float[Tensor, "B L I"], gate: Float[Tensor, "B L I"] | None
    ) -> ScanInputs:
        """What the scan of the convolved `x` reads."""
        step, write, read = self.select(x).split(self.splits, dim=-1)
        return ScanInputs(
            x,
            functional.linear(step, self.step_weight),
            -self.log_rates.exp(),
            write,
            read,
            self.direct,
            gate,
            self.step_bias,
        )


def _scan_both_ways(
    ahead: SelectiveState,
    back: SelectiveState,
    x: Float[Tensor, "B L I"],
    gate: Float[Tensor, "B L I"] | None,
    present: Bool[Tensor, "B L"] | None,
) -> list[Float[Tensor, "B L I"]]:
    """The forward pass of one and the reverse pass of another, which GPUs do together."""
    weights, biases = zip(*((way.conv_weight, way.conv_bias) for way in (ahead, back)), strict=True)
    xs = causal_conv_both(x, weights, biases, present=present)
    inputs = [way.scan_inputs(x, gate) for way, x in zip((ahead, back), xs, strict=True)]
    return scan_both(*inputs, present=present)


class MambaMixer(nn.Module):
    """Project, scan in one direction or both, gate, and project back.

    Both directions share the projections, so that the sum of two mixers is one projection of the
    sum of their scans, and the gate is applied once.
    """

    def __init__(
        self,
        size: int,
        *,
        directions: Directions = "add",
        state_size: int = 16,
        conv_width: int = 4,
        expand: int = 2,
    ) -> None:
        """Build a mixer.

        Args:
            size: number of channels.
            directions: 'forward' is causal; 'add' and 'multiply' combine the outputs of a forward
                and a reverse mixer.
            state_size: size of the state vector of each inner channel.
            conv_width: taps of the convolution before the scan.
            expand: inner channels per channel.
        """
        super().__init__()
        inner_size = expand * size
        parts = (inner_size, state_size, conv_width, math.ceil(size / 16))
        self.directions: Directions = directions
        self.input = nn.Linear(size, 2 * inner_size, bias=False)
        self.ahead = SelectiveState(*parts)
        self.back = None if directions == "forward" else SelectiveState(*parts)
        self.output = nn.Linear(inner_size, size, bias=False)

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L D"]:
        """Mix positions; padding has no effect on any other position."""
        x, gate = self.input(x).chunk(2, dim=-1)
        if self.back is None:
            return self.output(self.ahead(x, gate, present, reverse=False))
        multiply = self.directions == "multiply"
        ahead, back = _scan_both_ways(self.ahead, self.back, x, gate if multiply else None, present)
        if multiply:
            return self.output(ahead) * self.output(back)
        return self.output((ahead + back) * functional.silu(gate))


class MambaBlock(nn.Module):
    """x + gate * mixer(norm(x)), the norm modulated and the gate applied if conditioned."""

    def __init__(
        self,
        mixer: MambaMixer,
        size: int,
        *,
        dropout: float | int = 0.0,
        cond_size: int | None = None,
        residual: bool = True,
        wide_residual: bool = True,
    ) -> None:
        """Wrap a mixer.

        Args:
            mixer: the mixer of positions.
            size: number of channels.
            dropout: probability of dropping a channel of the branch.
            cond_size: width of the conditioning vector; None builds the plain block.
            residual: add the branch to its input; without it the branch is the output, as in
                original DiMamba networks without adaptive norm.
            wide_residual: keep the sum in float32 under autocast; else it is rounded to the type
                of the branch.
        """
        super().__init__()
        self.norm = RmsNorm(size)
        self.mixer = mixer
        self.dropout = nn.Dropout(dropout)
        self.modulation = None if cond_size is None else Modulation(cond_size, size, 3)
        self.residual = residual
        self.wide_residual = wide_residual

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        cond: Float[Tensor, "B C"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """One block; `cond` is None if and only if the block was built without conditioning."""
        if self.modulation is None:
            branch = self.dropout(self.mixer(self.norm(x), present))
        else:
            assert cond is not None
            shift, scale, gate = self.modulation.chunks(cond)
            branch = gate * self.dropout(self.mixer(self.norm(x, (shift, scale)), present))
        if not self.residual:
            return branch
        return x + branch if self.wide_residual else x.to(branch.dtype) + branch


def _initial_step_bias(inner_size: int) -> Tensor:
    """Biases whose softplus is log-uniform between the smallest and the largest step."""
    low, high = math.log(MIN_STEP), math.log(MAX_STEP)
    step = torch.empty(inner_size).uniform_(low, high).exp().clamp(min=STEP_FLOOR)
    return step + torch.log(-torch.expm1(-step))
