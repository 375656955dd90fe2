"""Layers shared by several backbones.

Shapes: B sequences, L positions, D channels, C width of the conditioning vector, V vocabulary.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.errors import ConfigError
from dnamdlm.ops.conv import depthwise_conv
from dnamdlm.ops.norm import ShiftAndScale, add_layer_norm, layer_norm

NUM_TIME_FEATURES = 256


def time_features(
    time: Float[Tensor, " B"], num_features: int = NUM_TIME_FEATURES
) -> Float[Tensor, "B F"]:
    """[cos | sin] of time * 10000^(-2i / F), i < F / 2, in float32 or wider.

    Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.5, with unscaled time.
    """
    time = time.float() if time.dtype in (torch.bfloat16, torch.float16) else time
    steps = torch.arange(num_features // 2, device=time.device, dtype=time.dtype)
    frequencies = torch.exp(steps * (-2.0 * math.log(10000.0) / num_features))
    angles = time[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class TimeEmbedding(nn.Module):
    """Conditioning vector of a time: SiLU(linear(SiLU(linear(features)))), never in half precision.

    Source: Peebles and Xie 2022 (arXiv:2212.09748), section 3.2.
    """

    def __init__(self, cond_size: int) -> None:
        super().__init__()
        self.input = nn.Linear(NUM_TIME_FEATURES, cond_size)
        self.output = nn.Linear(cond_size, cond_size)

    def forward(self, time: Float[Tensor, " B"]) -> Float[Tensor, "B C"]:
        """Embed one time per sequence, in the type of the weights."""
        with torch.autocast(time.device.type, enabled=False):
            features = time_features(time.to(self.input.weight.dtype))
            return functional.silu(self.output(functional.silu(self.input(features))))


class LayerNorm(nn.Module):
    """Layer norm with a gain and no bias, in float32 or wider."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(
        self, x: Float[Tensor, "*rows D"], modulation: ShiftAndScale | None = None
    ) -> Float[Tensor, "*rows D"]:
        """Normalise over the last axis; with a modulation, shift and scale the result."""
        return layer_norm(x, self.weight, modulation=modulation)

    def add(
        self,
        x: Float[Tensor, "B L D"],
        branch: Float[Tensor, "B L D"],
        *,
        gate: Float[Tensor, "B L1 D"] | None = None,
        modulation: ShiftAndScale | None = None,
    ) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B L D"]]:
        """The sum x + gate * branch, and its norm, modulated if so wanted."""
        return add_layer_norm(x, branch, self.weight, gate=gate, modulation=modulation)


class Modulation(nn.Linear):
    """Shifts, scales and gates as a linear function of the conditioning vector, initially zero."""

    def __init__(self, cond_size: int, size: int, num_chunks: int) -> None:
        super().__init__(cond_size, num_chunks * size)
        self.num_chunks = num_chunks
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def chunks(
        self, cond: Float[Tensor, "B C"] | Float[Tensor, "B L C"]
    ) -> tuple[Float[Tensor, "B L1 D"], ...]:
        """The chunks for each position, or with an axis of length 1 for all positions of a row."""
        chunks = self(cond) if cond.ndim == 3 else self(cond).unsqueeze(1)
        return chunks.chunk(self.num_chunks, dim=-1)


def look_up(
    tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"], weight: Float[Tensor, "V D"]
) -> Float[Tensor, "B L D"]:
    """Vectors of token ids, or means of vectors under a distribution over ids at each position.

    With distributions a network is differentiable in its tokens; a one-hot distribution is
    equivalent to the id.
    """
    if tokens.is_floating_point():
        return tokens @ weight
    return functional.embedding(tokens, weight)


class ClassEmbedding(nn.Module):
    """One vector per class of sequences and one for no class, initially zero."""

    undecayed = ("weight",)

    def __init__(self, num_classes: int, size: int) -> None:
        """Build the table, without random numbers.

        Raises:
            ConfigError: if there are no classes.
        """
        super().__init__()
        if num_classes < 1:
            raise ConfigError(
                f"backbone.num_classes={num_classes} must be 0 (no classes) or positive"
            )
        self.weight = nn.Parameter(torch.zeros(num_classes + 1, size))

    def forward(self, label: Int[Tensor, " B"] | None) -> Float[Tensor, "B1 1 D"]:
        """The vector to add at every position of a row.

        Args:
            label: class of each row, from 0; the number of classes means no class, and so does
                None for all rows.
        """
        rows = self.weight[-1:] if label is None else functional.embedding(label, self.weight)
        return rows.unsqueeze(1)


class TokenEmbedding(nn.Module):
    """One vector per token id, initially uniform in +- 1 / sqrt(D)."""

    undecayed = ("weight",)

    def __init__(self, vocab_size: int, size: int) -> None:
        super().__init__()
        bound = size**-0.5
        self.weight = nn.Parameter(torch.empty(vocab_size, size).uniform_(-bound, bound))

    def forward(
        self, tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"]
    ) -> Float[Tensor, "B L D"]:
        """Look the vectors up; see `look_up`."""
        return look_up(tokens, self.weight)


class ResidualConv(nn.Module):
    """x + conv(x): short, centred, one filter per channel and no bias; padding counts as zero.

    The residual is added to the middle tap, which saves two passes over x. A bias would double the
    time of the backward pass on a CPU. Computed in the type of x even under autocast.
    """

    identity: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(size, width).uniform_(-bound, bound))
        identity = torch.zeros(width)
        identity[width // 2] = 1.0
        self.register_buffer("identity", identity, persistent=False)

    @property
    def radius(self) -> int:
        """Positions that are read on either side."""
        return self.weight.shape[-1] // 2

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L D"]:
        """Convolve and add; positions where `present` is False count as zero."""
        # outside autocast: the stem feeds the residual stream, which is kept in float32.
        with torch.autocast(x.device.type, enabled=False):
            return depthwise_conv(x, (self.weight + self.identity).to(x.dtype), present=present)


class LocalStem(nn.Module):
    """A perceptron on the tokens around each position, for alphabets of a few letters.

    Every token has a short code; the concatenated codes within `radius` positions pass through one
    hidden layer. It captures interactions of neighbouring letters, which a sum of embeddings
    cannot, for one matrix product. Positions beyond the ends and padding have the code zero.
    """

    undecayed = ("codes",)

    def __init__(
        self, vocab_size: int, size: int, *, radius: int, inner_size: int, code_size: int = 5
    ) -> None:
        super().__init__()
        self.radius = radius
        self.codes = nn.Parameter(torch.randn(vocab_size, code_size))
        self.inner = nn.Linear((2 * radius + 1) * code_size, inner_size)
        self.outer = nn.Linear(inner_size, size)

    def forward(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Vectors from tokens; positions where `present` is False count as beyond the end."""
        codes = look_up(tokens, self.codes)
        if present is not None:
            codes = torch.where(present[..., None], codes, 0.0)
        padded = functional.pad(codes, (0, 0, self.radius, self.radius))
        width = (2 * self.radius + 1) * codes.shape[-1]
        windows = padded.flatten(1).unfold(1, width, codes.shape[-1])
        # outside autocast: the stem feeds the residual stream, which is kept in float32.
        with torch.autocast(tokens.device.type, enabled=False):
            return self.outer(functional.gelu(self.inner(windows)))


class OutputHead(nn.Module):
    """Linear map from hidden states to logits, initially zero, never in half precision.

    Log-probabilities are differences of logits: rounding logits to bfloat16 changes the third digit
    of a likelihood.
    """

    def __init__(self, size: int, vocab_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocab_size, size))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits in float32, or in float64 if the hidden states are."""
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.to(wide), self.weight.to(wide), self.bias.to(wide))
