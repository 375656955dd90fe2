"""Bidirectional transformer over tokens, with or without time conditioning.

Notable: rotary positions; pre-norm with gains only; GELU (tanh) perceptron; adaptive norm with
gates only where the network is conditioned on time, plain pre-norm otherwise; residual branches
that are zero at first, unless told otherwise; optional short convolutions, a perceptron on
neighbouring tokens and a local attention window for DNA.

Shapes: B sequences, L positions, V vocabulary, D channels, C width of the conditioning vector.
Source: Sahoo et al. 2024 (arXiv:2406.07524), appendix on the architecture.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import (
    ClassEmbedding,
    LayerNorm,
    LocalStem,
    Modulation,
    OutputHead,
    ResidualConv,
    TimeEmbedding,
    TokenEmbedding,
    modulate,
)
from dnamdlm.backbones.network_checks import (
    ACTIVATIONS,
    check_activation,
    check_dropout,
    check_heads,
    check_positive,
)
from dnamdlm.errors import ConfigError
from dnamdlm.ops.attention import AttentionPattern, attention, attention_pattern
from dnamdlm.ops.rotary import apply_rotary, rotary_angles


class Layout(NamedTuple):
    """What all blocks of one forward pass share.

    Attributes:
        cos: (L, 1, head size / 2), rotary cosines.
        sin: (L, 1, head size / 2), rotary sines.
        pattern: which positions attend to which.
        valid: (B, L), False marks padding; None means no padding.
    """

    cos: Tensor
    sin: Tensor
    pattern: AttentionPattern
    valid: Tensor | None


class SelfAttention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, size: int, num_heads: int, *, qkv_bias: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(size, 3 * size, bias=qkv_bias)
        self.output = nn.Linear(size, size, bias=False)

    def forward(self, x: Float[Tensor, "B L D"], layout: Layout) -> Float[Tensor, "B L D"]:
        """Attend within each sequence."""
        heads = self.qkv(x).unflatten(-1, (3 * self.num_heads, -1))
        # queries and keys are neighbours, so that one rotation serves both.
        qk, v = heads.split((2 * self.num_heads, self.num_heads), dim=2)
        q, k = apply_rotary(qk, layout.cos, layout.sin).transpose(1, 2).chunk(2, dim=1)
        mixed = attention(q, k, v.transpose(1, 2), layout.pattern)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two linear layers with an activation between them.

    The tanh-approximated GELU of the original takes two to three times as long on a CPU as the
    exact one.
    """

    def __init__(self, size: int, inner_size: int, *, activation: str = "gelu_tanh") -> None:
        super().__init__()
        self.activation = activation
        self.input = nn.Linear(size, inner_size)
        self.output = nn.Linear(inner_size, size)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Apply to each position."""
        return self.output(ACTIVATIONS[self.activation](self.input(x)))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)); modulated and gated if conditioned.

    With a convolution the attention reads norm(x) + conv(norm(x)).
    """

    def __init__(
        self,
        size: int,
        num_heads: int,
        *,
        mlp_ratio: float | int = 4,
        dropout: float | int = 0.0,
        cond_size: int | None = None,
        conv_width: int = 0,
        qkv_bias: bool = False,
        activation: str = "gelu_tanh",
        zero_init: bool = True,
    ) -> None:
        """Build a block.

        Args:
            size: number of channels.
            num_heads: number of attention heads, a divisor of `size`.
            mlp_ratio: inner width of the perceptron over `size`.
            dropout: probability of dropping a channel of a branch before it is added.
            cond_size: width of the conditioning vector; None builds the plain block.
            conv_width: taps of the convolution before attention; 0 leaves it out.
            qkv_bias: add a bias to queries, keys and values.
            activation: between the two layers of the perceptron.
            zero_init: the branches of a plain block are zero at first.
        """
        super().__init__()
        self.attention_norm = LayerNorm(size)
        self.conv = ResidualConv(size, conv_width) if conv_width else None
        self.attention = SelfAttention(size, num_heads, qkv_bias=qkv_bias)
        self.mlp_norm = LayerNorm(size)
        self.mlp = Perceptron(size, round(mlp_ratio * size), activation=activation)
        self.dropout = nn.Dropout(dropout)
        self.modulation = None if cond_size is None else Modulation(cond_size, size, 6)
        if self.modulation is None and zero_init:
            # with gates the branches are zero at first anyway, and two zeros would never learn.
            nn.init.zeros_(self.attention.output.weight)
            nn.init.zeros_(self.mlp.output.weight)
            nn.init.zeros_(self.mlp.output.bias)

    def forward(
        self, x: Float[Tensor, "B L D"], cond: Float[Tensor, "B C"] | None, layout: Layout
    ) -> Float[Tensor, "B L D"]:
        """One block; `cond` is None exactly where the block was built without conditioning."""
        if self.modulation is None:
            x = x + self.dropout(self._mix(self.attention_norm(x), layout))
            return x + self.dropout(self.mlp(self.mlp_norm(x)))
        assert cond is not None
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation.chunks(cond)
        mixed = self._mix(modulate(self.attention_norm(x), shift, scale), layout)
        x = torch.addcmul(x, gate, self.dropout(mixed))
        return torch.addcmul(
            x, mlp_gate, self.dropout(self.mlp(modulate(self.mlp_norm(x), mlp_shift, mlp_scale)))
        )

    def _mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Mix positions: the optional convolution, then attention."""
        if self.conv is not None:
            x = self.conv(x, layout.valid)
        return self.attention(x, layout)


class DiT(nn.Module):
    """Bidirectional transformer: token ids to logits."""

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
        time_conditioning: bool = False,
        num_classes: int = 0,
        cond_size: int = 128,
        conv_width: int = 0,
        stem_width: int = 0,
        local_radius: int = 0,
        local_size: int = 256,
        attention_window: int = 0,
        gradient_checkpointing: bool = False,
        tie_embeddings: bool = False,
        qkv_bias: bool = False,
        activation: str = "gelu_tanh",
        zero_init: bool = True,
    ) -> None:
        """Build the network.

        Args:
            vocab_size: number of token ids, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            num_heads: attention heads per block; the head width must be even.
            mlp_ratio: inner width of the perceptrons over `hidden_size`.
            dropout: probability of dropping a channel of a residual branch.
            time_conditioning: adaptive norm and gates driven by the time; without it there are
                no parameters for them.
            num_classes: classes of sequences that the network can be told; 0 has no parameters.
            cond_size: width of the conditioning vector.
            conv_width: taps of a depthwise convolution before each attention; 0 is off.
            stem_width: taps of a depthwise convolution after the embedding; 0 is off.
            local_radius: reach of a perceptron on neighbouring tokens, see `LocalStem`; 0 is off.
            local_size: hidden width of that perceptron.
            attention_window: greatest distance attended to, in positions; 0 is any.
            gradient_checkpointing: recompute blocks in the backward pass to save memory.
            tie_embeddings: the output weights are the token embedding.
            qkv_bias: add a bias to queries, keys and values.
            activation: of the perceptrons: gelu_tanh (the original's), gelu (exact), silu or relu.
            zero_init: residual branches are zero at first. With time conditioning their gates are,
                whatever this says.

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
            cond_size=cond_size,
            local_size=local_size,
        )
        check_heads(hidden_size, num_heads)
        _check_width("conv_width", conv_width)
        _check_width("stem_width", stem_width)
        for name, reach in (
            ("attention_window", attention_window),
            ("local_radius", local_radius),
        ):
            if reach < 0:
                raise ConfigError(f"backbone.{name} must be 0 (off) or positive, got {reach}")
        check_dropout(dropout)
        check_activation(activation)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.head_size = hidden_size // num_heads
        self.time_conditioning = time_conditioning
        self.num_classes = num_classes
        self.attention_window = attention_window
        self.gradient_checkpointing = gradient_checkpointing

        self.embedding = TokenEmbedding(vocab_size, hidden_size)
        self.class_embedding = ClassEmbedding(num_classes, hidden_size) if num_classes else None
        self.stem = ResidualConv(hidden_size, stem_width) if stem_width else None
        self.local = (
            LocalStem(vocab_size, hidden_size, radius=local_radius, inner_size=local_size)
            if local_radius
            else None
        )
        self.time_embedding = TimeEmbedding(cond_size) if time_conditioning else None
        self.blocks = nn.ModuleList(
            TransformerBlock(
                hidden_size,
                num_heads,
                mlp_ratio=mlp_ratio,
                dropout=dropout,
                cond_size=cond_size if time_conditioning else None,
                conv_width=conv_width,
                qkv_bias=qkv_bias,
                activation=activation,
                zero_init=zero_init,
            )
            for _ in range(num_blocks)
        )
        self.final_norm = LayerNorm(hidden_size)
        self.final_modulation = Modulation(cond_size, hidden_size, 2) if time_conditioning else None
        self.head = OutputHead(hidden_size, vocab_size)
        if tie_embeddings:
            self.head.weight = self.embedding.weight

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        valid: Bool[Tensor, "B L"] | None = None,
        label: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider.

        Args:
            tokens: ids, masked ones included.
            time: -log alpha(t); demanded with time conditioning, ignored without.
            valid: False marks padding; None means no padding.
            label: class of each row, see `ClassEmbedding`; ignored without classes.

        Raises:
            ValueError: if the network is conditioned on time and none is given.
        """
        return self.head(self.hidden(tokens, time, valid, label))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        valid: Bool[Tensor, "B L"] | None = None,
        label: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last states after the final norm; arguments as in `forward`, or laws of tokens."""
        valid = _without_idle_mask(valid)
        x = self._embed(tokens, valid)
        if self.class_embedding is not None:
            x = x + self.class_embedding(label)
        cond = self._condition(time)
        layout = self._layout(x, valid)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, cond, layout, use_reentrant=False)
            else:
                x = block(x, cond, layout)
        x = self.final_norm(x)
        if self.final_modulation is None or cond is None:
            return x
        return modulate(x, *self.final_modulation.chunks(cond))

    def _embed(self, tokens: Tensor, valid: Tensor | None) -> Tensor:
        """Token vectors, with their neighbourhood if there is a stem."""
        x = self.embedding(tokens)
        if self.stem is not None:
            x = self.stem(x, valid)
        return x if self.local is None else x + self.local(tokens, valid)

    def _condition(self, time: Tensor | None) -> Tensor | None:
        """Conditioning vector, or None without time conditioning."""
        if self.time_embedding is None:
            return None
        if time is None:
            raise ValueError("a backbone with time conditioning needs `time`, got None")
        return self.time_embedding(time)

    def _layout(self, x: Tensor, valid: Tensor | None) -> Layout:
        """Rotary angles and attention pattern for one batch."""
        length = x.shape[1]
        wide = torch.promote_types(x.dtype, torch.float32)
        cos, sin = rotary_angles(length, self.head_size, device=x.device, dtype=wide)
        pattern = attention_pattern(
            length, device=x.device, valid=valid, window=self.attention_window
        )
        return Layout(cos, sin, pattern, valid)


def _without_idle_mask(valid: Tensor | None) -> Tensor | None:
    """None if nothing is padding and asking is free: on a CPU, outside compilation."""
    if valid is None or valid.device.type != "cpu" or torch.compiler.is_compiling():
        return valid
    return None if bool(valid.all()) else valid


def _check_width(name: str, width: int) -> None:
    """Refuse convolution widths that are not zero or odd."""
    if width < 0 or (width and width % 2 == 0):
        raise ConfigError(f"backbone.{name} must be 0 (off) or odd, got {width}")
