"""What a masked diffusion model is trained on: one small class per objective.

An objective says how tokens are hidden and how the prediction of them is scored (`noising.Draw`);
the model calls the network. It holds settings and no parameters, so that weights can pass from one
objective to the next. `hide` makes the draws whose loss is minimised; an objective with
`hide_for_bound` has its own bound of the likelihood.

Shapes: B sequences, L positions, V vocabulary; (P, Q) are the positions of a `Places`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.discrete import reconstruction, step_divergence
from dnamdlm.diffusion.mask_shares import MaskShares, checked_density
from dnamdlm.diffusion.masking import corrupt
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.schedules import Schedule, nelbo_weight
from dnamdlm.diffusion.score_entropy import relative_log_score, score_entropy
from dnamdlm.diffusion.times import log_uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.noising import Draw, NoiseProcess
from dnamdlm.lm.objective_times import refuse_time, refuse_warped, stratified_place, training_times
from dnamdlm.lm.places import Places


@runtime_checkable
class Objective(Protocol):
    """One way to train a masked diffusion model.

    An objective from outside the package needs these two methods.

    Example:
        >>> class HalfHidden:
        ...     def check(self, process):
        ...         pass
        ...
        ...     def hide(self, process, batch):
        ...         half = torch.full((len(batch),), 0.5)
        ...         xt = process.hide_with(batch, half, draw=0)
        ...         t = process.schedule.time_of(half)
        ...         return [process.cross_entropy(batch, xt, t, weight=1 / half)]
        >>> isinstance(HalfHidden(), Objective)
        True
    """

    def check(self, process: NoiseProcess) -> None:
        """Refuse a noise process that the objective is not defined for, with a `ConfigError`."""
        ...

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """Random inputs of the network whose losses add up; noise is a function of `batch.key`."""
        ...


@runtime_checkable
class BoundedObjective(Objective, Protocol):
    """An objective whose bound of the likelihood is not that of continuous time."""

    def hide_for_bound(
        self, process: NoiseProcess, batch: Batch, draw: int, draws: int
    ) -> Sequence[Draw]:
        """Inputs whose losses add up to one draw of the bound, from stratum `draw` of `draws`."""
        ...


@dataclass(frozen=True)
class ContinuousTime:
    """The bound of continuous time with the SUBS parameterization.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 11.
    """

    def check(self, process: NoiseProcess) -> None:
        """Every noise process is accepted."""

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """One draw of the bound at a random time."""
        t, density = training_times(process, batch)
        return [process.bound_at_time(batch, t, draw=0).over_rows(density)]


@dataclass(frozen=True)
class ChangeOfVariables:
    """The bound as an integral over the logarithm of the mask probability: one weight everywhere.

    The mask probability is drawn log-uniformly from `lowest` to the largest of the schedule, and
    the weight is the length of that range. The bound lacks what lies below `lowest`, about that
    share of it. The original conditions the network on the uniform number in training and on
    -log alpha in sampling; here it is -log alpha in both.

    Attributes:
        lowest: smallest mask probability; mdlm has 9.995e-4, which is 1 - exp(-0.001).

    Source: Sahoo et al. 2024 (arXiv:2406.07524), code of the paper, option change_of_variables.
    """

    lowest: float = 1e-3

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.0 < self.lowest < 1.0:
            raise ConfigError(f"lm.objective.lowest={self.lowest} must lie in (0, 1)")

    def check(self, process: NoiseProcess) -> None:
        """Refuse times whose density would be part of the weight."""
        refuse_warped(process, "ChangeOfVariables")

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """One draw of the bound at a random mask probability."""
        place = process.training_place(batch, Stream.TIMES)
        hidden, length = log_uniform(place, self.lowest, self.highest(process.schedule))
        xt = process.hide_with(batch, hidden, draw=0)
        t = process.schedule.time_of(1 - hidden)
        return [process.cross_entropy(batch, xt, t, torch.full_like(hidden, length))]

    @staticmethod
    def highest(schedule: Schedule) -> float:
        """Mask probability at time 1."""
        return 1 - float(schedule.alpha(torch.ones(1, dtype=torch.float64)))


@dataclass(frozen=True)
class SimpleCrossEntropy:
    """Cross-entropy of the masked tokens, the same weight at every time.

    It gives little weight to nearly clean sequences. What is reported is still the bound of
    continuous time at the same draw.
    """

    def check(self, process: NoiseProcess) -> None:
        """Refuse times whose density would be part of the weight."""
        refuse_warped(process, "SimpleCrossEntropy")

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """The cross-entropy to minimise, with the weight that makes it the bound to report."""
        t = process.training_place(batch, Stream.TIMES)
        xt = process.hide_at(batch, t, draw=0)
        plain = process.cross_entropy(batch, xt, t, torch.ones_like(t))
        return [replace(plain, bound_weight=nelbo_weight(process.schedule, t))]


@dataclass(frozen=True)
class ExactCount:
    """The bound with exactly k tokens masked, k uniform over 1 .. n: lower variance, no schedule.

    With `power` p the share of masked tokens is u^p for uniform u, and the loss is weighted by
    p u^(p-1), so that its expectation is the same: every k has total weight 1/n. Above 1 the
    nearly clean sequences, whose few masked tokens make the loss noisy, are drawn more often.

    With `lowest` r the share is r + (1 - r) u^p: fewer masked tokens, which teach little, are never
    drawn. The loss is then the bound without those counts; likelihoods are those of all counts.

    Attributes:
        power: exponent of the share of masked tokens, at least 1.
        lowest: smallest share of masked tokens in training, in [0, 1).
        ramp_steps: updates until the largest share is 1; until then the loss lacks those above.
        ramp_from: the largest share at the first update.
        complementary: mask each sequence twice: k tokens, and in a second call all others.
        density: relative densities of equal intervals of the share, in place of `power`, by which
            the loss is divided.

    Source: Ou et al. 2024 (arXiv:2406.03736), lambda- and k-denoising cross-entropy.

    Example:
        >>> ExactCount(power=2.0, ramp_steps=100, ramp_from=0.5).shares(20)
        MaskShares(lowest=0.0, highest=0.6, power=2.0, density=None)
    """

    power: float = 1.0
    lowest: float = 0.0
    ramp_steps: int = 0
    ramp_from: float = 0.3
    complementary: bool = False
    density: tuple[float | int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 1.0 <= self.power < float("inf"):
            raise ConfigError(f"lm.objective.power={self.power} must be at least 1")
        if not 0.0 <= self.lowest < 1.0:
            raise ConfigError(f"lm.objective.lowest={self.lowest} must lie in [0, 1)")
        if self.ramp_steps < 0:
            raise ConfigError(f"lm.objective.ramp_steps={self.ramp_steps} must be at least 0")
        if self.ramp_steps and not self.lowest < self.ramp_from <= 1.0:
            raise ConfigError(
                f"lm.objective.ramp_from={self.ramp_from} must lie in ({self.lowest:g}, 1], above "
                "lm.objective.lowest"
            )
        if self.density is not None:
            object.__setattr__(self, "density", checked_density(self.density, self.power))

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        return {} if self.ramp_steps else {"ramp_from": "nothing rises with ramp_steps=0"}

    def check(self, process: NoiseProcess) -> None:
        """Refuse a network with time conditioning, and warped times."""
        refuse_time(process, "ExactCount")
        refuse_warped(process, "ExactCount")

    def shares(self, step: int | None) -> MaskShares:
        """How the share of masked tokens is drawn at an update; None is after the ramp."""
        highest = 1.0
        if step is not None and step < self.ramp_steps:
            highest = self.ramp_from + (1.0 - self.ramp_from) * step / self.ramp_steps
        return MaskShares(self.lowest, highest, self.power, self.density)

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """One draw of the bound at a random count, or two that are complementary."""
        place = process.training_place(batch, Stream.COUNTS)
        shares = self.shares(batch.step)
        share, weight = shares.drawn(place)
        drawn = process.bound_at_count(batch, share, draw=0)
        if not self.complementary:
            return [drawn.times_rows(weight)]
        count = (process.is_hidden(drawn.xt) & batch.valid).sum(dim=1)
        factors = shares.pair_weights(count, batch.valid.sum(dim=1))
        both = drawn, process.bound_of_rest(batch, drawn.xt)
        return [part.times_rows(by) for part, by in zip(both, factors, strict=True)]


@dataclass(frozen=True)
class DiscreteTime:
    """The bound of a process with T steps, with the ablations of the paper.

    With both switches on it is SUBS with T steps; with both off it is D3PM with absorbing noise.
    Without carry-over the network also has to reconstruct the visible tokens, which takes a second
    call. At time 0 every token is visible, whatever the schedule says.

    Attributes:
        num_steps: T.
        carry_over: visible tokens are copied, so that nothing is left to reconstruct.
        zero_mask: the mask is never predicted.

    Source: Austin et al. 2021 (arXiv:2107.03006); Sahoo et al. 2024 (arXiv:2406.07524), table 8.
    """

    num_steps: int = 1000
    carry_over: bool = True
    zero_mask: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.num_steps < 1:
            raise ConfigError(f"lm.objective.num_steps={self.num_steps} must be at least 1")

    def check(self, process: NoiseProcess) -> None:
        """Refuse times that do not fall evenly on the steps."""
        refuse_warped(process, "DiscreteTime")

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """One draw of the bound at a random step."""
        return self._draws(process, batch, process.training_place(batch, Stream.TIMES), draw=0)

    def hide_for_bound(
        self, process: NoiseProcess, batch: Batch, draw: int, draws: int
    ) -> Sequence[Draw]:
        """The bound at one step; exact in the steps where `draws` is a multiple of T."""
        return self._draws(process, batch, stratified_place(batch, draw, draws), draw)

    def _draws(
        self, process: NoiseProcess, batch: Batch, place: Tensor, draw: int
    ) -> Sequence[Draw]:
        step = ((place * self.num_steps).floor() + 1).clamp(max=self.num_steps)
        t, s = step / self.num_steps, (step - 1) / self.num_steps
        alpha_t = process.schedule.alpha(t)
        alpha_s = torch.where(s > 0, process.schedule.alpha(s), 1.0)
        allowed = process.real_tokens
        if not self.zero_mask:
            allowed = allowed.index_fill(0, torch.full((1,), process.mask_id, device=t.device), 1)
        xt = process.hide_at(batch, t, draw)

        def divergence(logits: Tensor, places: Places) -> Tensor:
            return self.num_steps * step_divergence(
                restricted(logits, allowed),
                places.of_positions(batch.tokens),
                places.of_positions(xt),
                places.of_rows(alpha_t),
                places.of_rows(alpha_s),
                mask_id=process.mask_id,
            )

        def surprise(logits: Tensor, places: Places) -> Tensor:
            nats = reconstruction(restricted(logits, allowed), places.of_positions(batch.tokens))
            # an unknown base is not a token that the network could reproduce.
            return torch.where(places.of_positions(batch.valid), nats, 0.0)

        hidden = Draw(xt, t, xt == process.mask_id, divergence)
        if self.carry_over:
            return [hidden]
        return [hidden, Draw(batch.tokens, torch.zeros_like(t), None, surprise)]


@dataclass(frozen=True)
class ScoreEntropy:
    """Denoising score entropy: the outputs are log-ratios that need not be normalised (SEDD).

    Its own bound adds a cost for scores that are not normalised; `denoise` normalises them.

    Source: Lou et al. 2023 (arXiv:2310.16834).
    """

    def check(self, process: NoiseProcess) -> None:
        """Every noise process is accepted."""

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """One draw of the bound at a random time."""
        t, density = training_times(process, batch)
        return [self._at_time(process, batch, t, draw=0).over_rows(density)]

    def hide_for_bound(
        self, process: NoiseProcess, batch: Batch, draw: int, draws: int
    ) -> Sequence[Draw]:
        """Score entropy at one time."""
        return [self._at_time(process, batch, stratified_place(batch, draw, draws), draw)]

    def _at_time(self, process: NoiseProcess, batch: Batch, t: Tensor, draw: int) -> Draw:
        xt = process.hide_at(batch, t, draw)
        weight = nelbo_weight(process.schedule, t)

        def loss(logits: Tensor, places: Places) -> Tensor:
            return score_entropy(
                relative_log_score(logits, real_tokens=process.real_tokens),
                places.of_positions(batch.tokens),
                places.of_positions(xt),
                places.of_rows(weight),
                mask_id=process.mask_id,
            )

        return Draw(xt, t, xt == process.mask_id, loss)


@dataclass(frozen=True)
class MaskedPrediction:
    """Masked language modelling as in BERT: a pre-training loss, not a likelihood.

    The loss is the mean surprise of the chosen tokens, so that training figures say how well single
    tokens are restored at one rate. Validation and evaluation report the bound of the same network
    as a diffusion model, for which it was not trained.

    Attributes:
        rate: probability that a token is chosen.
        mask_share: share of the chosen tokens that are masked.
        random_share: share that becomes a random real token; the others stay.

    Source: Devlin et al. 2018 (arXiv:1810.04805); Sahoo et al. 2024 (arXiv:2406.07524), D.7.
    """

    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0.0 < self.rate <= 1.0:
            raise ConfigError(f"lm.objective.rate={self.rate} must lie in (0, 1]")
        shares = (self.mask_share, self.random_share)
        if min(shares) < 0.0 or sum(shares) > 1.0 + 1e-9:
            raise ConfigError(
                "lm.objective.mask_share and random_share must be at least 0 and add up to at "
                f"most 1, got {self.mask_share} and {self.random_share}"
            )

    def check(self, process: NoiseProcess) -> None:
        """Refuse a network with time conditioning."""
        refuse_time(process, "MaskedPrediction")

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """Surprise of the chosen tokens over the rate, so that its mean is per token."""
        xt, chosen = corrupt(
            batch.tokens,
            batch.valid,
            RowNoise(batch.key).uniform(Stream.CORRUPTION, 0, batch.length, 3),
            real_ids=process.vocabulary.real_ids,
            mask_id=process.mask_id,
            rate=self.rate,
            mask_share=self.mask_share,
            random_share=self.random_share,
        )

        def loss(logits: Tensor, places: Places) -> Tensor:
            tokens = places.of_positions(batch.tokens).unsqueeze(-1)
            log_probs = restricted(logits, process.real_tokens)
            surprise = -log_probs.gather(-1, tokens).squeeze(-1)
            return torch.where(places.of_positions(chosen), surprise / self.rate, 0.0)

        return [Draw(xt, None, chosen, loss)]
