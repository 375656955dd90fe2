"""The three kinds of block of GPN: dilated convolutions over all channels, with a residual.

Padding and what lies beyond the ends count as zero in a convolution. Norms have an epsilon of 1e-5.

Shapes: B sequences, L positions, D channels, C inner channels.
Source: Benegas, Batra and Song 2023 (10.1073/pnas.2311219120); songlab-cal/gpn, commit 99293f8.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.backbones.bert import BiasedLayerNorm
from dnamdlm.backbones.layers import LayerNorm

_EPSILON = 1e-5


def norm_of(size: int, *, bias: bool, epsilon: float = _EPSILON) -> nn.Module:
    """A layer norm with a gain, and a bias where the other layers have one.

    Without a bias the epsilon is 1e-5.
    """
    return BiasedLayerNorm(size, epsilon) if bias else LayerNorm(size)


class DilatedConv(nn.Module):
    """A centred convolution with gaps between its taps; an odd number of taps."""

    def __init__(
        self, size: int, width: int, dilation: int, *, depthwise: bool, bias: bool
    ) -> None:
        super().__init__()
        self.dilation, self.groups = dilation, size if depthwise else 1
        read = size // self.groups
        bound = (read * width) ** -0.5
        self.weight = nn.Parameter(torch.empty(size, read, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    @property
    def radius(self) -> int:
        """Positions that are read on either side."""
        return self.weight.shape[-1] // 2 * self.dilation

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L D"]:
        """Convolve along the sequence; positions where `present` is False count as zero."""
        if present is not None:
            # where, not multiply: padding may be anything, inf included.
            x = torch.where(present.unsqueeze(-1), x, 0.0)
        out = functional.conv1d(
            x.transpose(1, 2),
            self.weight,
            self.bias,
            padding=self.radius,
            dilation=self.dilation,
            groups=self.groups,
        )
        return out.transpose(1, 2)


class ConvnetBlock(nn.Module):
    """x + linear(gelu(conv(norm(x)))), then x + linear(gelu(linear(norm(x))))."""

    def __init__(
        self, size: int, inner_size: int, conv: DilatedConv, *, bias: bool, dropout: float | int
    ) -> None:
        super().__init__()
        self.conv_norm = norm_of(size, bias=bias)
        self.conv = conv
        self.conv_output = nn.Linear(size, size, bias=bias)
        self.mlp_norm = norm_of(size, bias=bias)
        self.mlp_input = nn.Linear(size, inner_size, bias=bias)
        self.mlp_output = nn.Linear(inner_size, size, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L D"]:
        """One block."""
        inner = functional.gelu(self.conv(self.conv_norm(x), present))
        x = x + self.dropout(self.conv_output(inner))
        inner = functional.gelu(self.mlp_input(self.mlp_norm(x)))
        return x + self.dropout(self.mlp_output(inner))


class BytenetBlock(nn.Module):
    """x + linear(gelu(norm(conv(gelu(norm(linear(gelu(norm(x)))))))))."""

    def __init__(
        self, size: int, inner_size: int, conv: DilatedConv, *, bias: bool, dropout: float | int
    ) -> None:
        super().__init__()
        self.input_norm = norm_of(size, bias=bias)
        self.input = nn.Linear(size, inner_size, bias=bias)
        self.conv_norm = norm_of(inner_size, bias=bias)
        self.conv = conv
        self.output_norm = norm_of(inner_size, bias=bias)
        self.output = nn.Linear(inner_size, size, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L D"]:
        """One block."""
        inner = self.input(functional.gelu(self.input_norm(x)))
        inner = self.conv(functional.gelu(self.conv_norm(inner)), present)
        return x + self.dropout(self.output(functional.gelu(self.output_norm(inner))))


class PlainBlock(nn.Module):
    """x + norm(gelu(conv(x))), then x + norm(gelu(linear(x)))."""

    def __init__(self, size: int, conv: DilatedConv, *, bias: bool, dropout: float | int) -> None:
        super().__init__()
        self.conv = conv
        self.conv_norm = norm_of(size, bias=bias)
        self.mlp = nn.Linear(size, size, bias=bias)
        self.mlp_norm = norm_of(size, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L D"]:
        """One block."""
        x = x + self.dropout(self.conv_norm(functional.gelu(self.conv(x, present))))
        return x + self.dropout(self.mlp_norm(functional.gelu(self.mlp(x))))


class TransformedHead(nn.Module):
    """Linear, exact GELU, norm, then the output weights; never in half precision."""

    def __init__(
        self,
        weight: nn.Parameter,
        *,
        transform: bool,
        bias: bool,
        epsilon: float = _EPSILON,
    ) -> None:
        """Build the head.

        Args:
            weight: of the outputs, (V, D).
            transform: whether the linear layer, the activation and the norm come first.
            bias: whether all of it has biases.
            epsilon: of the norm, where it has a bias.
        """
        super().__init__()
        vocab_size, size = weight.shape
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None
        self.transform = nn.Linear(size, size, bias=bias) if transform else None
        self.norm = norm_of(size, bias=bias, epsilon=epsilon) if transform else None

    def forward(self, x: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits in float32, or in float64 if the hidden states are."""
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(wide)
            if self.transform is not None and self.norm is not None:
                bias = self.transform.bias
                x = functional.linear(
                    x, self.transform.weight.to(wide), None if bias is None else bias.to(wide)
                )
                x = self.norm(functional.gelu(x))
            bias = None if self.bias is None else self.bias.to(wide)
            return functional.linear(x, self.weight.to(wide), bias)
