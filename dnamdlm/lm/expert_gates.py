"""A network together with experts: log p(x0 | xt) = f(xt) + sum_k w_k(xt) log q_k(xt), normalised.

f is the output of the network and the w_k are gates, linear in its last hidden states. At the start
of a training f = 0, w_1 = 1 and all other gates are 0, so that the model is the first expert.

Shapes: B sequences, L positions, D channels, K experts, V outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.backbones.backbone import Backbone, RowLabel, takes_label
from dnamdlm.errors import ConfigError
from dnamdlm.lm.experts import ChainExpert, Genomes, WildcardExpert
from dnamdlm.lm.model_parts import hidden_size_of
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary

LARGEST_WIDTH = 5
LARGEST_ORDER = 6


@dataclass(frozen=True)
class Experts:
    """Which experts a model of DNA has; the first one is what its training starts from.

    Attributes:
        wildcards: neighbours on either side, 1 to 5, of each table of patterns. The memory is
            20 bytes times 25^width; 5 takes ten seconds to tabulate.
        chain: order of a Markov model whose exact conditionals come last, 1 to 6; 0 adds none. It
            is much slower than the tables: 4^chain numbers per position.
    """

    wildcards: tuple[int, ...] = (4,)
    chain: int = 0

    def __post_init__(self) -> None:
        widths = self.wildcards
        if len(set(widths)) < len(widths) or not all(1 <= w <= LARGEST_WIDTH for w in widths):
            raise ConfigError(
                f"lm.experts.wildcards={list(widths)} must be different widths from 1 to "
                f"{LARGEST_WIDTH}"
            )
        if not 0 <= self.chain <= LARGEST_ORDER:
            raise ConfigError(f"lm.experts.chain={self.chain} must lie in 0..{LARGEST_ORDER}")
        if not widths and not self.chain:
            raise ConfigError("lm.experts names no expert; give wildcards, chain or experts=none")

    def build(self) -> list[WildcardExpert | ChainExpert]:
        """The experts, without counts."""
        chains = [ChainExpert(self.chain)] if self.chain else []
        return [*map(WildcardExpert, self.wildcards), *chains]


class ExpertGates(nn.Module):
    """Experts and the gates that weigh them."""

    def __init__(self, experts: Experts, backbone: Backbone, vocabulary: Vocabulary) -> None:
        """Make experts without counts, and gates that are open for the first of them.

        Raises:
            ConfigError: if the vocabulary is not that of DNA.
        """
        super().__init__()
        if vocabulary.fingerprint() != NUCLEOTIDE_VOCABULARY.fingerprint():
            raise ConfigError(
                "experts count words of A, C, G and T, and the data have another vocabulary; "
                "use experts=none"
            )
        self.members = nn.ModuleList(experts.build())
        num_experts, size = len(self.members), hidden_size_of(backbone)
        self.weight = nn.Parameter(torch.zeros(num_experts, size))
        self.bias = nn.Parameter(torch.eye(num_experts)[0])
        # of the output of the network, whose last layer is zero at first or is made so here.
        self.gain = nn.Parameter(torch.tensor(1.0 if _is_zero(backbone, size) else 0.0))
        # the bases have successive ids.
        self.first_id = min(vocabulary.real_ids)

    @property
    def is_counted(self) -> bool:
        """Whether the experts have counts."""
        return all(member.is_counted for member in self.members)  # pyright: ignore[reportCallIssue]

    @property
    def reach(self) -> int:
        """Positions to the left that a prediction depends on, where those are visible."""
        return max(member.reach for member in self.members)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def count(self, genomes: Genomes) -> None:
        """Count the words of a training split.

        Raises:
            ConfigError: if there are counts already, of another split.
            DataError: if it has no word.
        """
        for member in self.members:
            assert isinstance(member, WildcardExpert | ChainExpert)
            before = member.counts.clone()
            member.count(genomes)
            if before.any() and not torch.equal(before, member.counts):
                raise ConfigError(
                    "the experts of this model counted the words of another training split; train "
                    "on that one, or make a new model"
                )

    def log_probs_of(
        self, xt: Int[Tensor, "B L"], counted: Int[Tensor, "B L"] | None, dtype: torch.dtype
    ) -> Float[Tensor, "B L K4"]:
        """The log-probabilities of all experts, one after the other."""
        with torch.no_grad():
            return torch.cat([member(xt, counted).to(dtype) for member in self.members], dim=-1)

    def of_states(
        self,
        head: Callable[[Tensor], Tensor],
        states: Float[Tensor, "*positions DK4"],
    ) -> Float[Tensor, "*positions V"]:
        """Logits from hidden states that are followed by the log-probabilities of the experts."""
        size = self.weight.shape[1]
        own, log_probs = states[..., :size], states[..., size:]
        return self.add(head(own), own, log_probs)

    def add(
        self,
        logits: Float[Tensor, "*positions V"],
        states: Float[Tensor, "*positions D"],
        expert_log_probs: Float[Tensor, "*positions K4"],
    ) -> Float[Tensor, "*positions V"]:
        """The logits of the network and of the experts together."""
        wide = logits.dtype
        with torch.autocast(logits.device.type, enabled=False):
            gates = functional.linear(states.to(wide), self.weight.to(wide), self.bias.to(wide))
            of_experts = expert_log_probs.unflatten(-1, (-1, 4)).to(wide)
            added = (gates.unsqueeze(-1) * of_experts).sum(dim=-2)
            after = logits.shape[-1] - self.first_id - added.shape[-1]
            return logits * self.gain.to(wide) + functional.pad(added, (self.first_id, after))


class ExpertNetwork(nn.Module):
    """A network with experts as a `ClassBackbone`; log-probabilities follow its hidden states."""

    def __init__(
        self, backbone: Backbone, gates: ExpertGates, counted: Int[Tensor, "B L"] | None = None
    ) -> None:
        """Join both.

        Args:
            backbone: the network.
            gates: the experts.
            counted: see `Expert`; the sequences of the one batch that this object is made for.
        """
        super().__init__()
        self.backbone, self.gates, self.counted = backbone, gates, counted
        self.vocab_size = backbone.vocab_size
        self.time_conditioning = backbone.time_conditioning
        self.num_classes: int = getattr(backbone, "num_classes", 0)
        self.num_numbers: int = getattr(backbone, "num_numbers", 0)

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits; arguments as in `ClassBackbone`."""
        return self.head(self.hidden(tokens, time, present, label))

    def hidden(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L DK4"]:
        """The hidden states of the network, then the log-probabilities of the experts."""
        inputs: tuple[Any, ...] = (tokens, time, present)
        states = self.backbone.hidden(*inputs, *((label,) if takes_label(self.backbone) else ()))
        wide = torch.promote_types(states.dtype, torch.float32)
        log_probs = self.gates.log_probs_of(tokens, self.counted, wide)
        return torch.cat((states.to(wide), log_probs), dim=-1)

    def head(self, states: Float[Tensor, "*positions DK4"]) -> Float[Tensor, "*positions V"]:
        """Logits from the states of `hidden`."""
        return self.gates.of_states(self.backbone.head, states)


def joined(
    backbone: Backbone,
    gates: ExpertGates | None,
    over_strands: nn.Module | None,
    counted: Int[Tensor, "B L"] | None,
) -> Backbone:
    """The network that gives the logits of a model.

    Args:
        backbone: the network alone, which it is without experts.
        gates: the experts.
        over_strands: network and experts together, where they read another strand or both.
        counted: see `Expert`.
    """
    if over_strands is not None:
        return over_strands  # pyright: ignore[reportReturnType]
    return backbone if gates is None else ExpertNetwork(backbone, gates, counted)


@torch.no_grad()
def _is_zero(backbone: Backbone, size: int) -> bool:
    """Whether the last layer of a network gives zero for whatever it is given."""
    parameter = next(iter(backbone.parameters()), None)  # pyright: ignore[reportAttributeAccessIssue]
    device = None if parameter is None else parameter.device
    dtype = None if parameter is None else parameter.dtype
    states = torch.eye(size, device=device, dtype=dtype)
    return not bool(backbone.head(states).any())
