"""Bidirectional transformer over tokens, with or without time conditioning.

Rotary positions; pre-norm with gains only; GELU (tanh) perceptron; adaptive norm with gates if the
network is conditioned on time, plain pre-norm otherwise; residual branches that are initially zero
by default; for DNA, optional short convolutions, a perceptron on neighbouring tokens and a local
attention window.

Shapes: B sequences, L positions, V vocabulary, D channels, C width of the conditioning vector.
Source: Sahoo et al. 2024 (arXiv:2406.07524), appendix on the architecture.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dnamdlm.backbones.backbone import RowLabel
from dnamdlm.backbones.block_layouts import LeftContext, mixed_with_left
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import (
    LayerNorm,
    LocalStem,
    Modulation,
    OutputHead,
    ResidualConv,
    TimeEmbedding,
    TokenEmbedding,
)
from dnamdlm.backbones.network_checks import (
    ACTIVATIONS,
    check_activation,
    check_dropout,
    check_heads,
    check_off_or_odd,
    check_off_or_positive,
    check_positive,
    unused_conditioning,
)
from dnamdlm.backbones.number_embedding import label_embedding, with_label
from dnamdlm.ops.attention import AttentionPattern, attend, attention_pattern
from dnamdlm.ops.rotary import apply_rotary, rotary_angles


class Layout(NamedTuple):
    """Shared by all blocks of one forward pass.

    Attributes:
        cos: (L, 1, head size / 2), rotary cosines.
        sin: (L, 1, head size / 2), rotary sines.
        pattern: which positions attend to which.
        present: (B, L), False marks padding; None means no padding.
        left: where blocks that are read from left to right find what is before them; None for a
            sequence that is read as a whole.
    """

    cos: Tensor
    sin: Tensor
    pattern: AttentionPattern
    present: Tensor | None
    left: LeftContext | None = None


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
        # queries and keys are adjacent, so that one call rotates both.
        qk, v = heads.split((2 * self.num_heads, self.num_heads), dim=2)
        q, k = apply_rotary(qk, layout.cos, layout.sin).transpose(1, 2).chunk(2, dim=1)
        v = v.transpose(1, 2)
        if layout.left is not None:
            k, v = layout.left.keys_and_values(k, v)
        mixed = attend(q, k, v, layout.pattern)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two linear layers with an activation between them.

    The tanh-approximated GELU of the original takes two to three times as long on a CPU as the
    exact one.
    """

    def __init__(self, size: int, inner_size: int, *, activation: str = "gelu_tanh") -> None:
        super().__init__()
        check_activation(activation)
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
            conv_width: taps of the convolution before attention; 0 is off.
            qkv_bias: add a bias to queries, keys and values.
            activation: between the two layers of the perceptron.
            zero_init: the branches of a plain block are initially zero.
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
            # gates are initially zero too; with both, neither would get a gradient.
            nn.init.zeros_(self.attention.output.weight)
            nn.init.zeros_(self.mlp.output.weight)
            nn.init.zeros_(self.mlp.output.bias)

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        cond: Float[Tensor, "B C"] | Float[Tensor, "B L C"] | None,
        layout: Layout,
    ) -> Float[Tensor, "B L D"]:
        """One block; `cond` is None if and only if the block was built without conditioning."""
        if self.modulation is None:
            mixed = self._mix(self.attention_norm(x), layout)
            x, inner = self.mlp_norm.add(x, self.dropout(mixed))
            return x + self.dropout(self.mlp(inner))
        assert cond is not None
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation.chunks(cond)
        mixed = self._mix(self.attention_norm(x, (shift, scale)), layout)
        x, inner = self.mlp_norm.add(
            x, self.dropout(mixed), gate=gate, modulation=(mlp_shift, mlp_scale)
        )
        return torch.addcmul(x, mlp_gate, self.dropout(self.mlp(inner)))

    def _mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Mix positions: the optional convolution, then attention."""
        if self.conv is not None:
            x = mixed_with_left("conv", self.conv, x, layout.present, layout.left)
        return self.attention(x, layout)


class DiT(nn.Module):
    """Bidirectional transformer: token ids to logits.

    Example: a network for DNA that sees two bases to each side before its first block.
        >>> import torch
        >>> from dnamdlm.backbones import DiT
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> net = DiT(vocab_size=12, hidden_size=64, num_blocks=2, num_heads=4, local_radius=2)
        >>> tokens = torch.from_numpy(NucleotideTokenizer().encode("ACG..TGA"))[None]
        >>> net(tokens).shape
        torch.Size([1, 8, 12])
        >>> net.hidden(tokens).shape
        torch.Size([1, 8, 64])
    """

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
        num_numbers: int = 0,
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
            time_conditioning: adaptive norm and gates that depend on the time, with parameters of
                their own.
            num_classes: classes of sequences to condition on; 0 is off.
            num_numbers: numbers to condition on, such as measured activities, in place of
                classes; 0 is off.
            cond_size: width of the conditioning vector.
            conv_width: taps of a depthwise convolution before each attention; 0 is off.
            stem_width: taps of a depthwise convolution after the embedding; 0 is off.
            local_radius: reach of a perceptron on neighbouring tokens, see `LocalStem`; 0 is off.
            local_size: hidden width of that perceptron.
            attention_window: largest distance attended to, in positions; 0 is any.
            gradient_checkpointing: recompute blocks in the backward pass to save memory.
            tie_embeddings: the output weights are the token embedding.
            qkv_bias: add a bias to queries, keys and values.
            activation: of the perceptrons: gelu_tanh (the original's), gelu (exact), silu or relu.
            zero_init: residual branches are initially zero. With time conditioning their gates
                are, and this has no effect.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        check_positive(vocab_size=vocab_size, hidden_size=hidden_size, num_blocks=num_blocks)
        check_heads(hidden_size, num_heads)
        check_positive(mlp_ratio=mlp_ratio, cond_size=cond_size, local_size=local_size)
        check_off_or_odd(conv_width=conv_width, stem_width=stem_width)
        check_off_or_positive(attention_window=attention_window, local_radius=local_radius)
        check_dropout(dropout)
        self.vocab_size = vocab_size
        self.hidden_size, self.head_size = hidden_size, hidden_size // num_heads
        self.time_conditioning = time_conditioning
        self.num_classes, self.num_numbers = num_classes, num_numbers
        self.attention_window = attention_window
        self.gradient_checkpointing = gradient_checkpointing

        self.embedding = TokenEmbedding(vocab_size, hidden_size)
        self.class_embedding, self.number_embedding = label_embedding(
            num_classes, num_numbers, hidden_size
        )
        self.stem = ResidualConv(hidden_size, stem_width) if stem_width else None
        self.local = _local_stem(vocab_size, hidden_size, local_radius, local_size)
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

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        reasons = unused_conditioning(time_conditioning=self.time_conditioning)
        if self.local is None:
            reasons["local_size"] = "no neighbouring bases are seen (backbone.local_radius=0)"
        if self.time_conditioning:
            reasons["zero_init"] = "branches of a network conditioned on time have gates"
        return reasons

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider.

        Args:
            tokens: ids, masked ones included.
            time: -log alpha(t); required with time conditioning, ignored without.
            present: False marks padding; None means no padding.
            label: class or numbers of each row, see `with_label`; ignored without either.

        Raises:
            ValueError: if the network is conditioned on time and none is given.
        """
        return self.head(self.hidden(tokens, time, present, label))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
        added: Float[Tensor, "B L D"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last hidden states; `added` is a second embedding, the others as in `forward`."""
        present = without_idle_mask(present)
        x = self.embed(tokens, present, label)
        x = x if added is None else x + added
        layouts = [self._layout(x, present)] * len(self.blocks)
        return self.transform(x, self.condition(time), layouts)

    def transform(
        self,
        x: Float[Tensor, "B L D"],
        cond: Float[Tensor, "B C"] | Float[Tensor, "B L C"] | None,
        layouts: Sequence[Layout],
    ) -> Float[Tensor, "B L D"]:
        """All blocks, each in its layout, and the final norm.

        Args:
            x: token vectors, see `embed`.
            cond: conditioning vector of each row or position; None without time conditioning.
            layouts: one per block.
        """
        for block, layout in zip(self.blocks, layouts, strict=True):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, cond, layout, use_reentrant=False)
            else:
                x = block(x, cond, layout)
        if self.final_modulation is None or cond is None:
            return self.final_norm(x)
        shift, scale = self.final_modulation.chunks(cond)
        return self.final_norm(x, (shift, scale))

    def embed(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
        left: LeftContext | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Token vectors, with their neighbourhood if a stem is set; `left` as in `Layout`."""
        x = self.embedding(tokens)
        if self.stem is not None:
            x = mixed_with_left("stem", self.stem, x, present, left)
        if self.local is not None:
            x = x + mixed_with_left("local", self.local, tokens, present, left)
        return with_label(x, self.class_embedding, self.number_embedding, label)

    def condition(self, time: Float[Tensor, " B"] | None) -> Float[Tensor, "B C"] | None:
        """Conditioning vector, or None without time conditioning."""
        if self.time_embedding is None:
            return None
        if time is None:
            raise ValueError("a backbone with time conditioning needs `time`, got None")
        return self.time_embedding(time)

    def _layout(self, x: Tensor, present: Tensor | None) -> Layout:
        """Rotary angles and attention pattern for one batch."""
        length = x.shape[1]
        wide = torch.promote_types(x.dtype, torch.float32)
        cos, sin = rotary_angles(length, self.head_size, device=x.device, dtype=wide)
        pattern = attention_pattern(
            length, device=x.device, present=present, window=self.attention_window
        )
        return Layout(cos, sin, pattern, present)


def without_idle_mask(present: Tensor | None) -> Tensor | None:
    """None if nothing is padding and the check is free: on a CPU, outside compilation."""
    if present is None or present.device.type != "cpu" or torch.compiler.is_compiling():
        return present
    return None if bool(present.all()) else present


def _local_stem(vocab_size: int, size: int, radius: int, inner_size: int) -> LocalStem | None:
    """The perceptron on neighbouring tokens, or None with radius 0."""
    return LocalStem(vocab_size, size, radius=radius, inner_size=inner_size) if radius else None
