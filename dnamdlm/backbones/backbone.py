"""The interface of a network that a language model is built on.

Shapes: B sequences, L positions, V vocabulary, D channels.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes

RowLabel = Int[Tensor, " B"] | Float[Tensor, "B K"]
"""What is known of each sequence: its class, or K standardised numbers, nan where not known."""


@runtime_checkable
class Backbone(Protocol, metaclass=ByAttributes):
    """Any network from token ids to logits.

    Attributes:
        vocab_size: number of logits per position; ids are below it.
        time_conditioning: whether the output depends on `time`. If not, a sampler calls the
            network once for an unchanged sequence.

    The output of a row depends on no other row of the batch. The output at a present position does
    not depend on the ids at padding.
    """

    vocab_size: int
    time_conditioning: bool

    def __call__(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider.

        Args:
            tokens: ids, masked ones included.
            time: conditioning value -log alpha(t), one per sequence; ignored by a network without
                time conditioning, required by one with it.
            present: False marks padding; None means no padding.
        """
        ...

    def hidden(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last hidden states, after the final norm."""
        ...

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits of any of the positions of `hidden`, each from its own hidden state."""
        ...


@runtime_checkable
class ClassBackbone(Backbone, Protocol):
    """A network that can be conditioned on the class of each sequence, or on numbers.

    A network of numbers has the attribute `num_numbers`, and `num_classes` 0.

    Attributes:
        num_classes: number of classes; with 0 the network ignores `label`, unless it has numbers.
    """

    num_classes: int

    def __call__(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider.

        Args:
            tokens: ids, masked ones included.
            time: conditioning value, as in `Backbone`.
            present: False marks padding; None means no padding.
            label: class of each sequence, from 0; `num_classes` means no class, and so does None
                for all sequences. For a network of numbers they are standardised, (B, K), nan
                where one is not known.
        """
        ...

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last hidden states, after the final norm.

        Tokens may be given as a distribution over ids at each position, with respect to which the
        hidden states are differentiable; a one-hot distribution is equivalent to the id.
        """
        ...


def takes_label(backbone: object) -> bool:
    """Whether a network is conditioned on classes or numbers, and so takes a `label`."""
    return bool(getattr(backbone, "num_classes", 0) or getattr(backbone, "num_numbers", 0))
