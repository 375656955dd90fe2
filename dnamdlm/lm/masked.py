"""The masked diffusion language model: a network plus the mathematics of `dnamdlm.diffusion`.

All randomness comes from row keys, so that the loss, the likelihood and the samples of a row do not
depend on the batch it travels in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone, ClassBackbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.ordered import ORDER_RULES, ordered_nats
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.reverse import Generated, reverse_process
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.score_entropy import log_score, relative_log_score
from dnamdlm.diffusion.steps import Ancestral, StepRule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classes import (
    ToldBackbone,
    check_label_dropout,
    dropped_labels,
    num_classes_of,
)
from dnamdlm.lm.conditioning import conditioning_value
from dnamdlm.lm.language_model import LossTerms, TokenLikelihood
from dnamdlm.lm.objectives import (
    BoundedObjective,
    ContinuousTime,
    Objective,
    ScoreEntropy,
    nats_at_count,
    nats_at_time,
)
from dnamdlm.lm.places import EVERYWHERE, Places
from dnamdlm.lm.sampling.class_guidance import Guidance
from dnamdlm.lm.sampling.network_calls import FixedShapeDenoiser, denoiser_of
from dnamdlm.tokens.vocabulary import Vocabulary

Estimator = Literal[
    "auto", "time", "count", "objective", "probability", "margin", "entropy", "left_to_right"
]
ESTIMATORS: tuple[str, ...] = get_args(Estimator)


class MaskedDiffusionLM(nn.Module):
    """Masked diffusion: a network, a noise schedule and an objective.

    Generation and the estimators `time` and `count` read the network through the SUBS
    parameterization, whatever it was trained on. The network is conditioned on time exactly if
    `backbone.time_conditioning` says so.

    Source: Sahoo et al. 2024 (arXiv:2406.07524).
    """

    real_tokens: Tensor

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        schedule: Schedule,
        times: TimeSampler,
        objective: Objective | None = None,
        *,
        label_dropout: float | int = 0.1,
    ) -> None:
        """Join the parts.

        Args:
            backbone: a module with the interface of `Backbone`; its vocabulary may be padded.
            vocabulary: meaning of the ids.
            schedule: noise schedule.
            times: how t is drawn in training.
            objective: what is minimised; None is the bound of continuous time.
            label_dropout: probability of leaving the class of a window out in training; only for
                a network that can be told one.

        Raises:
            ConfigError: if the backbone knows fewer ids than the vocabulary has, sees only the
                past, or does not suit the objective.
        """
        super().__init__()
        check_label_dropout(label_dropout)
        if backbone.vocab_size < len(vocabulary):
            raise ConfigError(
                f"backbone.vocab_size={backbone.vocab_size} is below the {len(vocabulary)} ids of "
                f"the vocabulary; use {len(vocabulary)} or more"
            )
        self.backbone = backbone
        self.num_classes = num_classes_of(backbone)
        self.label_dropout = label_dropout
        self.schedule = schedule
        self.times = times
        self._vocabulary = vocabulary
        real_tokens = torch.zeros(backbone.vocab_size, dtype=torch.bool)
        real_tokens[list(vocabulary.real_ids)] = True
        self.register_buffer("real_tokens", real_tokens, persistent=False)
        if getattr(backbone, "causal", False):
            raise ConfigError(
                "this backbone sees only the past, and masked diffusion needs both sides; use "
                "backbone=dit, or lm=ar for an autoregressive model"
            )
        self.objective: Objective = ContinuousTime() if objective is None else objective
        self.objective.check(self)

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        return self._vocabulary

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        return self._vocabulary.mask_id

    @property
    def sees_time(self) -> bool:
        """Whether the network is conditioned on time."""
        return self.backbone.time_conditioning

    def of_class(self, label: Int[Tensor, " B"] | int | None) -> MaskedDiffusionLM:
        """The model of p(x | y): the same weights, with a network that has been told the class.

        Args:
            label: class of each row of the batches to come, or of all rows, from 0; a negative one
                is no class. None, or a network without classes, gives this model.
        """
        if label is None or not isinstance(self.backbone, ClassBackbone) or not self.num_classes:
            return self
        told = copy.copy(self)
        # past nn.Module.__setattr__: the copy has the modules and parameters of this model.
        told.__dict__["backbone"] = ToldBackbone(self.backbone, label)
        return told

    def logits(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        places: Places = EVERYWHERE,
    ) -> Float[Tensor, "P Q V"]:
        """Output of the network; arguments as in `denoise`."""
        return places.logits(self.backbone, xt, self._conditioning(time), present)

    def log_score(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"],
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Log of the concrete score, as a network trained with score entropy gives it.

        Args:
            xt: ids with masks.
            time: t in (0, 1) per row; alpha(t) must be neither 0 nor 1.
            present: False at padding; None means no padding.
        """
        alpha = self.schedule.alpha(time.double())
        return log_score(
            self.logits(xt, time, present),
            xt,
            alpha,
            real_tokens=self.real_tokens,
            mask_id=self.mask_id,
        )

    def denoise(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        places: Places = EVERYWHERE,
    ) -> Float[Tensor, "P Q V"]:
        """Give log p(x0 | xt) in float32 or wider, one-hot at visible positions.

        Args:
            xt: ids with masks.
            time: t in [0, 1] per row; needed only by a network with time conditioning.
            present: False at padding; None means no padding.
            places: positions whose law is wanted; (P, Q) is (B, L) for all.

        Raises:
            ValueError: if the network is conditioned on time and `time` is missing.
        """
        return substitution(
            self.logits(xt, time, present, places),
            places.of_positions(xt),
            real_tokens=self.real_tokens,
            mask_id=self.mask_id,
        )

    def log_measure(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        places: Places = EVERYWHERE,
    ) -> Float[Tensor, "P Q V"]:
        """What a rule with `takes_measure` gets: laws with the totals that the model gives them.

        A network trained with score entropy has totals other than 1; for all others this is
        `denoise`, with the same arguments. Only hidden positions have a meaning.
        """
        if not isinstance(self.objective, ScoreEntropy):
            return self.denoise(xt, time, present, places)
        logits = self.logits(xt, time, present, places)
        return relative_log_score(logits, real_tokens=self.real_tokens)

    def hidden(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """Last hidden states of clean sequences, as the network sees them at time 0."""
        time = torch.zeros(len(batch), device=batch.tokens.device)
        told = self.of_class(batch.label)
        return told.backbone.hidden(batch.tokens, self._conditioning(time), batch.attended)

    def forward(self, batch: Batch) -> LossTerms:
        """The same as `loss_terms`, for wrappers that call modules."""
        return self.loss_terms(batch)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """One draw of the objective per token; randomness is a function of `batch.key`.

        Labels of the batch are told to a network with classes, but for those that are dropped.
        """
        label = batch.label
        if label is not None:
            label = dropped_labels(label, RowNoise(batch.key), probability=self.label_dropout)
        return self.objective.loss_terms(self.of_class(label), batch)

    @torch.no_grad()
    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: Estimator = "auto"
    ) -> TokenLikelihood:
        """-log p of each row: a stratified estimate of its upper bound, or exact for an order.

        `time` draws t and masks independently; `count` draws how many tokens are masked and then
        which, which has the lower variance and does not depend on the schedule. Both have the same
        expectation for a network that does not see the time and a schedule that runs from 1 to 0.
        `objective` is the bound that belongs to the objective (T steps, score entropy). The rules
        of `dnamdlm.diffusion.ordered` give the exact likelihood of revealing one token at a time
        in the order that the rule chooses; they take as many calls as there are tokens.

        A model with classes gives -log p(x | y) where the batch has labels, else -log p(x).

        Args:
            batch: windows; only `valid` tokens are masked and scored.
            draws: noise draws per row, taken from equal strata and run one after the other; an
                order has no use for it.
            estimator: `auto` is `objective` where the objective has a bound of its own, else
                `count` for a network that does not see the time, else `time`.

        Raises:
            ConfigError: if `draws` is below 1, or the model has no such estimator.

        Source: Ou et al. 2024 (arXiv:2406.03736) for exact counts; arXiv:2603.01367 for orders.
        """
        if draws < 1:
            raise ConfigError(f"draws must be at least 1, got {draws}")
        estimator = self.check_estimator(estimator)
        if self.num_classes and batch.label is not None:
            told, batch = self.of_class(batch.label), replace(batch, label=None)
            return told.log_likelihood(batch, draws=draws, estimator=estimator)
        noise = RowNoise(batch.key)
        with self._evaluating():
            if estimator in ORDER_RULES:
                nats = ordered_nats(
                    lambda xt: self.denoise(xt, None, batch.attended),
                    batch.tokens,
                    batch.valid,
                    rule=estimator,  # pyright: ignore[reportArgumentType]
                    mask_id=self.mask_id,
                )
                return TokenLikelihood(nats, batch.valid, "exact")
            total = torch.zeros(batch.tokens.shape, dtype=torch.float64, device=batch.key.device)
            for draw in range(draws):
                total += self._bound(batch, noise, estimator, draw, draws)
        return TokenLikelihood(total / draws, batch.valid, "upper bound")

    def check_estimator(self, estimator: Estimator) -> Estimator:
        """What `auto` means for this model; refuses what it cannot do with a `ConfigError`."""
        has_own = isinstance(self.objective, BoundedObjective)
        if estimator == "auto":
            if has_own:
                return "objective"
            return "time" if self.sees_time else "count"
        if estimator not in ESTIMATORS:
            raise ConfigError(
                f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}"
            )
        if estimator == "objective" and not has_own:
            raise ConfigError(
                f"the objective {type(self.objective).__name__} has no bound of its own; use "
                "estimator=auto"
            )
        if self.sees_time and estimator not in {"time", "objective"}:
            raise ConfigError(
                f"estimator={estimator} has no time to show to a network with "
                "time_conditioning=true; use estimator=time"
            )
        return estimator

    def _bound(
        self, batch: Batch, noise: RowNoise, estimator: Estimator, draw: int, draws: int
    ) -> Tensor:
        """One draw of the bound from its stratum."""
        if estimator == "objective":
            assert isinstance(self.objective, BoundedObjective)
            return self.objective.bound(self, batch, noise, draw, draws)
        if estimator == "count":
            place = (noise.uniform(Stream.COUNTS, draw) + draw) / draws
            return nats_at_count(self, batch, place, noise, draw)
        t = (noise.uniform(Stream.TIMES, draw) + draw) / draws
        return nats_at_time(self, batch, t, noise, draw)

    @torch.no_grad()
    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        batch_size: int = 64,
        rule: StepRule | None = None,
        num_steps: int = 128,
        times: Float64[Tensor, " T1"] | None = None,
        constraints: Constraints | None = None,
        fill: Bool[Tensor, "B L"] | None = None,
        watch: Callable[[int], None] | None = None,
        guidance: Guidance | None = None,
    ) -> Generated:
        """Run the reverse process from masks, one sequence per key.

        A sequence is a function of its key and the settings; the batch it is made in and the other
        keys do not change it.

        Args:
            keys: noise keys, see `row_keys`; their device is that of the result.
            length: tokens per sequence.
            initial: ids to start from; only masks are filled. None starts from masks alone.
                Padding stays and is not attended.
            batch_size: sequences held at once.
            rule: step rule; None is the ancestral rule.
            num_steps: steps of a linear time grid; not used if `times` is given.
            times: time grid, see `dnamdlm.diffusion.grids`.
            constraints: tokens that masks may become; None allows every real token.
            fill: masks that are filled, the others stay; None fills all.
            watch: told after each step by how many the masks have become fewer.
            guidance: a class to steer towards; None is the model without a class. All calls of
                all networks are counted.

        Raises:
            ConfigError: if a number is below 1, `initial` does not fit, or the model cannot be
                guided so.
        """
        if guidance is not None:
            guidance.check(self)
        initial = self._initial(len(keys), length, initial, batch_size).to(keys.device)
        times = linear_grid(num_steps) if times is None else times
        tokens, network_calls, row_calls = [initial[:0]], 0, 0
        rule = Ancestral() if rule is None else rule
        if not isinstance(self.objective, ScoreEntropy):
            rule = rule.for_laws()
        with self._evaluating():
            for rows in torch.arange(len(keys), device=keys.device).split(batch_size):
                network = self._network_of(initial[rows], guidance, rule.takes_measure)
                part = reverse_process(
                    network,
                    initial[rows],
                    rule=rule,
                    schedule=self.schedule,
                    times=times,
                    mask_id=self.mask_id,
                    noise=RowNoise(keys).select(rows),
                    constraints=None if constraints is None else constraints.select(rows),
                    fill=None if fill is None else fill[rows],
                    watch=watch,
                )
                tokens.append(part.tokens)
                network_calls += part.network_calls + network.extra_calls
                row_calls += part.row_calls + network.extra_rows
        return Generated(torch.cat(tokens), network_calls, row_calls)

    def _conditioning(self, time: Tensor | None) -> Tensor | None:
        """-log alpha(t) in float32, or None for a network that does not see the time."""
        if not self.backbone.time_conditioning:
            return None
        return conditioning_value(self.schedule, time)

    def _network_of(
        self, initial: Tensor, guidance: Guidance | None, takes_measure: bool
    ) -> FixedShapeDenoiser:
        """The network for the rows of one generation batch."""
        present = initial != self._vocabulary.pad_id
        # attention without a mask is faster than any wait for this answer.
        present = None if bool(present.all()) else present
        is_cpu = initial.device.type == "cpu"
        if guidance is not None:
            return guidance.denoiser(self, present, is_cpu=is_cpu, takes_measure=takes_measure)
        return denoiser_of(
            self.log_measure if takes_measure else self.denoise,
            present,
            vocab_size=self.backbone.vocab_size,
            is_cpu=is_cpu,
        )

    def _initial(self, rows: int, length: int, initial: Tensor | None, batch_size: int) -> Tensor:
        """The checked start of generation."""
        if length < 1 or batch_size < 1:
            raise ConfigError(
                f"length and batch_size must be at least 1, got {length} and {batch_size}"
            )
        if initial is None:
            return torch.full((rows, length), self.mask_id)
        if tuple(initial.shape) != (rows, length):
            raise ConfigError(
                f"initial has shape {tuple(initial.shape)}, but {rows} sequences of length "
                f"{length} were asked for"
            )
        if bool(((initial < 0) | (initial >= len(self._vocabulary))).any()):
            raise ConfigError(f"initial holds ids outside [0, {len(self._vocabulary)})")
        return initial

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Switch dropout off for a while."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)
