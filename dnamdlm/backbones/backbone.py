"""What a network has to offer to become part of a language model.

Shapes: B sequences, L positions, V vocabulary, D channels.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor


@runtime_checkable
class Backbone(Protocol):
    """Any network from token ids to logits.

    Attributes:
        vocab_size: number of logits per position; ids are below it.
        time_conditioning: whether the output depends on `time`. Where it does not, a denoiser
            may be asked once for an unchanged sequence.

    A row's output depends on no other row of the batch, and no output at a present position depends
    on what stands at padded positions.
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
            time: conditioning value -log alpha(t), one per sequence. A network without time
                conditioning ignores it; one with it demands it.
            present: False marks padding; None means no padding.
        """
        ...

    def hidden(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last states after the final norm."""
        ...

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits of any of the positions of `hidden`, each from its own state."""
        ...


@runtime_checkable
class ClassBackbone(Backbone, Protocol):
    """A network that can be told which class each sequence is of.

    Attributes:
        num_classes: number of classes; with 0 the network ignores `label`.
    """

    num_classes: int

    def __call__(
        self,
        tokens: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits in float32 or wider.

        Args:
            tokens: ids, masked ones included.
            time: conditioning value, as in `Backbone`.
            present: False marks padding; None means no padding.
            label: class of each sequence from 0; `num_classes`, or None for all, is no class.
        """
        ...

    def hidden(
        self,
        tokens: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        label: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The last states after the final norm.

        Tokens may be given as a law over ids at each position, in which the states are
        differentiable; a one-hot law gives the states of the id.
        """
        ...
