"""Caduceus-PS: one network for both strands of DNA, exactly equivariant by construction.

A stack of Mamba blocks with shared weights runs on a sequence and on its reverse complement; the
logits are the sum of both, the second reversed and complemented. So the logits of the reverse
complement are the reverse complement of the logits, whatever the weights. Caduceus-PH is a plain
bidirectional stack, `dnamdlm.backbones.bidirectional.Mamba` with tied embeddings, trained on random
strands.

Shapes: B sequences, L positions, V vocabulary, D channels of one strand.
Source: Schiff et al. 2024 (arXiv:2403.03234), section 3.3 and appendices A and B.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import RowLabel
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.equivariance import (
    both_strands,
    complement_table,
    reverse_complement_logits,
)
from dnamdlm.backbones.kept_arguments import keeps_arguments


class CaduceusPS(nn.Module):
    """Token ids to logits, the same for both strands.

    The original keeps the two strands as halves of one hidden vector, the second half reversed in
    length and channels. Here they are rows of one batch, each in its own direction; `hidden` gives
    the halves of the original.

    Example: the prediction for a base is that for its complement on the other strand.
        >>> import torch
        >>> from dnamdlm.backbones import CaduceusPS
        >>> from dnamdlm.tokens import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> complement = NUCLEOTIDE_VOCABULARY.complement
        >>> net = CaduceusPS(12, complement, hidden_size=16, num_blocks=2).double()
        >>> forward = net(torch.from_numpy(dna.encode("AAC.GT"))[None])
        >>> backward = net(torch.from_numpy(dna.encode("AC.GTT"))[None])
        >>> torch.allclose(forward, backward.flip(1)[..., list(complement)])
        True
    """

    complement: Tensor

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        complement: Sequence[int],
        hidden_size: int,
        num_blocks: int,
        *,
        exchange_strands: bool = False,
        directions: str = "add",
        state_size: int = 16,
        conv_width: int = 4,
        expand: int = 2,
        dropout: float | int = 0.0,
        time_conditioning: bool = False,
        num_classes: int = 0,
        num_numbers: int = 0,
        cond_size: int = 128,
        tie_embeddings: bool = True,
        vocab_multiple: int = 1,
        wide_residual: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Build the network.

        Args:
            vocab_size: number of token ids, special ones included.
            complement: id of the complementary token for each id.
            hidden_size: number of channels of one strand.
            num_blocks: number of blocks.
            exchange_strands: exchange the strands in every block, reversed in length and channels.
                Published weights need it: they were trained by a fused code path that does so. The
                network is a different one, also equivariant, and slightly slower.
            directions: 'add' or 'multiply' combine a forward and a reverse scan; 'forward' is one
                scan per strand.
            state_size: size of the state vector of each inner channel.
            conv_width: taps of the convolution before each scan.
            expand: inner channels per channel.
            dropout: probability of dropping a channel of a branch.
            time_conditioning: adaptive norm and gates that depend on the time.
            num_classes: classes of sequences to condition on, the same for both strands; 0 is off.
            num_numbers: numbers to condition on in place of classes, the same for both strands; 0
                is off.
            cond_size: width of the conditioning vector.
            tie_embeddings: the output weights are the token embedding.
            vocab_multiple: round `vocab_size` up to a multiple of this.
            wide_residual: keep the residual stream in float32 under autocast.
            gradient_checkpointing: recompute blocks in the backward pass to save memory.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        self.strand = Mamba(
            vocab_size,
            hidden_size,
            num_blocks,
            directions=directions,
            state_size=state_size,
            conv_width=conv_width,
            expand=expand,
            dropout=dropout,
            time_conditioning=time_conditioning,
            num_classes=num_classes,
            num_numbers=num_numbers,
            cond_size=cond_size,
            tie_embeddings=tie_embeddings,
            vocab_multiple=vocab_multiple,
            wide_residual=wide_residual,
            gradient_checkpointing=gradient_checkpointing,
        )
        self.vocab_size = self.strand.vocab_size
        self.time_conditioning = time_conditioning
        self.num_classes, self.num_numbers = num_classes, num_numbers
        self.exchange_strands = exchange_strands
        table = complement_table(complement, self.vocab_size)
        self.register_buffer("complement", table, persistent=False)

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        return self.strand.without_effect()

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider; arguments as in `Backbone`."""
        ahead, back = self.strand.head(self._states(tokens, time, present, label)).chunk(2)
        return ahead + reverse_complement_logits(back, self.complement)

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L D2"]:
        """The last hidden states of both strands at each base, (B, L, 2 D).

        The second half belongs to the opposite strand, with channels reversed: reversing length and
        channels of the result gives the hidden states of the reverse complement.
        """
        ahead, back = self._states(tokens, time, present, label).chunk(2)
        return torch.cat((ahead, back.flip(1, 2)), dim=-1)

    def head(self, states: Float[Tensor, "*positions D2"]) -> Float[Tensor, "*positions V"]:
        """Logits from the hidden states of `hidden`, position by position."""
        ahead, back = states.chunk(2, dim=-1)
        return self.strand.head(ahead) + self.strand.head(back.flip(-1))[..., self.complement]

    def _states(
        self, tokens: Tensor, time: Tensor | None, present: Tensor | None, label: Tensor | None
    ) -> Tensor:
        """Hidden states of the sequences, then of their reverse complements, in reading order."""
        strands = both_strands(tokens, time, present, label, complement=self.complement)
        if not self.exchange_strands:
            return self.strand.hidden(*strands)
        return self.strand.hidden(*strands, before_block=_exchanged)


def _exchanged(x: Float[Tensor, "B2 L D"]) -> Float[Tensor, "B2 L D"]:
    """The two halves of the batch exchanged, reversed in length and channels."""
    ahead, back = x.flip(1, 2).chunk(2)
    return torch.cat((back, ahead))
