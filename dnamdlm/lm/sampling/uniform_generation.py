"""How the reverse process of noise that replaces tokens calls and guides a network.

Guidance acts on the distribution of what is drawn next, p(z_s | z_t), not on that of the clean
token as for masks: there both are the same, here they are not.

Shapes: B sequences, L positions, V vocabulary.
Source: Schiff et al. 2024 (arXiv:2412.10193), sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.diffusion.guidance import classifier_free
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.uniform_steps import NextProbs
from dnamdlm.lm.sampling.class_guidance import (
    ClassGuidance,
    ClassifierGuidance,
    Guidance,
    NumberGuidance,
)
from dnamdlm.lm.sampling.network_calls import NetworkCalls, NetworkInput, OneLabel


@runtime_checkable
class Predicting(Protocol, metaclass=ByAttributes):
    """A model of noise that replaces tokens, as far as generation calls it."""

    schedule: Schedule
    real_tokens: Tensor
    num_classes: int
    num_numbers: int
    uniform_share: float

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        ...

    @property
    def noise(self) -> Tensor:
        """The law of the noise."""
        ...

    def predict(self, xt: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        """Give log c."""
        ...


class CleanPredictions:
    """A model in the form in which `NetworkCalls` calls one: its log c in place of log p(x0 | xt).

    Attributes:
        schedule: noise schedule.
        real_tokens: True for the tokens that may be predicted.
        num_classes: classes that the network can be conditioned on.
        num_numbers: numbers that it can be conditioned on.
        uniform_share: probability that noise is a real token.
    """

    def __init__(self, lm: Predicting) -> None:
        """Wrap a model."""
        self.lm = lm
        self.schedule: Schedule = lm.schedule
        self.real_tokens: Tensor = lm.real_tokens
        self.num_classes: int = lm.num_classes
        self.num_numbers: int = lm.num_numbers
        self.uniform_share: float = lm.uniform_share

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        return self.lm.mask_id

    @property
    def denoise(self) -> Callable[..., Tensor]:
        """Give log c."""
        return self.lm.predict

    @property
    def log_unnormalized(self) -> Callable[..., Tensor]:
        """The same, which is normalised."""
        return self.lm.predict


@dataclass(frozen=True)
class GuidedPredictor:
    """What the reverse process calls, see `uniform_steps.Predictor`.

    Attributes:
        calls: the model, which is called in fixed shapes.
        present: False at padding; None means no padding.
        guidance: a class to steer towards, or None.
        symbols: True for the tokens that noisy sequences have, (V,).
    """

    calls: NetworkCalls
    present: Bool[Tensor, "B L"] | None
    guidance: Guidance | None
    symbols: Bool[Tensor, " V"]

    def __call__(
        self, tokens: Int[Tensor, "B L"], time: Float64[Tensor, " B"], after: NextProbs
    ) -> Float64[Tensor, "B L V"]:
        """Probabilities of what is drawn next, guided."""
        rows = torch.arange(len(tokens), device=tokens.device)
        inputs = NetworkInput(tokens, time, self.present, rows=rows)
        guidance = self.guidance
        if guidance is None:
            return after(self.calls.normalized(inputs).dense())
        if isinstance(guidance, ClassGuidance):
            return self._of_label(guidance.label, guidance.gamma, inputs, after)
        if isinstance(guidance, NumberGuidance):
            return self._of_label(guidance.values, guidance.gamma, inputs, after)
        assert isinstance(guidance, ClassifierGuidance)
        probs = after(self.calls.normalized(inputs).dense())
        if guidance.gamma == 0:
            return probs
        of_model = LogProbs(probs.log())
        return guidance.weighed(of_model, self.calls, inputs, self.symbols).dense().exp()

    def _of_label(
        self, label: OneLabel, gamma: float, inputs: NetworkInput, after: NextProbs
    ) -> Float64[Tensor, "B L V"]:
        """A mixture of the distributions with and without a class or numbers."""
        if gamma == 0:
            return after(self.calls.normalized(inputs).dense())
        conditional = after(self.calls.normalized(inputs, label).dense())
        if gamma == 1:
            return conditional
        plain = after(self.calls.normalized(inputs).dense())
        return classifier_free(conditional.log(), plain.log(), gamma).exp()
