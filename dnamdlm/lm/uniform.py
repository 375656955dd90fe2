"""Diffusion by noise that replaces tokens: uniform noise, or a hybrid of it and masks.

The network sees sequences in which some tokens are other tokens, and must find out which. So it can
change any token at any time, which masked diffusion cannot, and is worse at likelihood.

Shapes: B sequences, L positions, V outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.diffusion.uniform_noise import check_share, noise_probs, replace_tokens, reverse_probs
from dnamdlm.diffusion.uniform_steps import Replacing, replaced_process
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classes import Label
from dnamdlm.lm.diffusion_model import DiffusionModel, loss_of, terms_of
from dnamdlm.lm.estimators import bound_draws
from dnamdlm.lm.language_model import LossTerms, TokenLikelihood
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.model_parts import checked_start, evaluating, network_of, present_of
from dnamdlm.lm.noising import Draw, NoiseProcess
from dnamdlm.lm.objectives import ContinuousTime, Objective
from dnamdlm.lm.places import EVERYWHERE, Places, places_of
from dnamdlm.lm.sampling.class_guidance import Guidance
from dnamdlm.lm.sampling.network_calls import NetworkCalls, rows_held
from dnamdlm.lm.sampling.noise_levels import check_level, level_times
from dnamdlm.lm.sampling.uniform_generation import CleanPredictions, GuidedPredictor
from dnamdlm.lm.uniform_noising import ReplacingProcess, ReplacingSteps
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.vocabulary import Vocabulary


class UniformDiffusionLM(DiffusionModel):
    """Diffusion by uniform or hybrid noise: a network, a schedule and the share of uniform noise.

    The network should be conditioned on time (`backbone.time_conditioning`): it cannot see how many
    tokens are noise, and what it predicts depends on that. Without, the bound is still a bound.

    With `uniform_share=0` every method gives what `MaskedDiffusionLM` gives, bit for bit.

    Source: Schiff et al. 2024 (arXiv:2412.10193), UDLM; von Ruette et al. 2025 (arXiv:2503.04482),
    whose hybrid noise has a share that depends on time, where it is constant here.

    Example:
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.randomness import row_keys
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> backbone = DiT(12, 16, num_blocks=1, num_heads=2, time_conditioning=True)
        >>> lm = UniformDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY)
        >>> keys = row_keys(seed=1, index=torch.arange(3))
        >>> lm.generate(keys, length=10, num_steps=5).tokens.shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        backbone: Backbone | nn.Module,
        vocabulary: Vocabulary,
        schedule: Schedule | None = None,
        times: TimeSampler | None = None,
        objective: Objective | None = None,
        *,
        uniform_share: float | int = 1.0,
        label_dropout: float | int = 0.1,
    ) -> None:
        """Join the parts.

        Args:
            backbone: as in `MaskedDiffusionLM`.
            vocabulary: meaning of the ids.
            schedule: noise schedule, the probability that a token is kept; None is `LogLinear()`.
            times: how t is drawn in training; None is `Stratified()`.
            objective: `ContinuousTime`, which None is, or `ReplacingSteps`.
            uniform_share: probability that noise is a real token, in [0, 1]; else it is the mask.
            label_dropout: as in `MaskedDiffusionLM`.

        Raises:
            ConfigError: if the share lies outside [0, 1], or the backbone or the objective does not
                suit the noise.
        """
        check_share(uniform_share)
        backbone = network_of(backbone, vocabulary)
        if getattr(backbone, "causal", False):
            raise ConfigError(
                "this backbone sees only the past, and diffusion needs both sides; use "
                "backbone=dit, or lm=ar for an autoregressive model"
            )
        is_suitable = objective is None or isinstance(objective, ContinuousTime | ReplacingSteps)
        if uniform_share > 0 and not is_suitable:
            raise ConfigError(
                f"the objective {type(objective).__name__} is for masks, and this noise replaces "
                "tokens; use the objective ContinuousTime or ReplacingSteps"
            )
        # before the objective is checked against the process.
        self.uniform_share = float(uniform_share)
        super().__init__(
            backbone, vocabulary, schedule, times, objective,
            label_dropout=label_dropout, experts=None,
        )  # fmt: skip

    @property
    def process(self) -> NoiseProcess:
        """The noise process of a window."""
        process = self._masking()
        if self.uniform_share == 0:
            return process
        return ReplacingProcess(
            process.schedule,
            process.times,
            process.vocabulary,
            process.real_tokens,
            process.sees_time,
            self.uniform_share,
        )

    @property
    def noise(self) -> Float64[Tensor, " V"]:
        """The law of the noise, see `noise_probs`."""
        return noise_probs(self.real_tokens, self.mask_id, self.uniform_share)

    def chosen_estimator(self, estimator: str) -> str:
        """The estimator with `auto` resolved; a `ConfigError` if the model does not have it."""
        if self.uniform_share == 0:
            return super().chosen_estimator(estimator)
        if estimator == "auto":
            estimator = "objective" if isinstance(self.objective, ReplacingSteps) else "time"
        chosen = super().chosen_estimator(estimator)
        if chosen not in ("time", "objective"):
            raise ConfigError(
                f"estimator={estimator} reveals masks, and the noise of this model replaces "
                "tokens; use estimator=time"
            )
        return chosen

    def as_masked(self) -> MaskedDiffusionLM:
        """The same network as a model of masks, for `uniform_share=0`.

        Raises:
            ConfigError: if the share is another.
        """
        if self.uniform_share > 0:
            raise ConfigError(
                f"a model with uniform_share={self.uniform_share} replaces tokens, and this needs "
                "one that masks them; use a model of lm=mdlm"
            )
        masked = MaskedDiffusionLM(
            self.backbone,
            self._vocabulary,
            self.schedule,
            self.times,
            self.objective,
            label_dropout=self.label_dropout,
        )
        return masked.train(self.training)

    def predict(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        places: Places = EVERYWHERE,
        *,
        label: Label = None,
    ) -> Float[Tensor, "P Q V"]:
        """Give log c, the distribution of each clean token given all other noisy tokens.

        Args:
            xt: noisy ids.
            time: t in [0, 1] per row; needed only by a network with time conditioning.
            present: False at padding; None means no padding.
            places: positions that are wanted; (P, Q) is (B, L) for all.
            label: class of each row, or of all rows; None is no class.
        """
        with computing_on(xt.device):
            logits = places.logits(self.backbone, *self._inputs(xt, time, present, label))
        return restricted(logits, self.real_tokens)

    def denoise(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"],
        present: Bool[Tensor, "B L"] | None = None,
        *,
        label: Label = None,
    ) -> Float64[Tensor, "B L V"]:
        """Give log p(x0 | xt) at time t, in which the token that is seen counts, too.

        Args:
            xt: noisy ids, each a real token or the mask.
            time: t in [0, 1] per row; arguments as in `predict`.
            present: False at padding.
            label: class of each row, or of all rows.
        """
        alpha = self.schedule.alpha(time.double())
        probs = self.predict(xt, time, present, label=label).double().exp()
        return reverse_probs(probs, xt, alpha, torch.ones_like(alpha), self.noise).log()

    def hidden(
        self, batch: Batch, *, soft: Float[Tensor, "B L V"] | None = None
    ) -> Float[Tensor, "B L D"]:
        """Last hidden states of clean sequences, at time 0; `soft` as in `SoftEncoder`."""
        time = torch.zeros(len(batch), device=batch.tokens.device)
        tokens = batch.tokens if soft is None else soft
        inputs = self._inputs(tokens, time, batch.attended, batch.label)
        with computing_on(batch.tokens.device):
            return self.backbone.hidden(*inputs)

    def forward(self, batch: Batch) -> LossTerms:
        """The same as `loss_terms`, for wrappers that call modules."""
        return self.loss_terms(batch)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """One draw of the objective per token; randomness is a function of `batch.key`."""
        label = self._training_label(batch)
        draws = self.objective.hide(self.process, batch)
        losses = [self._nats(draw, batch, label) for draw in draws]
        return loss_of(*terms_of(draws, losses), batch)

    @torch.no_grad()
    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: str = "auto"
    ) -> TokenLikelihood:
        """An estimate of the upper bound of -log p of each row.

        Args:
            batch: windows; only `valid` tokens are replaced and scored.
            draws: noise draws per row, from equal strata of time.
            estimator: `time`, or `objective` for a model of T steps; `auto` is what it was trained
                on.

        Raises:
            ConfigError: if `draws` is below 1, or the model has no such estimator.
        """
        if self.uniform_share == 0:
            return self.as_masked().log_likelihood(batch, draws=draws, estimator=estimator)
        if draws < 1:
            raise ConfigError(f"draws must be at least 1, got {draws}")
        chosen = self.chosen_estimator(estimator)
        with evaluating(self):
            nats, _ = self._mean_nats(
                batch,
                lambda draw: self._nats(draw, batch, batch.label),
                estimator=chosen,
                draws=draws,
            )
        return TokenLikelihood(nats, batch.valid, "upper bound")

    @torch.no_grad()
    def stratum_nats(self, batch: Batch, draw: int, draws: int) -> Float64[Tensor, " B"]:
        """One draw of the bound of each row, from stratum `draw` of `draws` equal ones."""
        chosen = self.chosen_estimator("auto")
        parts = bound_draws(chosen, self.process, self.objective, batch, draw=draw, draws=draws)
        nats = [self._nats(part, batch, batch.label) for part in parts]
        return sum(nats[1:], nats[0]).double().sum(dim=1)

    def log_probs(self, batch: Batch, **settings: Any) -> Tensor:
        """Refused but for `uniform_share=0`: no base is hidden from the network.

        Raises:
            ConfigError: if the share is above 0.
        """
        if self.uniform_share == 0:
            return self.as_masked().log_probs(batch, **settings)
        raise ConfigError(
            "log_probs hides bases by masks, and the noise of this model replaces tokens; use "
            "log_likelihood, or a model trained with lm=mdlm"
        )

    @torch.no_grad()
    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        noise_level: float | None = None,
        batch_size: int = 64,
        rule: Replacing | None = None,
        num_steps: int = 128,
        times: Float64[Tensor, " T1"] | None = None,
        watch: Callable[[int], None] | None = None,
        guidance: Guidance | None = None,
    ) -> Generated:
        """Run the reverse process from noise, or from sequences that are noised to some level.

        A sequence is a function of its key and the settings; the batch it is made in and the other
        keys do not change it.

        Args:
            keys: noise keys, see `row_keys`; their device is that of the result.
            length: tokens per sequence.
            initial: None starts from noise alone. Else sequences to edit, with `noise_level`;
                without, only masks, which noise replaces. What is neither a real token nor a mask
                (N, padding) stays.
            noise_level: probability that a token of `initial` is replaced by noise, in (0, 1].
            batch_size: sequences held at once.
            rule: how tokens are drawn; None is one draw per step.
            num_steps: steps of a linear time grid; not used if `times` is given.
            times: time grid from 1, which is shrunk to begin at the time of the level.
            watch: called after each step with the number of tokens just finished.
            guidance: a class to steer towards; None is the model without a class.

        Raises:
            ConfigError: if a token is given that is not to be edited, a number is out of range, or
                the model cannot be guided in this way.
        """
        self.check_guidance(guidance)
        initial = checked_start(self._vocabulary, len(keys), length, initial, batch_size)
        initial = initial.to(keys.device)
        free = (initial == self.mask_id) | self.real_tokens[initial]
        level = 1.0 if noise_level is None else check_level(noise_level)
        if noise_level is None:
            self.refuse_given(initial)
        times = linear_grid(num_steps) if times is None else times
        times = times if noise_level is None else level_times(self.schedule, level, times)
        is_cpu = keys.device.type == "cpu"
        calls = NetworkCalls(CleanPredictions(self), is_cpu=is_cpu, takes_unnormalized=False)
        batch_size = rows_held(batch_size, length, len(self.real_tokens), is_cpu=is_cpu)
        made = [initial[:0]]
        with evaluating(self):
            for rows in torch.arange(len(keys), device=keys.device).split(batch_size):
                numbers = RowNoise(keys).select(rows)
                present = present_of(initial[rows], self._vocabulary)
                made.append(
                    replaced_process(
                        GuidedPredictor(calls, present, guidance, self.noise > 0),
                        self._noised(initial[rows], free[rows], level, numbers),
                        free[rows],
                        rule=Replacing() if rule is None else rule,
                        schedule=self.schedule,
                        times=times,
                        noise_law=self.noise,
                        noise=numbers,
                        watch=watch,
                    )
                )
        return Generated(torch.cat(made), calls.num_calls, calls.num_rows)

    def check_guidance(self, guidance: Guidance | None) -> None:
        """Refuse guidance that the model cannot follow, with a `ConfigError`."""
        if guidance is not None:
            guidance.check(CleanPredictions(self))

    def refuse_given(self, initial: Int[Tensor, "B L"]) -> None:
        """Refuse sequences with real tokens that would have to stay, with a `ConfigError`."""
        if bool(self.real_tokens[initial].any()):
            raise ConfigError(
                f"this model (lm.uniform_share={self.uniform_share:g}) may change every token, and "
                "cannot be conditioned exactly on given ones; use edit= for sequences that may "
                "change, or a model of lm=mdlm for templates"
            )

    def _noised(self, tokens: Tensor, free: Tensor, level: float, numbers: RowNoise) -> Tensor:
        """Free tokens replaced with the probability of the level; masks are always replaced."""
        length = tokens.shape[1]
        uniforms = numbers.uniform(Stream.MASKS, 0, length)
        return replace_tokens(
            tokens,
            torch.full((len(tokens),), level, dtype=torch.float64, device=tokens.device),
            free,
            torch.where(tokens == self.mask_id, 0.0, uniforms),
            numbers.uniform(Stream.REPLACEMENTS, 0, length),
            noise=self.noise,
        )

    def _nats(self, draw: Draw, batch: Batch, label: Label) -> Float[Tensor, "B L"]:
        """Call the network on a draw and score its output."""
        places = places_of(draw.scored, len(self.real_tokens))
        inputs = self._inputs(draw.xt, draw.time, batch.attended, label)
        return places.spread(draw.loss(places.logits(self.backbone, *inputs), places))
