"""Any network from token ids to logits, with the interface of a backbone.

Shapes: B sequences, L positions, V vocabulary, D channels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnamdlm.errors import ConfigError


class LogitsNetwork(nn.Module):
    """A network of another package as a backbone.

    The network maps ids (B, L) to logits (B, L, V). What else it takes is read from the names of
    the parameters of its `forward`:

    - `time`: it is conditioned on -log alpha(t), one number per sequence;
    - `present`: it gets False at padding, or None where there is none; otherwise padding looks like
      the id of the padding token;
    - `label`: it gets the class of each sequence, of `network.num_classes` and one more for none.

    With an attribute `causal = True` its outputs see only the past. With methods `hidden` (to
    states) and `head` (states to logits) it can embed, and a large vocabulary costs less.
    """

    def __init__(self, network: nn.Module, vocab_size: int) -> None:
        """Wrap a network.

        Args:
            network: from ids to logits.
            vocab_size: ids of the vocabulary; further logits of the network are dropped.
        """
        super().__init__()
        self.network = network
        self.vocab_size = vocab_size
        self._taken = _parameters(network.forward)
        is_conditioned = getattr(network, "time_conditioning", True)
        self.time_conditioning = "time" in self._taken and bool(is_conditioned)
        self.causal = getattr(network, "causal", False) is True
        self.num_classes = int(getattr(network, "num_classes", 0)) if "label" in self._taken else 0

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits, as in `Backbone`.

        Raises:
            ConfigError: if the output of the network does not have the shape of logits.
        """
        further = _chosen(self._taken, time=time, present=present, label=label)
        return self._checked(self.network(tokens, **further), tokens.shape)

    def hidden(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Last states, as in `Backbone`.

        Raises:
            ConfigError: if the network has no method for them.
        """
        # a submodule may have this name, too.
        if not inspect.isfunction(getattr(type(self.network), "hidden", None)):
            raise ConfigError(
                f"{type(self.network).__name__} has no hidden states, which embeddings and "
                "vocabularies of 4096 ids or more need; add methods hidden (ids to states) and "
                "head (states to logits)"
            )
        hidden: Any = self.network.hidden
        further = _chosen(_parameters(hidden), time=time, present=present, label=label)
        return _wide(hidden(tokens, **further))

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits from states."""
        head: Any = self.network.head
        return self._checked(head(states), states.shape[:-1])

    def _checked(self, logits: Any, shape: torch.Size) -> Tensor:
        name = type(self.network).__name__
        if not isinstance(logits, Tensor):
            raise ConfigError(
                f"{name} returns a {type(logits).__name__}; return a tensor of logits, one per "
                "position and id"
            )
        if logits.shape[:-1] != shape or logits.shape[-1] < self.vocab_size:
            raise ConfigError(
                f"{name} maps ids of shape {tuple(shape)} to logits of shape "
                f"{tuple(logits.shape)}; return {(*shape, self.vocab_size)}, one logit for each of "
                f"the {self.vocab_size} ids of the vocabulary"
            )
        return _wide(logits[..., : self.vocab_size])


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _chosen(taken: frozenset[str], **inputs: Tensor | None) -> dict[str, Tensor | None]:
    return {name: value for name, value in inputs.items() if name in taken}
