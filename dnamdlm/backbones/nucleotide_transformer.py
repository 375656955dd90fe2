"""The Nucleotide Transformer, version 2: a transformer of words of bases, as a network of bases.

Rows of bases are cut into words inside the network, see `word_reading`, and each base has the last
hidden state of its word. A block is x + attention(norm(x)) with rotary positions, then
x + output(silu(a) b) with a and b linear in norm(x).

Shapes: B sequences, L bases, T words, V vocabulary of bases, D channels.
Source: Dalla-Torre et al. 2024 (10.1038/s41592-024-02523-z); instadeepai/nucleotide-transformer,
commit 2dc37b8.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dnamdlm.backbones.bert import BiasedLayerNorm
from dnamdlm.backbones.convnet_blocks import TransformedHead
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import TokenEmbedding
from dnamdlm.backbones.network_checks import check_dropout, check_heads, check_positive
from dnamdlm.backbones.word_reading import (
    NUM_BASES,
    Reading,
    WordIds,
    base_log_weights,
    read_words,
)
from dnamdlm.errors import ConfigError
from dnamdlm.ops.attention import AttentionPattern, attend, attention_pattern
from dnamdlm.ops.rotary import apply_rotary, rotary_angles

_DEVIATION = 0.02
_LARGEST_WORD = 8


class WordAttention(nn.Module):
    """Multi-head self-attention with rotary positions, and biases throughout."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)

    def forward(
        self, x: Float[Tensor, "B T D"], angles: tuple[Tensor, Tensor], pattern: AttentionPattern
    ) -> Float[Tensor, "B T D"]:
        """Attend within each sequence."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        q, k = apply_rotary(q, *angles), apply_rotary(k, *angles)
        mixed = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), pattern)
        return self.output(mixed.transpose(1, 2).flatten(2))


class GatedPerceptron(nn.Module):
    """output(silu(a) b), where a and b are the halves of a linear layer."""

    def __init__(self, size: int, inner_size: int, *, bias: bool) -> None:
        super().__init__()
        self.input = nn.Linear(size, 2 * inner_size, bias=bias)
        self.output = nn.Linear(inner_size, size, bias=bias)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Apply to each position."""
        gate, value = self.input(x).chunk(2, dim=-1)
        return self.output(functional.silu(gate) * value)


class WordBlock(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x))."""

    def __init__(
        self, size: int, num_heads: int, mlp: GatedPerceptron, epsilon: float, dropout: float | int
    ) -> None:
        super().__init__()
        self.attention_norm = BiasedLayerNorm(size, epsilon)
        self.attention = WordAttention(size, num_heads)
        self.mlp_norm = BiasedLayerNorm(size, epsilon)
        self.mlp = mlp
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B T D"], angles: tuple[Tensor, Tensor], pattern: AttentionPattern
    ) -> Float[Tensor, "B T D"]:
        """One block."""
        mixed = self.dropout(self.attention(self.attention_norm(x), angles, pattern))
        x, inner = self.mlp_norm.add(x, mixed)
        return x + self.dropout(self.mlp(inner))


class NucleotideTransformer(nn.Module):
    """Bidirectional transformer of words: ids of bases to logits of bases.

    Example: bases of one word share a hidden state, and the sixth base is in the second word.
        >>> net = NucleotideTransformer(12, hidden_size=16, num_blocks=1, num_heads=2, word_size=5)
        >>> states = net.hidden(torch.full((1, 10), 7))
        >>> [torch.equal(states[0, 0], states[0, base]) for base in (4, 5)]
        [True, False]
    """

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        num_heads: int,
        *,
        word_size: int = 6,
        inner_size: int | None = None,
        mlp_bias: bool = False,
        norm_epsilon: float = 1e-12,
        dropout: float | int = 0.0,
        gradient_checkpointing: bool = False,
        bases: Sequence[int] = (7, 8, 9, 10),
        mask_id: int = 3,
    ) -> None:
        """Build the network, with normal weights of deviation 0.02 and zero biases.

        Args:
            vocab_size: number of ids of bases, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            num_heads: attention heads per block, which split the channels into even parts.
            word_size: bases per word.
            inner_size: inner width of the perceptrons; None is four times `hidden_size`.
            mlp_bias: whether the perceptrons have biases.
            norm_epsilon: added to the variance in norms.
            dropout: probability of dropping a channel of a branch.
            gradient_checkpointing: recompute blocks in the backward pass to save memory.
            bases: ids of A, C, G and T.
            mask_id: id of a masked base.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        inner_size = 4 * hidden_size if inner_size is None else inner_size
        check_positive(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_blocks=num_blocks,
            word_size=word_size,
            inner_size=inner_size,
            norm_epsilon=norm_epsilon,
        )
        if word_size > _LARGEST_WORD:
            raise ConfigError(
                f"backbone.word_size={word_size} has {NUM_BASES}^{word_size} words; use "
                f"{_LARGEST_WORD} or less"
            )
        if len(bases) != NUM_BASES or not all(0 <= id_ < vocab_size for id_ in (*bases, mask_id)):
            raise ConfigError(
                f"backbone.bases={list(bases)} and backbone.mask_id={mask_id} must be four ids and "
                f"one below {vocab_size}; leave them out for those of DNA"
            )
        check_heads(hidden_size, num_heads)
        check_dropout(dropout)
        self.vocab_size, self.time_conditioning = vocab_size, False
        self.hidden_size, self.num_heads = hidden_size, num_heads
        self.bases, self.mask_id = tuple(bases), mask_id
        self.gradient_checkpointing = gradient_checkpointing
        self.ids = WordIds(word_size)
        self.embedding = TokenEmbedding(len(self.ids), hidden_size)
        self.blocks = nn.ModuleList()
        for _ in range(num_blocks):
            mlp = GatedPerceptron(hidden_size, inner_size, bias=mlp_bias)
            self.blocks.append(WordBlock(hidden_size, num_heads, mlp, norm_epsilon, dropout))
        self.final_norm = BiasedLayerNorm(hidden_size, norm_epsilon)
        weight = nn.Parameter(torch.zeros(self.ids.unknown, hidden_size))
        self.word_head = TransformedHead(weight, transform=True, bias=True, epsilon=norm_epsilon)
        self.apply(_initialise)

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider; those of ids other than A, C, G and T are zero.

        Args:
            tokens: ids of bases, masked ones included.
            time: ignored.
            present: False marks padding; None means no padding.
        """
        del time
        reading = self._read(tokens, present)
        words = self.word_head(self._word_states(reading))
        found = base_log_weights(words, reading, self.ids)
        logits = found.new_zeros(*tokens.shape, self.vocab_size)
        logits[..., list(self.bases)] = found
        return logits if present is None else torch.where(present[..., None], logits, 0.0)

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The hidden state of the word that each base is in, after the final norm.

        Raises:
            ConfigError: if tokens are distributions over ids, which cannot be cut into words.
        """
        del time
        reading = self._read(tokens, present)
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        states = self._word_states(reading)[rows, reading.owner]
        return states if present is None else torch.where(present[..., None], states, 0.0)

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """There is none: the logits of a base depend on what is seen of its word.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "the logits of a network of words need the bases of each word, not its hidden state "
            f"alone ({states.shape[-1]} channels); use the network as a whole"
        )

    def _read(self, tokens: Tensor, present: Tensor | None) -> Reading:
        if tokens.is_floating_point():
            raise ConfigError(
                "a network of words cannot read distributions over bases, which gradients with "
                "respect to bases need; choose a method without gradients, or a network of bases"
            )
        return read_words(tokens, present, ids=self.ids, bases=self.bases, mask_id=self.mask_id)

    def _word_states(self, reading: Reading) -> Float[Tensor, "B T D"]:
        """Last hidden states of words."""
        x = self.embedding(reading.words)
        wide = torch.promote_types(x.dtype, torch.float32)
        length, head_size = x.shape[1], self.hidden_size // self.num_heads
        angles = rotary_angles(length, head_size, device=x.device, dtype=wide)
        pattern = attention_pattern(length, device=x.device, present=reading.present)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, angles, pattern, use_reentrant=False)
            else:
                x = block(x, angles, pattern)
        return self.final_norm(x)


def _initialise(module: nn.Module) -> None:
    """The initial weights of linear layers and of the output."""
    if isinstance(module, nn.Linear | TransformedHead):
        nn.init.normal_(module.weight, std=_DEVIATION)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
