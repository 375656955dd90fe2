"""Causal transformer: each position sees itself and the past, and predicts the next token.

Built from the blocks of `dit`, without conditioning. `step` extends a sequence by one token and
caches keys and values, so that a sequence of length L takes L steps of one token each.

Shapes: B sequences, L positions, V vocabulary, D channels, H heads, E head width.
Source: Sahoo et al. 2024 (arXiv:2406.07524), the autoregressive baseline.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.backbones.dit import Layout, TransformerBlock, without_idle_mask
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import LayerNorm, OutputHead, TokenEmbedding
from dnamdlm.backbones.network_checks import (
    check_dropout,
    check_heads,
    check_positive,
)
from dnamdlm.ops.attention import attention_pattern
from dnamdlm.ops.rotary import apply_rotary, rotary_angles


@dataclass
class KeyValueCache:
    """Keys and values of the tokens so far, which `CausalTransformer.step` fills in place.

    Attributes:
        keys: (blocks, B, H, L, E), rotated.
        values: (blocks, B, H, L, E).
        cos: (L, 1, E / 2), rotary cosines.
        sin: (L, 1, E / 2), rotary sines.
        length: number of positions that are filled.
    """

    keys: Tensor
    values: Tensor
    cos: Tensor
    sin: Tensor
    length: int = 0


class CausalTransformer(nn.Module):
    """Causal transformer: token ids to logits of the next token.

    Example: later tokens do not change earlier predictions.
        >>> import torch
        >>> from dnamdlm.backbones import CausalTransformer
        >>> net = CausalTransformer(vocab_size=12, hidden_size=32, num_blocks=2, num_heads=4)
        >>> tokens = torch.tensor([[7, 8, 9, 10], [7, 8, 7, 7]])
        >>> logits = net(tokens)
        >>> torch.allclose(logits[0, :2], logits[1, :2])
        True
    """

    causal = True

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        num_heads: int,
        *,
        mlp_ratio: float | int = 4,
        dropout: float | int = 0.0,
        tie_embeddings: bool = False,
        qkv_bias: bool = False,
        activation: str = "gelu_tanh",
    ) -> None:
        """Build the network.

        Args:
            vocab_size: number of token ids, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            num_heads: attention heads per block; the head width must be even.
            mlp_ratio: inner width of the perceptrons over `hidden_size`.
            dropout: probability of dropping a channel of a residual branch.
            tie_embeddings: the output weights are the token embedding.
            qkv_bias: add a bias to queries, keys and values.
            activation: of the perceptrons, one of `dnamdlm.backbones.network_checks.ACTIVATIONS`.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        check_positive(vocab_size=vocab_size, hidden_size=hidden_size, num_blocks=num_blocks)
        check_heads(hidden_size, num_heads)
        check_positive(mlp_ratio=mlp_ratio)
        check_dropout(dropout)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.head_size = hidden_size // num_heads
        self.time_conditioning = False
        self.embedding = TokenEmbedding(vocab_size, hidden_size)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                hidden_size,
                num_heads,
                mlp_ratio=mlp_ratio,
                dropout=dropout,
                qkv_bias=qkv_bias,
                activation=activation,
            )
            for _ in range(num_blocks)
        )
        self.final_norm = LayerNorm(hidden_size)
        self.head = OutputHead(hidden_size, vocab_size)
        if tie_embeddings:
            self.head.weight = self.embedding.weight

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits of the token after each position, in float32 or wider.

        Args:
            tokens: ids.
            time: ignored.
            present: False marks padding; None means no padding.
        """
        return self.head(self.hidden(tokens, time, present))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last hidden states, after the final norm; arguments as in `forward`."""
        del time
        present = without_idle_mask(present)
        x = self.embedding(tokens)
        cos, sin = self._angles(tokens.shape[1], x)
        pattern = attention_pattern(tokens.shape[1], device=x.device, present=present, causal=True)
        layout = Layout(cos, sin, pattern, present)
        for block in self.blocks:
            x = block(x, None, layout)
        return self.final_norm(x)

    def new_cache(self, batch_size: int, length: int) -> KeyValueCache:
        """An empty cache for sequences of at most `length` tokens."""
        example = self.embedding.weight
        shape = (len(self.blocks), batch_size, self.num_heads, length, self.head_size)
        empty = example.new_zeros(shape)
        return KeyValueCache(empty, empty.clone(), *self._angles(length, example))

    def step(self, tokens: Int[Tensor, " B"], cache: KeyValueCache) -> Float[Tensor, "B V"]:
        """Logits of the token after `tokens`, which are appended to the sequence in the cache.

        Raises:
            ValueError: if the cache is full.
        """
        if cache.length >= cache.keys.shape[3]:
            raise ValueError(f"the cache is full: it has {cache.length} tokens")
        x = self.embedding(tokens[:, None])
        for index, block in enumerate(self.blocks):
            assert isinstance(block, TransformerBlock)
            x = x + _attend_to_past(block, x, cache, index)
            x = x + block.mlp(block.mlp_norm(x))
        cache.length += 1
        return self.head(self.final_norm(x)).squeeze(1)

    def _angles(self, length: int, example: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary cosines and sines."""
        wide = torch.promote_types(example.dtype, torch.float32)
        return rotary_angles(length, self.head_size, device=example.device, dtype=wide)


def _attend_to_past(block: TransformerBlock, x: Tensor, cache: KeyValueCache, index: int) -> Tensor:
    """The attention branch of one block for one new position, appended to the cache."""
    attention, place = block.attention, cache.length
    here = slice(place, place + 1)
    heads = attention.qkv(block.attention_norm(x)).unflatten(-1, (3 * attention.num_heads, -1))
    qk, v = heads.split((2 * attention.num_heads, attention.num_heads), dim=2)
    q, k = apply_rotary(qk, cache.cos[here], cache.sin[here]).transpose(1, 2).chunk(2, dim=1)
    cache.keys[index, :, :, here] = k
    cache.values[index, :, :, here] = v.transpose(1, 2)
    mixed = functional.scaled_dot_product_attention(
        q, cache.keys[index, :, :, : place + 1], cache.values[index, :, :, : place + 1]
    )
    return attention.output(mixed.transpose(1, 2).flatten(2))
