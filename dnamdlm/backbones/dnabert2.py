"""The transformer of DNABERT-2 as an encoder of bases, which has hidden states and no logits.

Rows of bases are cut into pieces by the tokenizer that the weights hold, and each base has the last
hidden state of its piece. A block is norm(x + attention(x)), then norm(x + output(gelu(a) b)), with
a and b linear in x. Attention has no positions: scores fall off linearly with the distance, at a
slope for each head.

Shapes: B sequences, L bases, T pieces, H heads, D channels.
Source: Zhou et al. 2024 (arXiv:2306.15006); Press et al. 2022 (arXiv:2108.12409) for the slopes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.backbones.bert import BiasedLayerNorm
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import TokenEmbedding
from dnamdlm.backbones.network_checks import check_dropout, check_positive
from dnamdlm.errors import ConfigError
from dnamdlm.tokens.base_pieces import SinglePieces, base_pieces

_DEVIATION = 0.02


def linear_bias_slopes(num_heads: int) -> Float[Tensor, " H"]:
    """Slopes of the heads: 2^(-8 i / P) for i = 1 to P, the largest power of two that fits.

    Further heads have the odd ones of twice as many.

    Example:
        >>> linear_bias_slopes(4).tolist()
        [0.25, 0.0625, 0.015625, 0.00390625]
        >>> [round(slope, 3) for slope in linear_bias_slopes(6).tolist()]
        [0.25, 0.062, 0.016, 0.004, 0.5, 0.125]
    """
    power = 2 ** (num_heads.bit_length() - 1)
    first = [2 ** (-8 * i / power) for i in range(1, power + 1)]
    more = [2 ** (-8 * i / (2 * power)) for i in range(1, 2 * power, 2)]
    return torch.tensor((first + more)[:num_heads], dtype=torch.float64)


class PieceBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + output(gelu(a) b))."""

    def __init__(
        self, size: int, num_heads: int, inner_size: int, epsilon: float, dropout: float | int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(size, 3 * size)
        self.attention_output = nn.Linear(size, size)
        self.attention_norm = BiasedLayerNorm(size, epsilon)
        self.gates = nn.Linear(size, 2 * inner_size, bias=False)
        self.mlp_output = nn.Linear(inner_size, size)
        self.mlp_norm = BiasedLayerNorm(size, epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B T D"], bias: Float[Tensor, "B H T T"]
    ) -> Float[Tensor, "B T D"]:
        """One block; the bias is added to the scores."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        mixed = self.attention_output(mixed.transpose(1, 2).flatten(2))
        _, x = self.attention_norm.add(x, self.dropout(mixed))
        gate, value = self.gates(x).chunk(2, dim=-1)
        branch = self.dropout(self.mlp_output(functional.gelu(gate) * value))
        return self.mlp_norm.add(x, branch)[1]


class Dnabert2(nn.Module):
    """Encoder of DNABERT-2: ids of bases to hidden states."""

    tokenizer: Tensor

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        num_heads: int,
        *,
        num_pieces: int,
        tokenizer_bytes: int,
        inner_size: int | None = None,
        num_token_types: int = 2,
        norm_epsilon: float = 1e-12,
        dropout: float | int = 0.0,
        bases: Sequence[int] = (7, 8, 9, 10),
    ) -> None:
        """Build the network; its tokenizer comes with its weights, and bases are read till then.

        Args:
            vocab_size: number of ids of bases, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            num_heads: attention heads per block, a divisor of `hidden_size`.
            num_pieces: ids of pieces.
            tokenizer_bytes: size of `tokenizer.json`.
            inner_size: inner width of the perceptrons; None is four times `hidden_size`.
            num_token_types: rows of the table of token types, of which the first is used.
            norm_epsilon: added to the variance in norms.
            dropout: probability of dropping a channel of the embedding or of a branch.
            bases: ids of A, C, G and T; any other is read as N.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        inner_size = 4 * hidden_size if inner_size is None else inner_size
        check_positive(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_blocks=num_blocks,
            num_heads=num_heads,
            num_pieces=num_pieces,
            tokenizer_bytes=tokenizer_bytes,
            inner_size=inner_size,
            num_token_types=num_token_types,
            norm_epsilon=norm_epsilon,
        )
        if num_pieces < SinglePieces.size:
            raise ConfigError(
                f"backbone.num_pieces={num_pieces} must be at least {SinglePieces.size}, for "
                "single bases and the marks around a row"
            )
        if hidden_size % num_heads:
            raise ConfigError(
                f"backbone.num_heads={num_heads} does not divide backbone.hidden_size="
                f"{hidden_size}; use a divisor"
            )
        check_dropout(dropout)
        self.vocab_size, self.time_conditioning = vocab_size, False
        self.hidden_size, self.num_heads = hidden_size, num_heads
        letters = ["N"] * vocab_size
        for id_, letter in zip(bases, "ACGT", strict=True):
            letters[id_] = letter
        self._letters = np.array(letters)
        self.register_buffer("tokenizer", torch.zeros(tokenizer_bytes, dtype=torch.uint8))
        self.embedding = TokenEmbedding(num_pieces, hidden_size)
        self.token_types = TokenEmbedding(num_token_types, hidden_size)
        self.embedding_norm = BiasedLayerNorm(hidden_size, norm_epsilon)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            PieceBlock(hidden_size, num_heads, inner_size, norm_epsilon, dropout)
            for _ in range(num_blocks)
        )

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """There are no logits.

        Raises:
            ConfigError: always.
        """
        del tokens, time, present
        self._refuse()

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """There are no logits.

        Raises:
            ConfigError: always.
        """
        del states
        self._refuse()

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last hidden state of the piece that each base is in.

        Raises:
            ConfigError: if tokens are distributions over ids, which cannot be cut into pieces.
        """
        del time
        if tokens.is_floating_point():
            raise ConfigError(
                "a network of pieces cannot read distributions over bases, which gradients with "
                "respect to bases need; choose a method without gradients, or a network of bases"
            )
        pieces, inside, owner = self._cut(tokens, present)
        x = self.embedding(pieces) + self.token_types.weight[0]
        x = self.dropout(self.embedding_norm(x))
        place = torch.arange(pieces.shape[1], device=x.device)
        slopes = linear_bias_slopes(self.num_heads).to(x.device, x.dtype)
        bias = -slopes[:, None, None] * (place[:, None] - place).abs()
        bias = bias.expand(len(x), -1, -1, -1).masked_fill(~inside[:, None, None], float("-inf"))
        for block in self.blocks:
            x = block(x, bias)
        states = x[torch.arange(len(x), device=x.device)[:, None], owner]
        return states if present is None else torch.where(present[..., None], states, 0.0)

    def _cut(
        self, tokens: Tensor, present: Tensor | None
    ) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"], Int[Tensor, "B L"]]:
        """Pieces between the marks of a row, which of them are there, and the one of each base."""
        cutter = base_pieces(self.tokenizer.cpu().numpy().tobytes())
        ids = tokens.cpu().numpy()
        here = np.ones_like(ids, dtype=np.bool_) if present is None else present.cpu().numpy()
        letters = [self._letters[row[seen]] for row, seen in zip(ids, here, strict=True)]
        cut = cutter.cut(["".join(row) for row in letters])
        longest = max(len(found) for found, _ in cut) + 2
        pieces = np.full((len(ids), longest), cutter.end_id, dtype=np.int64)
        inside = np.zeros((len(ids), longest), dtype=np.bool_)
        owner = np.zeros_like(ids)
        for row, (found, owners) in enumerate(cut):
            pieces[row, 0], pieces[row, 1 : len(found) + 1] = cutter.begin_id, found
            inside[row, : len(found) + 2] = True
            owner[row, here[row]] = owners + 1
        device = tokens.device
        return (
            torch.from_numpy(pieces).to(device),
            torch.from_numpy(inside).to(device),
            torch.from_numpy(owner).to(device),
        )

    def _refuse(self) -> NoReturn:
        raise ConfigError(
            "DNABERT-2 reads pieces of bases, whose cuts depend on every base, so that a masked "
            "base has no distribution; use it for embed and finetune, and another model here"
        )
