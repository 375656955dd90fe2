"""A masked diffusion model that learns two ancestral steps of another one as one step.

The class adds a loss. Once trained, a student is a `MaskedDiffusionLM` in all respects: it is
loaded, evaluated and sampled without its teacher.

Shapes: B sequences, L positions, V outputs of the network.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.diffusion.two_steps import (
    TwoSteps,
    soft_cross_entropy,
    state_between,
    two_step_targets,
    two_steps,
)
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import LossTerms
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.model_parts import evaluating
from dnamdlm.lm.objective_times import refuse_warped
from dnamdlm.tokens.vocabulary import Vocabulary


class DistilledDiffusionLM(MaskedDiffusionLM):
    """A student of T/2 steps, trained on the ancestral sampler of a teacher with T steps.

    Windows of data are hidden as they are at time t of every second point of the grid, the teacher
    takes two steps, and the student is trained by cross-entropy on what they would reveal. The
    loss, summed over the T/2 steps, is up to a constant the divergence of one step of the student
    from two of the teacher; the student that minimises it predicts the teacher's two-step
    marginals. What it cannot learn is how tokens of one step depend on each other.

    The teacher is not a part of the module: it has no place in its parameters or its state.

    Source: Salimans and Ho 2022 (arXiv:2202.00512); Deschenaux and Gulcehre 2024
    (arXiv:2410.21035).

    Example: half the steps of a teacher of eight.
        >>> import copy
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> network = DiT(vocab_size=12, hidden_size=16, num_blocks=1, num_heads=2)
        >>> teacher = MaskedDiffusionLM(network, NUCLEOTIDE_VOCABULARY)
        >>> student = DistilledDiffusionLM(
        ...     copy.deepcopy(network), NUCLEOTIDE_VOCABULARY, num_steps=8
        ... )
        >>> student.learn_from(teacher)
        >>> student.state_dict().keys() == teacher.state_dict().keys()
        True
    """

    def __init__(
        self,
        backbone: Backbone | nn.Module,
        vocabulary: Vocabulary,
        schedule: Schedule | None = None,
        times: TimeSampler | None = None,
        *,
        teacher: str | None = None,
        num_steps: int = 64,
        label_dropout: float | int = 0.1,
    ) -> None:
        """Join the parts; `learn_from` gives the teacher.

        Args:
            backbone: as in `MaskedDiffusionLM`.
            vocabulary: meaning of the ids.
            schedule: noise schedule, that of the teacher; None is `LogLinear()`.
            times: how the pairs of steps are drawn in training; None is `Stratified()`.
            teacher: where the teacher lies, for those who load it.
            num_steps: T, the steps of the teacher, even.
            label_dropout: as in `MaskedDiffusionLM`.

        Raises:
            ConfigError: if `num_steps` is not even or below 2, or the times are warped.
        """
        if num_steps < 2 or num_steps % 2:
            raise ConfigError(
                f"lm.num_steps={num_steps} must be even and at least 2: the steps of the teacher, "
                "of which the student takes half"
            )
        super().__init__(backbone, vocabulary, schedule, times, label_dropout=label_dropout)
        refuse_warped(self.process, "DistilledDiffusionLM")
        self.teacher, self.num_steps = teacher, num_steps
        # in a tuple, in which a module is not registered as a part of this one.
        self._taught_by: tuple[MaskedDiffusionLM, ...] = ()

    @property
    def has_teacher(self) -> bool:
        """Whether `learn_from` gave a teacher."""
        return bool(self._taught_by)

    def learn_from(self, teacher: object) -> None:
        """Take a teacher for `loss_terms`; it is called, and never changed but for its device.

        Args:
            teacher: a masked diffusion model with the vocabulary, schedule and conditioning of this
                one.

        Raises:
            ConfigError: if it is another kind of model, or differs in one of these.
        """
        if not isinstance(teacher, MaskedDiffusionLM):
            raise ConfigError(
                f"lm.teacher is a {type(teacher).__name__}, which takes no ancestral steps from "
                "masks; give a masked diffusion model (lm=mdlm)"
            )
        own, other = (lm.network_vocabulary.fingerprint() for lm in (self, teacher))
        if own != other:
            raise ConfigError(
                "lm.teacher has another vocabulary than the data; give a teacher of this vocabulary"
            )
        for what, ours, theirs in (
            ("backbone.time_conditioning", self.sees_time, teacher.sees_time),
            ("backbone.num_classes", self.num_classes, teacher.num_classes),
            ("backbone.num_numbers", self.num_numbers, teacher.num_numbers),
            ("noise", self.schedule, teacher.schedule),
        ):
            if ours != theirs:
                raise ConfigError(
                    f"{what} is {theirs} in lm.teacher and {ours} in the student; use that of the "
                    "teacher"
                )
        if teacher.experts is not None:
            raise ConfigError(
                "lm.teacher has experts, whose counts contain the windows of the training; give a "
                "teacher with experts=none"
            )
        self._taught_by = (teacher,)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """The cross-entropy against one draw of two steps, and the bound of T/2 steps to report.

        Both are T/2 times those of the pair of steps that is drawn, so that their expectations are
        sums over the T/2 steps of the student.

        Raises:
            ConfigError: if there is no teacher.
        """
        label = self._training_label(batch)
        place = self.process.training_place(batch, Stream.TIMES)
        steps = two_steps(self.num_steps, place, self.schedule)
        xt = self.process.hide_with(batch, 1 - steps.alpha_t, 0)
        targets = self._targets(batch, xt, steps, label)
        logits = self.network()(*self._inputs(xt, steps.t, batch.attended, label))
        log_probs = substitution(logits, xt, real_tokens=self.real_tokens, mask_id=self.mask_id)
        pairs = self.num_steps // 2
        bound = masked_nll(
            log_probs.detach(), batch.tokens, xt, pairs * steps.both, mask_id=self.mask_id
        )
        return LossTerms(
            bound, batch.valid, minimised=pairs * soft_cross_entropy(log_probs, targets)
        )

    @torch.no_grad()
    def _targets(
        self, batch: Batch, xt: Int[Tensor, "B L"], steps: TwoSteps, label: Tensor | None
    ) -> Float[Tensor, "B L V"]:
        """Soft targets of a draw of the two steps of the teacher, see `two_step_targets`."""
        if not self._taught_by:
            raise ConfigError(
                "lm=distilled learns from another model and has none; give lm.teacher=RUN, or call "
                "learn_from"
            )
        (teacher,) = self._taught_by
        teacher.to(xt.device)
        with evaluating(teacher):
            at_t = teacher.denoise(xt, steps.t, batch.attended, label=label)
            xm = state_between(xt, at_t, steps, RowNoise(batch.key), mask_id=self.mask_id)
            at_m = teacher.denoise(xm, steps.m, batch.attended, label=label)
        return two_step_targets(at_t, at_m, xt, xm, steps, mask_id=self.mask_id)
