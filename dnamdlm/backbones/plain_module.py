"""Any PyTorch module from ids to logits as a `Backbone`.

Shapes: B sequences, L positions, V vocabulary.
"""

import inspect
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone, RowLabel, takes_label
from dnamdlm.errors import ConfigError


def as_backbone(module: nn.Module, vocab_size: int | None = None) -> Backbone:
    """The module itself if it is a `Backbone`, else the module in a `ModuleBackbone`.

    Args:
        module: its `forward` takes token ids (B, L) and gives logits (B, L, V), see
            `ModuleBackbone` for what else it may take.
        vocab_size: V; None takes the attribute `vocab_size` of the module.

    Raises:
        ConfigError: if V is not known, or differs from that of the module.

    Example:
        >>> import torch
        >>> from dnamdlm.backbones import as_backbone
        >>> net = torch.nn.Sequential(torch.nn.Embedding(12, 32), torch.nn.Linear(32, 12))
        >>> backbone = as_backbone(net, vocab_size=12)
        >>> backbone(torch.tensor([[7, 8, 3, 10]])).shape
        torch.Size([1, 4, 12])
        >>> backbone.time_conditioning
        False
    """
    name = type(module).__name__
    own_size: int | None = getattr(module, "vocab_size", None)
    size = own_size if vocab_size is None else vocab_size
    if size is None:
        raise ConfigError(
            f"{name} does not say how many logits it gives; set its attribute vocab_size or use "
            "as_backbone(module, vocab_size=...)"
        )
    if own_size not in (None, size):
        raise ConfigError(
            f"{name}.vocab_size={own_size}, but vocab_size={size} was given; leave one out"
        )
    return module if isinstance(module, Backbone) else ModuleBackbone(module, size)


class ModuleBackbone(nn.Module):
    """A module with the interface of a backbone (`ClassBackbone`, with `num_classes` 0 as a rule).

    What the module does not take in its `forward` under these names is not passed on:

    - `time`: if it has no default, or the module has the attribute `time_conditioning = True`, the
      network is conditioned on time.
    - `present`: False marks padding. A module without it sees padding as a token like any other.
    - `label`: class of each sequence, if the module has the attribute `num_classes`, or numbers,
      (B, K) with nan where one is not known, if it has `num_numbers`.

    If the module has the methods `hidden` and `head` of a backbone, they are used. Otherwise its
    logits stand in for the hidden states, for example in embeddings.
    """

    def __init__(self, module: nn.Module, vocab_size: int) -> None:
        """Look at what the module takes.

        Raises:
            ConfigError: if its attributes promise what its `forward` does not take.
        """
        super().__init__()
        self.module = module
        self.vocab_size = vocab_size
        self.causal: bool = getattr(module, "causal", False)
        taken = inspect.signature(module.forward).parameters
        needs_time = "time" in taken and taken["time"].default is inspect.Parameter.empty
        self.time_conditioning: bool = getattr(module, "time_conditioning", needs_time)
        self.num_classes: int = getattr(module, "num_classes", 0)
        self.num_numbers: int = getattr(module, "num_numbers", 0)
        self.takes_present = "present" in taken
        for attribute, name in (
            ("time_conditioning", "time"), ("num_classes", "label"), ("num_numbers", "label"),
        ):  # fmt: skip
            if (promise := getattr(self, attribute)) and name not in taken:
                raise ConfigError(
                    f"{type(module).__name__}.forward must take `{name}`, because its attribute "
                    f"{attribute} is {promise}"
                )

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider; arguments as in `ClassBackbone`.

        Raises:
            ConfigError: if the module gives anything but one row of V logits per position.
            ValueError: if the network is conditioned on time and none is given.
        """
        return self._logits(self.module(tokens, **self._taken(time, present, label)), tokens)

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The hidden states of the module if it has them, else its logits."""
        if not self._has_states:
            return self(tokens, time, present, label)
        states: Any = self.module.hidden
        return states(tokens, **self._taken(time, present, label))

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits of any of the positions of `hidden`."""
        if not self._has_states:
            return states
        head: Any = self.module.head
        return _widened(head(states))

    @property
    def _has_states(self) -> bool:
        # a method: a layer may have the name `hidden`, too.
        is_method = inspect.isroutine(getattr(type(self.module), "hidden", None))
        return is_method and callable(getattr(self.module, "head", None))

    def _taken(
        self, time: Tensor | None, present: Tensor | None, label: Tensor | None
    ) -> dict[str, Tensor | None]:
        """The arguments that the module takes, by name."""
        if self.time_conditioning and time is None:
            raise ValueError("a backbone with time conditioning needs `time`, got None")
        taken: dict[str, Tensor | None] = {}
        if self.time_conditioning:
            taken["time"] = time
        if self.takes_present:
            taken["present"] = present
        if takes_label(self):
            taken["label"] = label
        return taken

    def _logits(self, logits: object, tokens: Tensor) -> Tensor:
        """The logits, checked."""
        wanted = (*tokens.shape, self.vocab_size)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigError(
                f"{type(self.module).__name__} must give logits of shape (sequences, positions, "
                f"vocab_size) = {wanted}, got {found}"
            )
        return _widened(logits)


def _widened(logits: Tensor) -> Tensor:
    """Half precision to float32; wider types as they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
