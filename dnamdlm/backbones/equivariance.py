"""The two strands of DNA: reverse complements of ids and of logits, and averages over strands.

The reverse complement of a sequence is its complement read backwards. A network f is equivariant if
f(rc(x)) = rc(f(x)): the logits of the reverse complement are those of the sequence with positions
reversed and letters complemented. The mask is its own complement.

Shapes: B sequences, L positions, V vocabulary, D channels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone, RowLabel, takes_label
from dnamdlm.errors import ConfigError


def complement_table(complement: Sequence[int], vocab_size: int) -> Int[Tensor, " V"]:
    """Ids of the complements as a tensor; ids beyond the vocabulary are their own complements.

    Raises:
        ConfigError: if complementing twice does not give every id back.
    """
    table = torch.tensor([*complement, *range(len(complement), vocab_size)])
    identity = torch.arange(vocab_size)
    in_range = len(table) == vocab_size and bool(((table >= 0) & (table < vocab_size)).all())
    if not in_range or not torch.equal(table[table], identity):
        raise ConfigError(
            f"backbone.complement must exchange ids below {vocab_size} in pairs, got "
            f"{tuple(complement)}"
        )
    return table


def reverse_complement(
    tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"], complement: Int[Tensor, " V"]
) -> Int[Tensor, "B L"] | Float[Tensor, "B L V"]:
    """Ids, or distributions over ids, of the opposite strand in its own direction."""
    if tokens.is_floating_point():
        return reverse_complement_logits(tokens, complement)
    return complement[tokens.flip(1)]


def reverse_complement_logits(
    logits: Float[Tensor, "B L V"], complement: Int[Tensor, " V"]
) -> Float[Tensor, "B L V"]:
    """Logits of one strand, turned into logits of the other."""
    return logits.flip(1)[..., complement]


class _OverStrands(nn.Module):
    """A network, and the table of complements with which it is given another strand."""

    complement: Tensor

    def __init__(self, backbone: Backbone, complement: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.vocab_size = backbone.vocab_size
        self.time_conditioning = backbone.time_conditioning
        self.num_classes: int = getattr(backbone, "num_classes", 0)
        self.num_numbers: int = getattr(backbone, "num_numbers", 0)
        table = complement_table(complement, backbone.vocab_size)
        self.register_buffer("complement", table, persistent=False)


class OtherStrand(_OverStrands):
    """Logits that any network gives when it reads the reverse complement, turned back.

    An equivariant network gives those of the sequence itself.
    """

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits; arguments as in `Backbone`."""
        turned = self.backbone(*self._turned(tokens, time, present, label))
        return reverse_complement_logits(turned, self.complement)

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Hidden states of the reverse complement, each at the base that it belongs to."""
        return self.backbone.hidden(*self._turned(tokens, time, present, label)).flip(1)

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits from the hidden states of `hidden`, position by position."""
        return self.backbone.head(states)[..., self.complement]

    def _turned(
        self, tokens: Tensor, time: Tensor | None, present: Tensor | None, label: Tensor | None
    ) -> tuple[Any, ...]:
        """The reverse complements: arguments of the network."""
        ahead = None if present is None else present.flip(1)
        turned = (reverse_complement(tokens, self.complement), time, ahead, label)
        return turned if takes_label(self.backbone) else turned[:3]


class StrandAverage(_OverStrands):
    """Mean of the logits of both strands under any network, which is equivariant.

    A network trained on random strands, such as Caduceus-PH, is evaluated in this way, at twice the
    cost.
    """

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits; arguments as in `Backbone`."""
        ahead, back = self.backbone(*self._strands(tokens, time, present, label)).chunk(2)
        return (ahead + reverse_complement_logits(back, self.complement)) / 2

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Hidden states of the sequence, joined to those of its reverse complement at each base."""
        ahead, back = self.backbone.hidden(*self._strands(tokens, time, present, label)).chunk(2)
        return torch.cat((ahead, back.flip(1)), dim=-1)

    def head(self, states: Float[Tensor, "*positions D2"]) -> Float[Tensor, "*positions V"]:
        """Logits from the hidden states of `hidden`, position by position."""
        ahead, back = states.chunk(2, dim=-1)
        return (self.backbone.head(ahead) + self.backbone.head(back)[..., self.complement]) / 2

    def _strands(
        self, tokens: Tensor, time: Tensor | None, present: Tensor | None, label: Tensor | None
    ) -> tuple[Any, ...]:
        """Both strands as one batch: arguments of the network."""
        strands = both_strands(tokens, time, present, label, complement=self.complement)
        return strands if takes_label(self.backbone) else strands[:3]


def both_strands(
    tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
    time: Float[Tensor, " B"] | None,
    present: Bool[Tensor, "B L"] | None,
    label: RowLabel | None,
    *,
    complement: Int[Tensor, " V"],
) -> tuple[
    Int[Tensor, "B2 L"] | Float[Tensor, "B2 L V"],
    Float[Tensor, " B2"] | None,
    Bool[Tensor, "B2 L"] | None,
    Int[Tensor, " B2"] | Float[Tensor, "B2 K"] | None,
]:
    """The sequences, then their reverse complements, with their times, padding and classes."""
    return (
        torch.cat((tokens, reverse_complement(tokens, complement))),
        None if time is None else torch.cat((time, time)),
        None if present is None else torch.cat((present, present.flip(1))),
        None if label is None else torch.cat((label, label)),
    )
