"""Guided generation: one function from the input of a model to guided log-probabilities.

The formulas are in `dnamdlm.diffusion.guidance`. A sampler calls the guidance in place of the
model, so that it works with every step rule.

Shapes: B sequences, of which b take part in a call, L positions, V vocabulary, C classes.

Source: Schiff et al. 2024 (arXiv:2412.10193).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args, runtime_checkable

from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional

from dnamdlm.diffusion.guidance import (
    classifier_based,
    classifier_free,
    exact_ratios,
    first_order_ratios,
)
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.sampling.network_calls import (
    Denoising,
    NetworkCalls,
    NetworkInput,
    OneLabel,
    in_groups,
    rows_per_call,
)

GuideOrder = Literal["exact", "first_order"]

# Rows per call of a classifier. On a GPU the last call is filled up with copies, so that rounding
# does not depend on how many there are; on a CPU all rows of a call come from one sequence.
EDITS_PER_CALL_CPU = 32
EDITS_PER_CALL = 256


@runtime_checkable
class Guidance(Protocol):
    """A way to steer generation towards a class, or towards numbers."""

    def check(self, lm: Denoising) -> None:
        """Refuse a model that cannot be steered in this way, with a `ConfigError`."""
        ...

    def __call__(self, calls: NetworkCalls, inputs: NetworkInput) -> LogProbs:
        """Guided log p(x0 | xt), read at `inputs.wanted` alone.

        Args:
            calls: the model; it counts the calls of all networks.
            inputs: sequences with masks, and their times.
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

    A mixture of two distributions is normalised, whatever totals the model gives.

    Attributes:
        label: index of the class.
        gamma: 0 is without the class, 1 is p(x | y), above 1 sharpens what sets the class apart.
        corrected: leave the mixture unnormalised, for a population that draws from
            p(x | y)^gamma p(x)^(1 - gamma); a step rule alone draws from another distribution.

    Example:
        >>> ClassGuidance(label=2, gamma=1.5)
        ClassGuidance(label=2, gamma=1.5, corrected=False)
    """

    label: int
    gamma: float = 1.0
    corrected: bool = False

    def check(self, lm: Denoising) -> None:
        """Refuse a model without this class, or a strength below 0."""
        check_gamma(self.gamma)
        if lm.num_classes == 0:
            raise ConfigError(
                "this model was trained without classes and cannot be given a label; train one "
                "with backbone.num_classes, or guide it with a classifier"
            )
        if not 0 <= self.label < lm.num_classes:
            raise ConfigError(
                f"label={self.label} is not a class of this model, which has {lm.num_classes}, "
                "counted from 0"
            )

    def __call__(self, calls: NetworkCalls, inputs: NetworkInput) -> LogProbs:
        """The model given the class, without it, or a mixture of both."""
        return mixed(calls, inputs, self.label, self.gamma, corrected=self.corrected)


@dataclass(frozen=True)
class NumberGuidance:
    """Classifier-free guidance, to numbers that the model was trained with.

    Attributes:
        values: standardised, one for each number of the model; nan where it is left open.
        gamma: 0 is without the numbers, 1 is p(x | y), above 1 sharpens what y sets apart.
        corrected: as in `ClassGuidance`.

    Example: two standard deviations above the mean of the first of two numbers.
        >>> NumberGuidance(values=(2.0, math.nan), gamma=1.5)
        NumberGuidance(values=(2.0, nan), gamma=1.5, corrected=False)
    """

    values: tuple[float, ...]
    gamma: float = 1.0
    corrected: bool = False

    def check(self, lm: Denoising) -> None:
        """Refuse a model of other numbers, numbers that are all open, or a strength below 0."""
        check_gamma(self.gamma)
        if lm.num_numbers == 0:
            raise ConfigError(
                "this model was trained without numbers and cannot be given one; train one with "
                "data=table and backbone.num_numbers"
            )
        if len(self.values) != lm.num_numbers:
            raise ConfigError(
                f"{len(self.values)} numbers are given, and this model is conditioned on "
                f"{lm.num_numbers}; give each, nan where it is left open"
            )
        if all(map(math.isnan, self.values)) or any(map(math.isinf, self.values)):
            raise ConfigError(f"the numbers {self.values} must be finite, and one at least given")

    def __call__(self, calls: NetworkCalls, inputs: NetworkInput) -> LogProbs:
        """The model given the numbers, without them, or a mixture of both."""
        return mixed(calls, inputs, self.values, self.gamma, corrected=self.corrected)


def mixed(
    calls: NetworkCalls,
    inputs: NetworkInput,
    label: OneLabel,
    gamma: float,
    *,
    corrected: bool = False,
) -> LogProbs:
    """What a step rule takes of a model given a class or numbers, without, or of their mixture.

    Args:
        calls: the model.
        inputs: sequences with masks.
        label: of all rows.
        gamma: strength; 0 and 1 take one call of the network, others two.
        corrected: leave the mixture unnormalised.
    """
    if gamma in (0.0, 1.0):
        return calls.for_rule(inputs, label if gamma else None)
    given, free = calls.normalized(inputs, label), calls.normalized(inputs)

    def both(given: Tensor, free: Tensor) -> Tensor:
        return classifier_free(given, free, gamma, normalized=not corrected)

    return given.changed(both, free.values)


@dataclass(frozen=True)
class ClassifierGuidance:
    """Guidance of any masked diffusion model by a classifier of noisy sequences.

    Attributes:
        classifier: in evaluation mode, on the device of the model.
        label: index of the class among those of the classifier.
        gamma: strength; 1 is Bayes' rule.
        order: 'exact' classifies every change of one hidden token, which is Bayes' rule for a
            token; 'first_order' takes all of these ratios from one gradient.

    Example: `lm.generate(keys, 200, guidance=ClassifierGuidance(classifier, label=1))`, with a
    classifier of other classes than those of the model, or for a model without classes.
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.schedules import LogLinear
        >>> from dnamdlm.diffusion.times import Stratified
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> classifier = NoisyClassifier(
        ...     DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), num_classes=3
        ... )
        >>> ClassifierGuidance(classifier.eval(), label=1, gamma=2.0).order
        'exact'
    """

    classifier: NoisyClassifier
    label: int
    gamma: float = 1.0
    order: GuideOrder = "exact"

    def check(self, lm: Denoising) -> None:
        """Refuse a classifier of other tokens, an unknown class, or a strength below 0."""
        check_gamma(self.gamma)
        if self.order not in get_args(GuideOrder):
            raise ConfigError(
                f"guide_order={self.order} is unknown; choose {' or '.join(get_args(GuideOrder))}"
            )
        if self.classifier.mask_id != lm.mask_id:
            raise ConfigError("the classifier reads other token ids than the model; train it again")
        own, other = self.classifier.uniform_share, getattr(lm, "uniform_share", 0.0)
        if own != other:
            raise ConfigError(
                f"the classifier was trained with lm.uniform_share={own:g} and the noise of the "
                f"model has {other:g}; train a classifier with lm=classifier_uniform "
                f"lm.uniform_share={other:g}, or lm=classifier for masks"
            )
        if not 0 <= self.label < self.classifier.num_classes:
            raise ConfigError(
                f"guide_label={self.label} is not a class of the classifier, which has "
                f"{self.classifier.num_classes}, counted from 0"
            )

    def __call__(self, calls: NetworkCalls, inputs: NetworkInput) -> LogProbs:
        """Log-probabilities of the model, weighted by the classifier and normalised."""
        if self.gamma == 0:
            return calls.for_rule(inputs)
        return self.weighed(calls.normalized(inputs), calls, inputs)

    def weighed(
        self,
        log_probs: LogProbs,
        calls: NetworkCalls,
        inputs: NetworkInput,
        symbols: Bool[Tensor, " V"] | None = None,
    ) -> LogProbs:
        """A distribution of each token, weighted by the classifier and normalised.

        Args:
            log_probs: the distributions.
            calls: counts the calls of the classifier.
            inputs: noisy sequences, and their times.
            symbols: for noise that replaces tokens: the tokens that a position may become and may
                have; None for masks, which become real tokens.
        """
        time = self._own_time(calls.lm, inputs)
        if self.order == "exact":
            ratios = self._exact(calls, inputs, time, symbols)
        else:
            ratios = self._first_order(calls, inputs, time)
        ratios = log_probs.positions.of_positions(ratios)
        size = log_probs.values.shape[-1]
        # networks may fill their vocabularies up, each in its own way; these ids are never real.
        ratios = functional.pad(ratios[..., :size], (0, max(0, size - ratios.shape[-1])))

        def both(values: Tensor, ratios: Tensor) -> Tensor:
            return classifier_based(values, ratios.to(values.dtype), self.gamma)

        return log_probs.changed(both, ratios)

    def _own_time(self, lm: Denoising, inputs: NetworkInput) -> Tensor | None:
        """When the classifier was trained on the same share of masks."""
        if not self.classifier.sees_time:
            return None
        alpha = lm.schedule.alpha(inputs.time.double())
        return self.classifier.schedule.time_of(alpha).clamp(0, 1)

    def _exact(
        self,
        calls: NetworkCalls,
        inputs: NetworkInput,
        time: Tensor | None,
        symbols: Tensor | None = None,
    ) -> Tensor:
        """Ratios from a classification of every change of one token that may be exchanged."""
        lm = calls.lm
        hidden = inputs.xt == lm.mask_id if symbols is None else symbols[inputs.xt]
        tried = lm.real_tokens if symbols is None else symbols
        wanted = hidden if inputs.wanted is None else inputs.wanted
        num_edits = int((wanted & hidden).sum()) * int(tried.sum())
        calls.count(2, len(inputs.xt) + num_edits)

        def ratios(
            xt: Tensor,
            time: Tensor | None,
            present: Tensor | None,
            wanted: Tensor,
            hidden: Tensor,
        ) -> Tensor:
            return exact_ratios(
                partial(self._classified, time, present, is_cpu=calls.is_cpu),
                xt,
                real_tokens=tried,
                mask_id=lm.mask_id,
                wanted=wanted,
                editable=hidden,
            )

        size = 1 if calls.is_cpu else len(inputs.xt)
        return in_groups(ratios, inputs.xt, time, inputs.present, wanted, hidden, size=size)

    def _classified(
        self,
        time: Tensor | None,
        present: Tensor | None,
        tokens: Tensor,
        rows: Tensor,
        *,
        is_cpu: bool,
    ) -> Tensor:
        """Give log p(y | tokens) for sequences that come from `rows`."""
        times, padding = (None if x is None else x[rows] for x in (time, present))
        size = EDITS_PER_CALL_CPU
        if not is_cpu:
            size = min(EDITS_PER_CALL, 8 * rows_per_call(tokens.shape[1], is_cpu=False))
        return in_groups(self._of_label(), tokens, times, padding, size=size, fill=not is_cpu)

    def _first_order(
        self, calls: NetworkCalls, inputs: NetworkInput, time: Tensor | None
    ) -> Tensor:
        """Ratios from one gradient."""
        calls.count(1, len(inputs.xt))
        num_tokens, dtype = self.classifier.soft_like

        def ratios(xt: Tensor, time: Tensor | None, present: Tensor | None) -> Tensor:
            classify = self._of_label()
            return first_order_ratios(
                lambda soft: classify(xt, time, present, soft=soft),
                xt,
                num_tokens=num_tokens,
                dtype=dtype,
            )

        size = calls.rows_per_call(inputs.xt.shape[1])
        return in_groups(ratios, inputs.xt, time, inputs.present, size=size)

    def _of_label(self) -> Callable[..., Tensor]:
        """Give log p(y | xt) of the class; arguments as in `NoisyClassifier.log_probs`."""
        return lambda *inputs, **soft: self.classifier.log_probs(*inputs, **soft)[:, self.label]
