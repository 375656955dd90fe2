"""What a masked diffusion model is trained on: one small class per objective.

An objective draws noise from row keys, asks the model for logits or log-probabilities, and returns
nats per token. It holds settings and no parameters, so weights can pass from one objective to the
next. `loss_terms` is what training minimises; an objective with a `bound` of its own also says how
its likelihood is estimated.

Shapes: B sequences, L positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.discrete import reconstruction, step_divergence
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.masking import corrupt, mask_exactly, mask_tokens
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.schedules import Schedule, nelbo_weight
from dnamdlm.diffusion.score_entropy import relative_log_score, score_entropy
from dnamdlm.diffusion.times import TimeSampler, WarpedTimeSampler, draw_times, log_uniform
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import LossTerms
from dnamdlm.lm.places import EVERYWHERE, Places, places_of
from dnamdlm.tokens.vocabulary import Vocabulary


@runtime_checkable
class Denoising(Protocol):
    """What an objective asks of a model.

    Attributes:
        schedule: noise schedule.
        times: how t is drawn in training.
        real_tokens: (V,), True for the tokens that a hidden position can be.
    """

    schedule: Schedule
    times: TimeSampler
    real_tokens: Tensor

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        ...

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        ...

    @property
    def sees_time(self) -> bool:
        """Whether the network is conditioned on time."""
        ...

    def logits(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Tensor | None = None,
        places: Places = EVERYWHERE,
    ) -> Float[Tensor, "P Q V"]:
        """Output of the network at time t; `present` is False at padding."""
        ...

    def denoise(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Tensor | None = None,
        places: Places = EVERYWHERE,
    ) -> Float[Tensor, "P Q V"]:
        """Give log p(x0 | xt) under the SUBS parameterization."""
        ...


@runtime_checkable
class Objective(Protocol):
    """One way to train a masked diffusion model."""

    def check(self, model: Denoising) -> None:
        """Refuse a model that the objective is not defined for, with a `ConfigError`."""
        ...

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """One draw of the loss; randomness is a function of `batch.key`."""
        ...


@runtime_checkable
class BoundedObjective(Objective, Protocol):
    """An objective whose bound of the likelihood is not that of continuous time."""

    def bound(
        self, model: Denoising, batch: Batch, noise: RowNoise, draw: int, draws: int
    ) -> Float[Tensor, "B L"]:
        """One draw of the bound in nats per token, from stratum `draw` of `draws`."""
        ...


def mask_at_time(
    model: Denoising, batch: Batch, t: Tensor, noise: RowNoise, draw: int
) -> Int[Tensor, "B L"]:
    """Hide each valid token independently as at time t."""
    uniforms = noise.uniform(Stream.MASKS, draw, batch.length)
    hidden = 1 - model.schedule.alpha(t)
    return mask_tokens(batch.tokens, hidden, batch.valid, uniforms, mask_id=model.mask_id)


def nats_at_time(
    model: Denoising, batch: Batch, t: Tensor, noise: RowNoise, draw: int
) -> Float[Tensor, "B L"]:
    """Mask independently at time t and weigh the cross-entropy for the bound."""
    xt = mask_at_time(model, batch, t, noise, draw)
    return _surprise(model, batch, xt, t, nelbo_weight(model.schedule, t))


def _hidden(model: Denoising, xt: Tensor) -> Places:
    """The positions of which an objective with carry-over needs a law."""
    return places_of(xt == model.mask_id, len(model.real_tokens))


def _surprise(
    model: Denoising, batch: Batch, xt: Tensor, t: Tensor | None, weight: Tensor
) -> Float[Tensor, "B L"]:
    """Weighted cross-entropy of the hidden tokens."""
    places = _hidden(model, xt)
    nats = masked_nll(
        model.denoise(xt, t, batch.attended, places),
        places.of_positions(batch.tokens),
        places.of_positions(xt),
        places.of_rows(weight),
        mask_id=model.mask_id,
    )
    return places.spread(nats)


def nats_at_count(
    model: Denoising, batch: Batch, place: Tensor, noise: RowNoise, draw: int
) -> Float[Tensor, "B L"]:
    """Mask exactly k of the n valid tokens, k = 1 + floor(n place); weight n / k."""
    num_valid = batch.valid.sum(dim=1)
    count = torch.minimum((num_valid * place).floor().long() + 1, num_valid)
    uniforms = noise.uniform(Stream.MASKS, draw, batch.length)
    xt = mask_exactly(batch.tokens, count, batch.valid, uniforms, mask_id=model.mask_id)
    return _surprise(model, batch, xt, None, num_valid / count.clamp(min=1))


def training_place(model: Denoising, batch: Batch, noise: RowNoise, stream: Stream) -> Tensor:
    """One number per row, uniform over (0, 1) on average over the global batch."""
    return model.times(noise.uniform(stream, 0), batch.row, batch.global_size)


@dataclass(frozen=True)
class ContinuousTime:
    """The bound of continuous time with the SUBS parameterization.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 11.
    """

    def check(self, model: Denoising) -> None:
        """Every model will do."""

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """One draw of the bound at a random time."""
        noise = RowNoise(batch.key)
        u = noise.uniform(Stream.TIMES, 0)
        t, density = draw_times(model.times, model.schedule, u, batch.row, batch.global_size)
        nats = nats_at_time(model, batch, t, noise, draw=0)
        if isinstance(model.times, WarpedTimeSampler):
            nats = nats / density.to(nats.dtype)[:, None]
        return LossTerms(nats, batch.valid)


@dataclass(frozen=True)
class ChangeOfVariables:
    """The bound as an integral over the logarithm of the mask probability: one weight everywhere.

    The mask probability is drawn log-uniformly from `lowest` to the largest of the schedule, and
    the weight is the length of that range. The bound lacks what lies below `lowest`, about that
    share of it. The original shows the uniform number to a network with time conditioning and
    samples with -log alpha; here it is -log alpha in both.

    Attributes:
        lowest: smallest mask probability; mdlm has 9.995e-4, which is 1 - exp(-0.001).

    Source: Sahoo et al. 2024 (arXiv:2406.07524), code of the paper, option change_of_variables.
    """

    lowest: float = 1e-3

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.0 < self.lowest < 1.0:
            raise ConfigError(f"lm.objective.lowest={self.lowest} must lie in (0, 1)")

    def check(self, model: Denoising) -> None:
        """Refuse times whose density would be part of the weight."""
        _refuse_warped(model, "ChangeOfVariables")

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """One draw of the bound at a random mask probability."""
        noise = RowNoise(batch.key)
        place = training_place(model, batch, noise, Stream.TIMES)
        hidden, length = log_uniform(place, self.lowest, self.highest(model.schedule))
        uniforms = noise.uniform(Stream.MASKS, 0, batch.length)
        xt = mask_tokens(batch.tokens, hidden, batch.valid, uniforms, mask_id=model.mask_id)
        t = model.schedule.time_of(1 - hidden)
        weight = torch.full_like(hidden, length)
        return LossTerms(_surprise(model, batch, xt, t, weight), batch.valid)

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

    def check(self, model: Denoising) -> None:
        """Refuse times whose density would be part of the weight."""
        _refuse_warped(model, "SimpleCrossEntropy")

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """The bound to report and the cross-entropy to minimise."""
        noise = RowNoise(batch.key)
        t = training_place(model, batch, noise, Stream.TIMES)
        xt = mask_at_time(model, batch, t, noise, draw=0)
        plain = _surprise(model, batch, xt, t, torch.ones_like(t))
        weight = nelbo_weight(model.schedule, t).to(plain.dtype)
        return LossTerms(plain.detach() * weight[:, None], batch.valid, minimised=plain)


@dataclass(frozen=True)
class ExactCount:
    """The bound with exactly k tokens masked, k uniform over 1 .. n: lower variance, no schedule.

    With `power` p the share of masked tokens is u^p for uniform u, and the loss is weighed by
    p u^(p-1), so that its expectation is the same: every k has total weight 1/n. Above 1 the
    nearly clean sequences, whose few masked tokens make the loss noisy, are drawn more often.

    Attributes:
        power: exponent of the share of masked tokens, at least 1.

    Source: Ou et al. 2024 (arXiv:2406.03736), lambda- and k-denoising cross-entropy.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        """Check the exponent."""
        if not 1.0 <= self.power < float("inf"):
            raise ConfigError(f"lm.objective.power={self.power} must be at least 1")

    def check(self, model: Denoising) -> None:
        """Refuse a network that wants to know the time."""
        _refuse_time(model, "ExactCount")
        _refuse_warped(model, "ExactCount")

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """One draw of the bound at a random count."""
        noise = RowNoise(batch.key)
        place = training_place(model, batch, noise, Stream.COUNTS)
        nats = nats_at_count(model, batch, place**self.power, noise, draw=0)
        weight = (self.power * place ** (self.power - 1)).to(nats.dtype)
        return LossTerms(nats * weight[:, None], batch.valid)


@dataclass(frozen=True)
class DiscreteTime:
    """The bound of a process with T steps, with the ablations of the paper.

    With both switches on it is SUBS with T steps; with both off it is D3PM with absorbing noise.
    Without carry-over the network also has to reproduce what it sees, at the cost of a second call.
    At time 0 every token is visible, whatever the schedule says.

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

    def check(self, model: Denoising) -> None:
        """Refuse times that do not fall evenly on the steps."""
        _refuse_warped(model, "DiscreteTime")

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """One draw of the bound at a random step."""
        noise = RowNoise(batch.key)
        place = training_place(model, batch, noise, Stream.TIMES)
        return LossTerms(self._nats(model, batch, place, noise, draw=0), batch.valid)

    def bound(
        self, model: Denoising, batch: Batch, noise: RowNoise, draw: int, draws: int
    ) -> Float[Tensor, "B L"]:
        """The bound at one step; exact in the steps where `draws` is a multiple of T."""
        place = (noise.uniform(Stream.TIMES, draw) + draw) / draws
        return self._nats(model, batch, place, noise, draw)

    def _nats(
        self, model: Denoising, batch: Batch, place: Tensor, noise: RowNoise, draw: int
    ) -> Tensor:
        step = ((place * self.num_steps).floor() + 1).clamp(max=self.num_steps)
        t, s = step / self.num_steps, (step - 1) / self.num_steps
        xt = mask_at_time(model, batch, t, noise, draw)
        places = _hidden(model, xt)
        divergence = step_divergence(
            self._log_probs(model, batch, xt, t, places),
            places.of_positions(batch.tokens),
            places.of_positions(xt),
            places.of_rows(model.schedule.alpha(t)),
            places.of_rows(torch.where(s > 0, model.schedule.alpha(s), 1.0)),
            mask_id=model.mask_id,
        )
        nats = self.num_steps * places.spread(divergence)
        if self.carry_over:
            return nats
        clean = self._log_probs(model, batch, batch.tokens, torch.zeros_like(t), EVERYWHERE)
        # an unknown base is no token that the network could reproduce.
        return nats + torch.where(batch.valid, reconstruction(clean, batch.tokens), 0.0)

    def _log_probs(
        self, model: Denoising, batch: Batch, xt: Tensor, t: Tensor, places: Places
    ) -> Tensor:
        """The law of each token; what it says at visible positions only reconstruction reads."""
        allowed = model.real_tokens.clone()
        allowed[model.mask_id] = not self.zero_mask
        return restricted(model.logits(xt, t, batch.attended, places), allowed)


@dataclass(frozen=True)
class ScoreEntropy:
    """Denoising score entropy: the outputs are log-ratios that need not be normalised (SEDD).

    Its own bound has a price for scores that are not normalised; `denoise` normalises them.

    Source: Lou et al. 2023 (arXiv:2310.16834).
    """

    def check(self, model: Denoising) -> None:
        """Every model will do."""

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """One draw of the bound at a random time."""
        noise = RowNoise(batch.key)
        u = noise.uniform(Stream.TIMES, 0)
        t, density = draw_times(model.times, model.schedule, u, batch.row, batch.global_size)
        nats = self._nats(model, batch, t, noise, draw=0)
        return LossTerms(nats / density.to(nats.dtype)[:, None], batch.valid)

    def bound(
        self, model: Denoising, batch: Batch, noise: RowNoise, draw: int, draws: int
    ) -> Float[Tensor, "B L"]:
        """Score entropy at one time."""
        t = (noise.uniform(Stream.TIMES, draw) + draw) / draws
        return self._nats(model, batch, t, noise, draw)

    def _nats(
        self, model: Denoising, batch: Batch, t: Tensor, noise: RowNoise, draw: int
    ) -> Tensor:
        xt = mask_at_time(model, batch, t, noise, draw)
        places = _hidden(model, xt)
        logits = model.logits(xt, t, batch.attended, places)
        nats = score_entropy(
            relative_log_score(logits, real_tokens=model.real_tokens),
            places.of_positions(batch.tokens),
            places.of_positions(xt),
            places.of_rows(nelbo_weight(model.schedule, t)),
            mask_id=model.mask_id,
        )
        return places.spread(nats)


@dataclass(frozen=True)
class MaskedPrediction:
    """Masked language modelling as in BERT: a pre-training loss, not a likelihood.

    The loss is the mean surprise of the chosen tokens, so training figures say how well single
    tokens are restored at one rate. Validation and evaluation report the bound that the same
    network has as a diffusion model, which is what it was not trained for.

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

    def check(self, model: Denoising) -> None:
        """Refuse a network that wants to know the time."""
        _refuse_time(model, "MaskedPrediction")

    def loss_terms(self, model: Denoising, batch: Batch) -> LossTerms:
        """Surprise of the chosen tokens over the rate, so that its mean is per token."""
        xt, chosen = corrupt(
            batch.tokens,
            batch.valid,
            RowNoise(batch.key).uniform(Stream.CORRUPTION, 0, batch.length, 3),
            real_ids=model.vocabulary.real_ids,
            mask_id=model.mask_id,
            rate=self.rate,
            mask_share=self.mask_share,
            random_share=self.random_share,
        )
        places = places_of(chosen, len(model.real_tokens))
        logits = model.logits(xt, None, batch.attended, places)
        tokens = places.of_positions(batch.tokens).unsqueeze(-1)
        surprise = -restricted(logits, model.real_tokens).gather(-1, tokens).squeeze(-1)
        surprise = torch.where(places.of_positions(chosen), surprise / self.rate, 0.0)
        return LossTerms(places.spread(surprise), batch.valid)


def _refuse_time(model: Denoising, name: str) -> None:
    if model.sees_time:
        raise ConfigError(
            f"the objective {name} has no time to show to a network with time_conditioning=true; "
            "use backbone.time_conditioning=false"
        )


def _refuse_warped(model: Denoising, name: str) -> None:
    if isinstance(model.times, WarpedTimeSampler):
        raise ConfigError(
            f"times={type(model.times).__name__} does not suit the objective {name}; use "
            "times=stratified or times=uniform"
        )
