"""A stack of Mamba blocks as a backbone: bidirectional or causal, with or without time.

One class covers several networks: Caduceus-PH is bidirectional with tied embeddings, DiMamba is
bidirectional with time conditioning, and the autoregressive baseline runs forward only.

Shapes: B sequences, L positions, V vocabulary, D channels, C width of the conditioning vector.
Source: Schiff et al. 2024 (arXiv:2403.03234); DiMamba: Sahoo et al. 2024 (arXiv:2406.07524).
"""

import typing
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from dnamdlm.backbones.backbone import RowLabel
from dnamdlm.backbones.kept_arguments import keeps_arguments
from dnamdlm.backbones.layers import (
    Modulation,
    TimeEmbedding,
    look_up,
)
from dnamdlm.backbones.mamba import Directions, MambaBlock, MambaMixer, RmsNorm
from dnamdlm.backbones.network_checks import check_dropout, check_positive, unused_conditioning
from dnamdlm.backbones.number_embedding import label_embedding, with_label
from dnamdlm.errors import ConfigError

EMBEDDING_SPREAD = 0.02


class Embedding(nn.Module):
    """One vector per token id, initially normally distributed."""

    undecayed = ("weight",)

    def __init__(self, vocab_size: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocab_size, size) * EMBEDDING_SPREAD)

    def forward(
        self, tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"]
    ) -> Float[Tensor, "B L D"]:
        """Look the vectors up; see `look_up`."""
        return look_up(tokens, self.weight)


class Head(nn.Module):
    """Linear map from hidden states to logits without a bias, never in half precision."""

    def __init__(self, vocab_size: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocab_size, size))

    def forward(self, x: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits in float32, or in float64 if the hidden states are."""
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.to(wide), self.weight.to(wide))


class Mamba(nn.Module):
    """Token ids to logits through a stack of Mamba blocks.

    Example: Caduceus-PH, which reads both directions of one strand.
        >>> import torch
        >>> from dnamdlm.backbones import Mamba
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> net = Mamba(12, hidden_size=32, num_blocks=2, tie_embeddings=True)
        >>> tokens = torch.from_numpy(NucleotideTokenizer().encode("ACG..TGA"))[None]
        >>> net(tokens).shape
        torch.Size([1, 8, 12])
    """

    @keeps_arguments
    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_blocks: int,
        *,
        directions: str = "add",
        state_size: int = 16,
        conv_width: int = 4,
        expand: int = 2,
        dropout: float | int = 0.0,
        time_conditioning: bool = False,
        num_classes: int = 0,
        num_numbers: int = 0,
        cond_size: int = 128,
        tie_embeddings: bool = False,
        vocab_multiple: int = 1,
        residual: bool = True,
        wide_residual: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Build the network.

        Args:
            vocab_size: number of token ids, special ones included.
            hidden_size: number of channels.
            num_blocks: number of blocks.
            directions: 'add' or 'multiply' combine a forward and a reverse scan; 'forward' is
                causal.
            state_size: size of the state vector of each inner channel.
            conv_width: taps of the convolution before each scan.
            expand: inner channels per channel.
            dropout: probability of dropping a channel of a branch.
            time_conditioning: adaptive norm and gates that depend on the time.
            num_classes: classes of sequences to condition on; 0 is off.
            num_numbers: numbers to condition on, such as measured activities, in place of
                classes; 0 is off.
            cond_size: width of the conditioning vector.
            tie_embeddings: the output weights are the token embedding.
            vocab_multiple: round `vocab_size` up to a multiple of this, as in published weights.
            residual: add each branch to its input; False reproduces original DiMamba networks
                without adaptive norm, which lack the residual stream.
            wide_residual: keep the residual stream in float32 under autocast.
            gradient_checkpointing: recompute blocks in the backward pass to save memory.

        Raises:
            ConfigError: if an argument is out of range; the message names it `backbone.<name>`.
        """
        super().__init__()
        check_positive(vocab_size=vocab_size, hidden_size=hidden_size, num_blocks=num_blocks)
        check_positive(state_size=state_size, conv_width=conv_width, expand=expand)
        check_positive(cond_size=cond_size, vocab_multiple=vocab_multiple)
        check_dropout(dropout)
        self.vocab_size = -(-vocab_size // vocab_multiple) * vocab_multiple
        self.hidden_size = hidden_size
        self.directions = _directions(directions)
        self.causal = directions == "forward"
        self.time_conditioning = time_conditioning
        self.num_classes, self.num_numbers = num_classes, num_numbers
        self.gradient_checkpointing = gradient_checkpointing

        self.embedding = Embedding(self.vocab_size, hidden_size)
        self.class_embedding, self.number_embedding = label_embedding(
            num_classes, num_numbers, hidden_size
        )
        self.time_embedding = TimeEmbedding(cond_size) if time_conditioning else None
        self.blocks = nn.ModuleList(
            MambaBlock(
                MambaMixer(
                    hidden_size,
                    directions=self.directions,
                    state_size=state_size,
                    conv_width=conv_width,
                    expand=expand,
                ),
                hidden_size,
                dropout=dropout,
                cond_size=cond_size if time_conditioning else None,
                residual=residual,
                wide_residual=wide_residual,
            )
            for _ in range(num_blocks)
        )
        self.final_norm = RmsNorm(hidden_size)
        self.final_modulation = Modulation(cond_size, hidden_size, 2) if time_conditioning else None
        self.head = Head(self.vocab_size, hidden_size)
        if tie_embeddings:
            self.head.weight = self.embedding.weight
        self._scale_branches()

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        return unused_conditioning(time_conditioning=self.time_conditioning)

    @torch.no_grad()
    def _scale_branches(self) -> None:
        """Scale the initial branches down with the number of blocks."""
        for name, parameter in self.blocks.named_parameters():
            if name.endswith("mixer.output.weight"):
                parameter.div_(len(self.blocks) ** 0.5)

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
        *,
        before_block: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last hidden states, after the final norm; arguments as in `ClassBackbone`.

        If given, the function `before_block` is applied to the residual stream before each block.
        """
        cond = self._condition(time)
        x = with_label(self.embedding(tokens), self.class_embedding, self.number_embedding, label)
        for block in self.blocks:
            x = self._run(block, x if before_block is None else before_block(x), cond, present)
        if self.final_modulation is None or cond is None:
            return self.final_norm(x)
        shift, scale = self.final_modulation.chunks(cond)
        return self.final_norm(x, (shift, scale))

    def _run(
        self, block: nn.Module, x: Tensor, cond: Tensor | None, present: Tensor | None
    ) -> Tensor:
        """One block, recomputed in the backward pass if so set."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            out = checkpoint(block, x, cond, present, use_reentrant=False)
            assert isinstance(out, Tensor)
            return out
        return block(x, cond, present)

    def _condition(self, time: Tensor | None) -> Tensor | None:
        """Conditioning vector, or None without time conditioning."""
        if self.time_embedding is None:
            return None
        if time is None:
            raise ValueError("a backbone with time conditioning needs `time`, got None")
        return self.time_embedding(time)


def _directions(name: str) -> Directions:
    """The name of known directions."""
    for known in typing.get_args(Directions):
        if name == known:
            return known
    raise ConfigError(
        f"backbone.directions={name!r} is unknown; use one of "
        f"{', '.join(typing.get_args(Directions))}"
    )
