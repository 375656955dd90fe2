"""The transformer of BERT: post-norm blocks, learned positions, a transform before the tied head.

It computes the same as BERT for masked language modelling, so that its published weights can be
read and trained further as a diffusion model. There is one segment: every token has the first token
type. Positions count from the first token that is present, so that padding on the left has no
effect.

Shapes: B sequences, L positions, V vocabulary, D channels.
Source: Devlin et al. 2019 (arXiv:1810.04805), sections 3 and A.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dnamdlm.backbones.dit import Perceptron
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import TokenEmbedding
from dnamdlm.backbones.network_checks import (
    ACTIVATIONS,
    check_dropout,
    check_positive,
)
from dnamdlm.errors import ConfigError
from dnamdlm.ops.attention import AttentionPattern, attend, attention_pattern
from dnamdlm.ops.norm import add_layer_norm, layer_norm

_DEVIATION = 0.02


class BiasedLayerNorm(nn.Module):
    """Layer norm with gain and bias, in float32 or wider."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
        """Normalise over the last axis."""
        return layer_norm(x, self.weight, self.bias, eps=self.epsilon)

    def add(
        self, x: Float[Tensor, "*rows D"], branch: Float[Tensor, "*rows D"]
    ) -> tuple[Float[Tensor, "*rows D"], Float[Tensor, "*rows D"]]:
        """The sum of both, and its norm."""
        return add_layer_norm(x, branch, self.weight, self.bias, eps=self.epsilon)


class BertAttention(nn.Module):
    """Multi-head self-attention without rotation, with biases throughout."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)

    def forward(self, x: Float[Tensor, "B L D"], pattern: AttentionPattern) -> Tensor:
        """Attend within each sequence, (B, L, D)."""
        heads = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        return self.output(attend(q, k, v, pattern).transpose(1, 2).flatten(2))


class BertBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + perceptron(x))."""

    def __init__(
        self,
        size: int,
        num_heads: int,
        *,
        mlp_ratio: float | int,
        dropout: float | int,
        activation: str,
        epsilon: float,
    ) -> None:
        super().__init__()
        self.attention = BertAttention(size, num_heads)
        self.attention_norm = BiasedLayerNorm(size, epsilon)
        self.mlp = Perceptron(size, round(mlp_ratio * size), activation=activation)
        self.mlp_norm = BiasedLayerNorm(size, epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B L D"], pattern: AttentionPattern
    ) -> Float[Tensor, "B L D"]:
        """One block."""
        _, x = self.attention_norm.add(x, self.dropout(self.attention(x, pattern)))
        return self.mlp_norm.add(x, self.dropout(self.mlp(x)))[1]


class BertHead(nn.Module):
    """Linear, activation, norm, then the embedding as output weights; never in half precision."""

    def __init__(
        self, embedding: TokenEmbedding, size: int, *, activation: str, epsilon: float
    ) -> None:
        super().__init__()
        self.transform = nn.Linear(size, size)
        self.norm = BiasedLayerNorm(size, epsilon)
        self.weight = embedding.weight
        self.bias = nn.Parameter(torch.zeros(len(embedding.weight)))
        self.activation = activation

    def forward(self, x: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits in float32, or in float64 if the hidden states are."""
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            inner = functional.linear(
                x.to(wide), self.transform.weight.to(wide), self.transform.bias.to(wide)
            )
            inner = self.norm(ACTIVATIONS[self.activation](inner))
            return functional.linear(inner, self.weight.to(wide), self.bias.to(wide))


class Bert(nn.Module):
    """Bidirectional transformer of BERT: token ids to logits."""

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        num_heads: int,
        *,
        mlp_ratio: float | int = 4,
        dropout: float | int = 0.1,
        max_length: int = 512,
        num_token_types: int = 2,
        activation: str = "gelu",
        norm_epsilon: float = 1e-12,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Build the network, with normal weights of deviation 0.02 and zero biases.

        Args:
            vocab_size: number of token ids, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            num_heads: attention heads per block, a divisor of `hidden_size`.
            mlp_ratio: inner width of the perceptrons over `hidden_size`.
            dropout: probability of dropping a channel of the embedding or of a branch; attention
                weights are not dropped.
            max_length: positions that have an embedding; longer rows are refused.
            num_token_types: rows of the table of token types, of which the first is used.
            activation: of the perceptrons and the head: gelu (exact), gelu_tanh, silu or relu.
            norm_epsilon: added to the variance in norms.
            gradient_checkpointing: recompute blocks in the backward pass to save memory.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        check_positive(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_blocks=num_blocks,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            max_length=max_length,
            num_token_types=num_token_types,
            norm_epsilon=norm_epsilon,
        )
        if hidden_size % num_heads:
            raise ConfigError(
                f"backbone.num_heads={num_heads} does not divide backbone.hidden_size="
                f"{hidden_size}; use a divisor"
            )
        check_dropout(dropout)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.time_conditioning = False
        self.max_length = max_length
        self.gradient_checkpointing = gradient_checkpointing

        self.embedding = TokenEmbedding(vocab_size, hidden_size)
        self.positions = TokenEmbedding(max_length, hidden_size)
        self.token_types = TokenEmbedding(num_token_types, hidden_size)
        self.embedding_norm = BiasedLayerNorm(hidden_size, norm_epsilon)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            BertBlock(
                hidden_size,
                num_heads,
                mlp_ratio=mlp_ratio,
                dropout=dropout,
                activation=activation,
                epsilon=norm_epsilon,
            )
            for _ in range(num_blocks)
        )
        self.head = BertHead(
            self.embedding, hidden_size, activation=activation, epsilon=norm_epsilon
        )
        self.apply(_initialise)

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider.

        Args:
            tokens: ids, masked ones included.
            time: ignored.
            present: False marks padding; None means no padding.

        Raises:
            ConfigError: if rows are longer than the table of positions.
        """
        return self.head(self.hidden(tokens, time, present))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The hidden states of the last block; tokens as ids or distributions over ids."""
        del time
        length = tokens.shape[1]
        if length > self.max_length:
            raise too_long(length, self.max_length)
        places = torch.arange(length, device=tokens.device)[None]
        if present is not None:
            # argmax of a row of zeros and ones is the index of the first one.
            places = (places - present.int().argmax(-1, keepdim=True)).clamp(min=0)
        x = self.embedding(tokens) + self.positions(places) + self.token_types.weight[0]
        x = self.dropout(self.embedding_norm(x))
        pattern = attention_pattern(length, device=tokens.device, present=present)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, pattern, use_reentrant=False)
            else:
                x = block(x, pattern)
        return x


def too_long(length: int, limit: int) -> ConfigError:
    """The error for rows with more positions than the network has."""
    return ConfigError(
        f"rows of {length} tokens are longer than backbone.max_length={limit}, the positions that "
        f"the network has; set data.length={limit} or less (max_length={limit} in finetune)"
    )


def _initialise(module: nn.Module) -> None:
    """The initial weights of BERT."""
    if isinstance(module, nn.Linear | TokenEmbedding):
        nn.init.normal_(module.weight, std=_DEVIATION)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
