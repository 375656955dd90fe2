"""HyenaDNA: a causal stack of gated long convolutions.

A block is x + mixer(norm(x)), then x + perceptron(norm(x)). The mixer projects to three branches,
convolves each over a few bases, and computes out * long_conv(gate * value); see `long_filters`.

Shapes: B sequences, L positions, V vocabulary, D channels.
Source: Nguyen et al. 2023 (arXiv:2306.15794); Poli et al. 2023 (arXiv:2302.10866), section 3.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dnamdlm.backbones.bert import BiasedLayerNorm, too_long
from dnamdlm.backbones.dit import Perceptron
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import TokenEmbedding
from dnamdlm.backbones.long_filters import LongFilter, long_conv
from dnamdlm.backbones.network_checks import check_dropout, check_positive
from dnamdlm.errors import ConfigError

_EPSILON, _DEVIATION = 1e-5, 0.02


class HyenaMixer(nn.Module):
    """out * long_conv(gate * value), each of the three after a short convolution."""

    def __init__(self, size: int, short_width: int, taps: LongFilter) -> None:
        super().__init__()
        self.input = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)
        bound = short_width**-0.5
        self.short_weight = nn.Parameter(torch.empty(3 * size, short_width).uniform_(-bound, bound))
        self.short_bias = nn.Parameter(torch.zeros(3 * size))
        self.filter = taps

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L D"]:
        """Mix each position with those before it; padding counts as zero."""
        x = self.input(x)
        # outside autocast: the Fourier transform of torch has no half precision on a CPU.
        with torch.autocast(x.device.type, enabled=False):
            wide = torch.promote_types(x.dtype, torch.float32)
            x = _cleared(x.to(wide), present)
            width = self.short_weight.shape[1]
            x = functional.conv1d(
                functional.pad(x.transpose(1, 2), (width - 1, 0)),
                self.short_weight.to(wide).unsqueeze(1),
                self.short_bias.to(wide),
                groups=len(self.short_weight),
            ).transpose(1, 2)
            out, gate, value = x.chunk(3, dim=-1)
            gated = _cleared(gate * value, present)
            taps = self.filter(x.shape[1]).to(wide)
            x = out * long_conv(gated, taps, self.filter.direct.to(wide))
        return self.output(x)


class HyenaBlock(nn.Module):
    """x + mixer(norm(x)), then x + perceptron(norm(x))."""

    def __init__(self, size: int, inner_size: int, mixer: HyenaMixer, dropout: float | int) -> None:
        super().__init__()
        self.mixer_norm = BiasedLayerNorm(size, _EPSILON)
        self.mixer = mixer
        self.mlp_norm = BiasedLayerNorm(size, _EPSILON)
        self.mlp = Perceptron(size, inner_size, activation="gelu_tanh")
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B L D"], present: Bool[Tensor, "B L"] | None
    ) -> Float[Tensor, "B L D"]:
        """One block."""
        x, inner = self.mlp_norm.add(x, self.dropout(self.mixer(self.mixer_norm(x), present)))
        return x + self.dropout(self.mlp(inner))


class HyenaHead(nn.Module):
    """The embedding as output weights, without a bias; never in half precision."""

    def __init__(self, embedding: TokenEmbedding) -> None:
        super().__init__()
        self.weight = embedding.weight

    def forward(self, x: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits in float32, or in float64 if the hidden states are."""
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.to(wide), self.weight.to(wide))


class Hyena(nn.Module):
    """Causal network of HyenaDNA: token ids to logits of the token that follows each.

    Example: what follows a base changes nothing at the base.
        >>> net = Hyena(12, hidden_size=16, num_blocks=1, max_length=32)
        >>> bases = torch.full((1, 9), 7)
        >>> changed = bases.clone()
        >>> changed[0, 4] = 8
        >>> (net(bases) != net(changed)).any(-1).flatten().nonzero().flatten().tolist()
        [4, 5, 6, 7, 8]
    """

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        *,
        max_length: int = 1026,
        mlp_ratio: float | int = 4,
        num_features: int = 5,
        filter_size: int = 64,
        filter_layers: int = 2,
        short_width: int = 3,
        vocab_multiple: int = 8,
        dropout: float | int = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Build the network, with normal weights of deviation 0.02 and zero biases.

        Args:
            vocab_size: number of token ids, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            max_length: largest number of positions, to which the filters are scaled; longer rows
                are refused.
            mlp_ratio: inner width of the perceptrons over `hidden_size`.
            num_features: features of a distance, an odd number of at least 3.
            filter_size: width of the perceptron that makes a filter.
            filter_layers: its inner layers.
            short_width: taps of the short convolutions.
            vocab_multiple: round `vocab_size` up to a multiple of this, as in published weights.
            dropout: probability of dropping a channel of the embedding or of a branch.
            gradient_checkpointing: recompute blocks in the backward pass to save memory.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        check_positive(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_blocks=num_blocks,
            max_length=max_length,
            mlp_ratio=mlp_ratio,
            filter_size=filter_size,
            short_width=short_width,
            vocab_multiple=vocab_multiple,
        )
        if num_features < 3 or num_features % 2 == 0:
            raise ConfigError(f"backbone.num_features={num_features} must be odd and at least 3")
        if filter_layers < 0:
            raise ConfigError(f"backbone.filter_layers={filter_layers} must be 0 or positive")
        check_dropout(dropout)
        self.vocab_size = -(-vocab_size // vocab_multiple) * vocab_multiple
        self.hidden_size = hidden_size
        self.max_length = max_length
        self.time_conditioning, self.causal = False, True
        self.gradient_checkpointing = gradient_checkpointing
        self.embedding = TokenEmbedding(self.vocab_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList()
        for _ in range(num_blocks):
            taps = LongFilter(hidden_size, max_length, num_features, filter_size, filter_layers)
            mixer = HyenaMixer(hidden_size, short_width, taps)
            inner_size = round(mlp_ratio * hidden_size)
            self.blocks.append(HyenaBlock(hidden_size, inner_size, mixer, dropout))
        self.final_norm = BiasedLayerNorm(hidden_size, _EPSILON)
        self.head = HyenaHead(self.embedding)
        self.apply(_initialise)

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits of what follows each position, in float32 or wider.

        Args:
            tokens: ids.
            time: ignored.
            present: False marks padding; None means no padding.

        Raises:
            ConfigError: if rows are longer than the filters.
        """
        return self.head(self.hidden(tokens, time, present))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The hidden states after the final norm; tokens as ids or distributions over ids."""
        del time
        if tokens.shape[1] > self.max_length:
            raise too_long(tokens.shape[1], self.max_length)
        x = self.dropout(self.embedding(tokens))
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, present, use_reentrant=False)
            else:
                x = block(x, present)
        return self.final_norm(x)


def _cleared(x: Tensor, present: Tensor | None) -> Tensor:
    """Zero at padding; where, not multiply: padding may be anything, inf included."""
    return x if present is None else torch.where(present.unsqueeze(-1), x, 0.0)


def _initialise(module: nn.Module) -> None:
    """The initial weights of linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=_DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
