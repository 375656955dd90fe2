"""The dilated convolutional networks of GPN: bases to logits, each from a bounded neighbourhood.

The dilation of the convolutions grows by a factor from block to block, and starts again after a
cycle of blocks. See `convnet_blocks` for the three kinds of block.

Shapes: B sequences, L positions, V vocabulary, D channels.
Source: Benegas, Batra and Song 2023 (10.1073/pnas.2311219120); songlab-cal/gpn, commit 99293f8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnamdlm.backbones.convnet_blocks import (
    BytenetBlock,
    ConvnetBlock,
    DilatedConv,
    PlainBlock,
    TransformedHead,
    norm_of,
)
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import TokenEmbedding
from dnamdlm.backbones.network_checks import check_dropout, check_positive
from dnamdlm.errors import ConfigError

BlockKind = Literal["convnet", "bytenet", "plain"]
_DEVIATION = 0.02


class ConvNet(nn.Module):
    """Bidirectional stack of dilated convolutions: token ids to logits.

    Example: with two blocks of three taps and dilations 1 and 2, three bases on either side count.
        >>> net = ConvNet(12, hidden_size=16, num_blocks=2, first_width=3, width=3).double()
        >>> bases = torch.full((1, 9), 7)
        >>> changed = bases.clone()
        >>> changed[0, 4] = 8
        >>> (net(bases) != net(changed)).any(-1).flatten().nonzero().flatten().tolist()
        [1, 2, 3, 4, 5, 6, 7]
    """

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        *,
        block: str = "convnet",
        inner_size: int | None = None,
        first_width: int = 9,
        width: int = 5,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128),
        depthwise: bool = False,
        bias: bool = False,
        transform: bool = True,
        tie_embeddings: bool = False,
        dropout: float | int = 0.0,
    ) -> None:
        """Build the network, with small random weights.

        Args:
            vocab_size: number of token ids, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            block: kind of block: convnet, bytenet or plain.
            inner_size: inner channels of a block; None is four times `hidden_size` for convnet and
                `hidden_size` for bytenet. A plain block has none.
            first_width: taps of the convolution of the first block, an odd number.
            width: taps of all others, an odd number.
            dilations: gaps between taps, of the blocks in turn, begun again as often as needed.
            depthwise: one filter per channel, except in the first block.
            bias: whether norms, linear layers and convolutions have biases.
            transform: whether the head has a linear layer, GELU and a norm before the output.
            tie_embeddings: the output weights are the token embedding.
            dropout: probability of dropping a channel of a branch.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        kind = _kind(block)
        steps = tuple(dilations)
        if not steps or min(steps) < 1:
            raise ConfigError(
                f"backbone.dilations={list(steps)} must be one or more whole numbers of at least "
                "1; leave it out for those of GPN"
            )
        if inner_size is None:
            inner_size = 4 * hidden_size if kind == "convnet" else hidden_size
        check_positive(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_blocks=num_blocks,
            inner_size=inner_size,
            first_width=first_width,
            width=width,
        )
        for name, taps in (("first_width", first_width), ("width", width)):
            if taps % 2 == 0:
                raise ConfigError(f"backbone.{name}={taps} must be odd; use {taps + 1}")
        check_dropout(dropout)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.time_conditioning = False
        self.block: BlockKind = kind
        self.embedding = TokenEmbedding(vocab_size, hidden_size)
        self.blocks = nn.ModuleList()
        for i in range(num_blocks):
            conv = DilatedConv(
                inner_size if kind == "bytenet" else hidden_size,
                width if i else first_width,
                steps[i % len(steps)],
                depthwise=depthwise and i > 0,
                bias=bias,
            )
            if kind == "plain":
                block_made = PlainBlock(hidden_size, conv, bias=bias, dropout=dropout)
            else:
                made = ConvnetBlock if kind == "convnet" else BytenetBlock
                block_made = made(hidden_size, inner_size, conv, bias=bias, dropout=dropout)
            self.blocks.append(block_made)
        self.final_norm = norm_of(hidden_size, bias=bias) if kind != "plain" else nn.Identity()
        weight = self.embedding.weight
        if not tie_embeddings:
            weight = nn.Parameter(torch.empty(vocab_size, hidden_size).normal_(std=_DEVIATION))
        self.head = TransformedHead(weight, transform=transform, bias=bias)
        self.apply(_initialise)

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        return (
            {"inner_size": "a plain block has no inner channels"} if self.block == "plain" else {}
        )

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
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, present)
        return self.final_norm(x)


def _kind(name: str) -> BlockKind:
    """The name of a known kind of block."""
    for known in get_args(BlockKind):
        if name == known:
            return known
    raise ConfigError(
        f"backbone.block={name!r} is unknown; use one of {', '.join(get_args(BlockKind))}"
    )


def _initialise(module: nn.Module) -> None:
    """The initial weights of linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=_DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
