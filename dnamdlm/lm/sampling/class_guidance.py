"""Guided generation: which networks are asked, and how their answers become one law.

The formulas are in `dnamdlm.diffusion.guidance`. A guidance gives what a sampler calls in place of
the model, so that it works with every step rule.

Shapes: B sequences, of which b take part in a call, L positions, V vocabulary, C classes.

Source: Schiff et al. 2024 (arXiv:2412.10193).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn import functional

from dnamdlm.diffusion.guidance import (
    classifier_based,
    classifier_free,
    exact_ratios,
    first_order_ratios,
)
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.network_calls import FixedShapeDenoiser, denoiser_of

GuideOrder = Literal["exact", "first_order"]

# Rows per call of a classifier. On a GPU the last call is filled up with copies, so that rounding
# does not depend on how many there are; on a CPU all rows of a call come from one sequence.
EDITS_PER_CALL_CPU = 32
EDITS_PER_CALL = 256


@runtime_checkable
class Guidable(Protocol):
    """What guidance asks of a model; see `MaskedDiffusionLM`."""

    schedule: Schedule
    real_tokens: Tensor
    num_classes: int

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        ...

    def of_class(self, label: int) -> Guidable:
        """The model of the sequences of one class."""
        ...

    def denoise(self, xt: Tensor, time: Tensor | None, present: Tensor | None) -> Tensor:
        """Give log p(x0 | xt)."""
        ...

    def log_measure(self, xt: Tensor, time: Tensor | None, present: Tensor | None) -> Tensor:
        """The same with the totals that the model gives."""
        ...


@runtime_checkable
class Guidance(Protocol):
    """A way to steer generation towards a class."""

    def check(self, lm: Guidable) -> None:
        """Refuse a model that cannot be steered so, with a `ConfigError`."""
        ...

    def denoiser(
        self,
        lm: Guidable,
        present: Bool[Tensor, "B L"] | None,
        *,
        is_cpu: bool,
        takes_measure: bool,
    ) -> FixedShapeDenoiser:
        """What the sampler calls in place of the model.

        Args:
            lm: the model, in evaluation mode.
            present: False at padding, for the whole batch; None means no padding.
            is_cpu: whether the model runs on a CPU.
            takes_measure: whether the rule can use laws that do not sum to 1.
        """
        ...


def check_gamma(gamma: float | int) -> None:
    """Refuse a strength that is negative or not finite, with a `ConfigError`."""
    if not (math.isfinite(gamma) and gamma >= 0):
        raise ConfigError(
            f"guidance={gamma} must be at least 0: 0 is without the class, 1 with it, above 1 "
            "sharpens it"
        )


@dataclass(frozen=True)
class ClassGuidance:
    """Classifier-free guidance, by a class that the model was trained with.

    A law that is mixed from two is normalised, whatever totals the model gives.

    Attributes:
        label: index of the class.
        gamma: 0 is without the class, 1 is p(x | y), above 1 sharpens what sets the class apart.
    """

    label: int
    gamma: float = 1.0

    def check(self, lm: Guidable) -> None:
        """Refuse a model without this class, or a strength below 0."""
        check_gamma(self.gamma)
        if lm.num_classes == 0:
            raise ConfigError(
                "this model was trained without classes and cannot be given a label; train one "
                "with backbone.num_classes, or guide it with a classifier"
            )
        if not 0 <= self.label < lm.num_classes:
            raise ConfigError(
                f"label={self.label} is no class of this model, which has {lm.num_classes}, "
                "counted from 0"
            )

    def denoiser(
        self,
        lm: Guidable,
        present: Bool[Tensor, "B L"] | None,
        *,
        is_cpu: bool,
        takes_measure: bool,
    ) -> FixedShapeDenoiser:
        """The model with the class, without it, or a mixture of both."""
        told = lm.of_class(self.label)
        if self.gamma in (0.0, 1.0):
            return _plain(told if self.gamma else lm, present, is_cpu, takes_measure)
        gamma = self.gamma

        def mixed(xt: Tensor, time: Tensor, present: Tensor | None) -> Tensor:
            return classifier_free(
                told.denoise(xt, time, present), lm.denoise(xt, time, present), gamma
            )

        return _TwiceDenoiser(mixed, present, is_cpu=is_cpu)


def _plain(
    lm: Guidable, present: Tensor | None, is_cpu: bool, takes_measure: bool
) -> FixedShapeDenoiser:
    """The model itself."""
    return denoiser_of(
        lm.log_measure if takes_measure else lm.denoise,
        present,
        vocab_size=len(lm.real_tokens),
        is_cpu=is_cpu,
    )


class _TwiceDenoiser(FixedShapeDenoiser):
    """A law from two calls of the network."""

    def __call__(
        self, xt: Int[Tensor, "b L"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b L V"]:
        """Give the mixed law."""
        self.extra_calls += 1
        self.extra_rows += len(xt)
        return super().__call__(xt, time, rows)


@runtime_checkable
class NoisyClassification(Protocol):
    """What guidance asks of a classifier; see `NoisyClassifier`."""

    schedule: Schedule
    num_classes: int

    @property
    def sees_time(self) -> bool:
        """Whether it wants to know the time."""
        ...

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        ...

    def log_probs(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        *,
        soft: Float[Tensor, "B L V"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Give log p(y | xt); `soft` takes the place of the ids in the network."""
        ...

    @property
    def soft_like(self) -> tuple[int, torch.dtype]:
        """Width and type of `soft`."""
        ...


@dataclass(frozen=True)
class ClassifierGuidance:
    """Guidance of any masked model by a classifier of noisy sequences.

    Attributes:
        classifier: in evaluation mode, on the device of the model.
        label: index of the class among those of the classifier.
        gamma: strength; 1 is Bayes' rule.
        order: 'exact' asks the classifier about every change of one hidden token, and is Bayes'
            rule for a token; 'first_order' reads all of them off one gradient.
    """

    classifier: NoisyClassification
    label: int
    gamma: float = 1.0
    order: GuideOrder = "exact"

    def check(self, lm: Guidable) -> None:
        """Refuse a classifier of other tokens, an unknown class, or a strength below 0."""
        check_gamma(self.gamma)
        if self.order not in get_args(GuideOrder):
            raise ConfigError(
                f"guide_order={self.order} is unknown; choose {' or '.join(get_args(GuideOrder))}"
            )
        if self.classifier.mask_id != lm.mask_id:
            raise ConfigError("the classifier reads other token ids than the model; train it again")
        if not 0 <= self.label < self.classifier.num_classes:
            raise ConfigError(
                f"guide_label={self.label} is no class of the classifier, which has "
                f"{self.classifier.num_classes}, counted from 0"
            )

    def denoiser(
        self,
        lm: Guidable,
        present: Bool[Tensor, "B L"] | None,
        *,
        is_cpu: bool,
        takes_measure: bool,
    ) -> FixedShapeDenoiser:
        """The law of the model, weighed by the classifier and then always normalised."""
        if self.gamma == 0:
            return _plain(lm, present, is_cpu, takes_measure)
        return _WeighedDenoiser(self, lm, present, is_cpu=is_cpu)


class _WeighedDenoiser(FixedShapeDenoiser):
    """A law weighed by a classifier, where a rule reads it."""

    def __init__(
        self,
        guidance: ClassifierGuidance,
        lm: Guidable,
        present: Bool[Tensor, "B L"] | None,
        *,
        is_cpu: bool,
    ) -> None:
        super().__init__(lm.denoise, present, is_cpu=is_cpu)
        self.guidance = guidance
        self.classifier = guidance.classifier
        self.lm = lm
        self.is_cpu = is_cpu

    def __call__(
        self, xt: Int[Tensor, "b L"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b L V"]:
        """Give the weighed law."""
        return self._weighed(xt, time, rows, xt == self.lm.mask_id)

    def at(
        self,
        xt: Int[Tensor, "b L"],
        time: Float64[Tensor, " b"],
        rows: Int[Tensor, " b"],
        wanted: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "b L V"]:
        """Give it where `wanted`, and -inf for every token elsewhere."""
        weighed = self._weighed(xt, time, rows, wanted)
        return weighed.masked_fill(~wanted.unsqueeze(-1), -torch.inf)

    def _weighed(self, xt: Tensor, time: Tensor, rows: Tensor, wanted: Tensor) -> Tensor:
        log_probs = super().__call__(xt, time, rows)
        present = self._present(rows)
        own_time = None
        if self.classifier.sees_time:
            # the same share of masks may be another time in the schedule of the classifier.
            alpha = self.lm.schedule.alpha(time.double())
            own_time = self.classifier.schedule.time_of(alpha).clamp(0, 1)
        if self.guidance.order == "exact":
            ratios = self._exact(xt, own_time, present, wanted)
        else:
            ratios = self._first_order(xt, own_time, present)
        ratios = ratios[..., : log_probs.shape[-1]]
        # networks may fill their vocabularies up, each in its own way; no real token is out there.
        ratios = functional.pad(ratios, (0, log_probs.shape[-1] - ratios.shape[-1]))
        return classifier_based(log_probs, ratios.to(log_probs.dtype), self.guidance.gamma)

    def _exact(
        self, xt: Tensor, time: Tensor | None, present: Tensor | None, wanted: Tensor
    ) -> Tensor:
        """Ratios from a classification of every change of one hidden token."""
        edits = int((wanted & (xt == self.lm.mask_id)).sum()) * int(self.lm.real_tokens.sum())
        self.extra_calls += 2
        self.extra_rows += len(xt) + edits
        alone = torch.arange(len(xt), device=xt.device).split(1 if self.is_cpu else len(xt))
        return torch.cat(
            [
                exact_ratios(
                    partial(self._classify, time=_of(time, group), present=_of(present, group)),
                    xt[group],
                    real_tokens=self.lm.real_tokens,
                    mask_id=self.lm.mask_id,
                    wanted=wanted[group],
                )
                for group in alone
            ]
        )

    def _classify(
        self, tokens: Tensor, rows: Tensor, *, time: Tensor | None, present: Tensor | None
    ) -> Tensor:
        """Give log p(y | tokens) for sequences that come from `rows`."""
        size = EDITS_PER_CALL_CPU if self.is_cpu else EDITS_PER_CALL
        places = torch.arange(len(tokens), device=tokens.device)
        if not self.is_cpu:
            places = torch.cat([places, places[-1:].expand(-len(tokens) % size)])
        parts = [
            self._of_label(
                self.classifier.log_probs(
                    tokens[group], _of(time, rows[group]), _of(present, rows[group])
                )
            )
            for group in places.split(size)
        ]
        return torch.cat(parts)[: len(tokens)]

    def _first_order(self, xt: Tensor, time: Tensor | None, present: Tensor | None) -> Tensor:
        """Ratios from one gradient."""
        self.extra_calls += 1
        self.extra_rows += len(xt)
        num_tokens, dtype = self.classifier.soft_like
        parts = [
            first_order_ratios(
                partial(self._classify_soft, xt[group], _of(time, group), _of(present, group)),
                xt[group],
                num_tokens=num_tokens,
                dtype=dtype,
            )
            for group in self._groups(xt)
        ]
        return torch.cat(parts)[: len(xt)]

    def _classify_soft(
        self, xt: Tensor, time: Tensor | None, present: Tensor | None, soft: Tensor
    ) -> Tensor:
        return self._of_label(self.classifier.log_probs(xt, time, present, soft=soft))

    def _of_label(self, log_probs: Tensor) -> Tensor:
        return log_probs[:, self.guidance.label]


def _of(values: Tensor | None, rows: Tensor) -> Tensor | None:
    """Values of some rows, if there are any."""
    return None if values is None else values[rows]
