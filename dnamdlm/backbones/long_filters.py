"""Long causal convolutions, and filters that are a function of the distance.

A filter is a perceptron with sine activations of a few harmonics of the distance, times an
exponential window. Convolutions are products in the frequency domain, in float32 or wider; short
rows are convolved directly, so that there no rounding passes from later bases to earlier ones.

Shapes: B sequences, L positions, D channels, E features of a distance, F filter width.
Source: Poli et al. 2023 (arXiv:2302.10866), section 3; HazyResearch/hyena-dna, commit d553021.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

DIRECT_UP_TO = 64
"""Rows of at most this many bases are convolved directly."""
# of the window: exp(-rate t) + shift, t from 0 to 1, with rates between these two.
_SLOWEST, _FASTEST, _SHIFT = math.log(100) / 1.5, math.log(100) / 0.3, 0.05
_FREQUENCY = 10.0


def long_conv(
    x: Float[Tensor, "B L D"], taps: Float[Tensor, "L D"], direct: Float[Tensor, " D"]
) -> Float[Tensor, "B L D"]:
    """Compute y[i] = direct * x[i] + sum_j taps[j] * x[i - j], each channel for itself.

    Args:
        x: input.
        taps: one value for each distance into the past.
        direct: further factor of the position itself.

    Example: taps of one half each distance further halve the past once more.
        >>> x = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1)
        >>> taps = torch.tensor([[1.0], [0.5], [0.25]])
        >>> long_conv(x, taps, torch.zeros(1)).flatten()
        tensor([1.0000, 0.5000, 0.2500])
    """
    length = x.shape[1]
    rows = x.transpose(1, 2)
    if length <= DIRECT_UP_TO:
        filters = taps.flip(0).T.unsqueeze(1)
        padded = functional.pad(rows, (length - 1, 0))
        past = functional.conv1d(padded, filters, groups=len(filters))
    else:
        # twice the length, so that the end does not wrap around to the start.
        spectrum = torch.fft.rfft(rows, n=2 * length) * torch.fft.rfft(taps.T, n=2 * length)
        past = torch.fft.irfft(spectrum, n=2 * length)[..., :length]
    return past.transpose(1, 2) + direct * x


class LongFilter(nn.Module):
    """The taps of a long convolution, as a function of the distance."""

    undecayed = ("positions",)
    rates: Tensor
    times: Tensor

    def __init__(
        self, size: int, max_length: int, num_features: int, filter_size: int, num_layers: int
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(_features(max_length, num_features))
        self.layers = nn.ModuleList([nn.Linear(num_features, filter_size)])
        self.layers.extend(nn.Linear(filter_size, filter_size) for _ in range(num_layers))
        self.output = nn.Linear(filter_size, size, bias=False)
        self.frequency = nn.Parameter(torch.full((filter_size,), _FREQUENCY))
        self.direct = nn.Parameter(torch.randn(size))
        self.register_buffer("rates", torch.linspace(_SLOWEST, _FASTEST, size))
        self.register_buffer("times", torch.linspace(0, 1, max_length), persistent=False)

    def forward(self, length: int) -> Float[Tensor, "L D"]:
        """Taps for distances 0 to `length` - 1."""
        x = self.positions[:length]
        for layer in self.layers:
            x = torch.sin(self.frequency * layer(x))
        window = torch.exp(-self.times[:length, None] * self.rates.abs()) + _SHIFT
        return self.output(x) * window


def _features(max_length: int, num_features: int) -> Float[Tensor, "L E"]:
    """Distance over the largest, then cosines and sines of its harmonics."""
    bands = (num_features - 1) // 2
    places = torch.arange(max_length, dtype=torch.float64)
    angles = 2 * math.pi / max_length * places[:, None] * torch.linspace(1e-4, bands - 1, bands)
    share = torch.linspace(0, 1, max_length, dtype=torch.float64)[:, None]
    return torch.cat([share, angles.cos(), -angles.sin()], dim=-1).float()
