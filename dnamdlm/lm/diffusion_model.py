"""What the diffusion models over one network share: the noise process, the objective, their sums.

`MaskedDiffusionLM` hides positions of whole windows, `BlockDiffusionLM` those of blocks; the rows
that a network reads, R of S positions, are windows or blocks accordingly.

Shapes: B sequences, L positions; R rows of S positions, V outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.schedules import LogLinear, Schedule
from dnamdlm.diffusion.times import Stratified, TimeSampler
from dnamdlm.lm.classes import (
    Label,
    check_label_dropout,
    dropped_labels,
    dropped_numbers,
    label_input,
    num_classes_of,
    num_numbers_of,
)
from dnamdlm.lm.conditioning import conditioning_value
from dnamdlm.lm.estimators import bound_draws, chosen_estimator
from dnamdlm.lm.expert_gates import ExpertGates, Experts
from dnamdlm.lm.hidden_tokens import HiddenTokens
from dnamdlm.lm.language_model import LossTerms
from dnamdlm.lm.network_model import NetworkModel
from dnamdlm.lm.noising import Draw, NoiseProcess
from dnamdlm.lm.objectives import ContinuousTime, Objective
from dnamdlm.tokens.vocabulary import Vocabulary

Score = Callable[[Draw], Tensor]
"""Calls the network on a draw: nats of its rows (R, S), weighted."""


class DiffusionModel(NetworkModel):
    """A network, a noise process and an objective; subclasses say which rows the network reads.

    Attributes:
        num_classes: that the network is conditioned on; 0 without classes.
        num_numbers: that the network is conditioned on; 0 without numbers.
        label_dropout: probability of leaving the class or numbers of a window out in training.
        schedule: noise schedule.
        times: how t is drawn in training.
        objective: what is minimised.
        experts: counts of words that are added to the network, or None.
        expert_gates: their gates, or None.
    """

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        schedule: Schedule | None,
        times: TimeSampler | None,
        objective: Objective | None,
        *,
        label_dropout: float | int,
        experts: Experts | None,
    ) -> None:
        """Join the parts; None takes `LogLinear()`, `Stratified()`, `ContinuousTime()`.

        Raises:
            ConfigError: if the backbone has fewer outputs than the vocabulary has ids, or does not
                suit the objective.
        """
        check_label_dropout(label_dropout)
        super().__init__(backbone, vocabulary)
        self.num_classes, self.num_numbers = num_classes_of(backbone), num_numbers_of(backbone)
        self.label_dropout = label_dropout
        self.schedule: Schedule = LogLinear() if schedule is None else schedule
        self.times: TimeSampler = Stratified() if times is None else times
        self.objective: Objective = ContinuousTime() if objective is None else objective
        self.experts = experts
        self.expert_gates = None if experts is None else ExpertGates(experts, backbone, vocabulary)
        self.objective.check(self.process)

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        own = getattr(self.objective, "without_effect", dict)
        reasons = {f"objective.{name}": why for name, why in own().items()}
        if self.num_classes or self.num_numbers:
            return reasons
        return reasons | {
            "label_dropout": "the network has no classes or numbers (backbone.num_classes=0, "
            "backbone.num_numbers=0)"
        }

    @property
    def process(self) -> NoiseProcess:
        """The noise process of a row, the only part of the model that objectives use."""
        return self._masking()

    def _masking(self) -> NoiseProcess:
        """The process that masks tokens; no property, which compilation does not find by super."""
        return NoiseProcess(
            self.schedule, self.times, self._vocabulary, self.real_tokens, self.sees_time
        )

    def chosen_estimator(self, estimator: str) -> str:
        """The estimator with `auto` resolved; a `ConfigError` if the model does not have it."""
        return chosen_estimator(estimator, self.objective, sees_time=self.sees_time)

    def _training_label(self, batch: Batch) -> Tensor | None:
        """The classes or numbers of a batch, except those that are dropped."""
        if batch.label is None:
            return None
        dropped = dropped_numbers if batch.label.is_floating_point() else dropped_labels
        return dropped(batch.label, RowNoise(batch.key), probability=self.label_dropout)

    def _inputs(
        self,
        xt: Tensor,
        time: Tensor | None,
        present: Tensor | None,
        label: Label,
        *,
        num_labels: int | None = None,
    ) -> tuple[Any, ...]:
        """Arguments of the network.

        Args:
            xt: ids with masks, (R, S).
            time: t of each row.
            present: False at padding.
            label: class or numbers of each sequence, or of all.
            num_labels: how many rows of them are wanted; None is one for each row.
        """
        conditioning = conditioning_value(self.schedule, time) if self.sees_time else None
        if label is None:
            return xt, conditioning, present
        count = len(xt) if num_labels is None else num_labels
        given = label_input(
            label, count,
            num_classes=self.num_classes, num_numbers=self.num_numbers, device=xt.device,
        )  # fmt: skip
        return xt, conditioning, present, *given

    def _mean_nats(
        self, rows: Batch, score: Score, *, estimator: str, draws: int
    ) -> tuple[Float64[Tensor, "R S"], HiddenTokens | None]:
        """The mean of draws of the bound, from equal strata, and the cross-entropy by mask rate.

        Args:
            rows: clean rows.
            score: see `Score`.
            estimator: `time`, `count` or `objective`.
            draws: how many.
        """
        total = torch.zeros(rows.tokens.shape, dtype=torch.float64, device=rows.key.device)
        hidden: HiddenTokens | None = HiddenTokens.none(rows)
        process, objective = self.process, self.objective
        for draw in range(draws):
            parts = bound_draws(estimator, process, objective, rows, draw=draw, draws=draws)
            nats = [score(part) for part in parts]
            total += sum(nats[1:], nats[0])
            if hidden is not None:
                hidden = hidden.after(parts, nats)
        return total / draws, hidden


def terms_of(
    draws: Sequence[Draw], losses: Sequence[Float[Tensor, "R S"]]
) -> tuple[Float[Tensor, "R S"], Float[Tensor, "R S"] | None]:
    """What is minimised, and the bound where the draws have weights of their own for it.

    Args:
        draws: inputs of the network for one draw of an objective.
        losses: the loss of each.
    """
    minimised = sum(losses[1:], losses[0])
    bounds = [
        nats.detach() * draw.bound_weight.to(nats.dtype)[:, None]
        for nats, draw in zip(losses, draws, strict=True)
        if draw.bound_weight is not None
    ]
    return minimised, sum(bounds[1:], bounds[0]) if bounds else None


def loss_of(
    minimised: Float[Tensor, "B L"], bound: Float[Tensor, "B L"] | None, batch: Batch
) -> LossTerms:
    """The terms of `terms_of` for windows: the bound is reported where there is one."""
    if bound is None:
        return LossTerms(minimised, batch.valid)
    return LossTerms(bound, batch.valid, minimised=minimised)
