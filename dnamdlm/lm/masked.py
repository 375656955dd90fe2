"""The masked diffusion language model: a network plus the mathematics of `dnamdlm.diffusion`.

The model is the only caller of its network: objectives, estimators and guidance say what to call it
with. All randomness comes from row keys, so that the loss, the likelihood and the samples of a row
do not depend on the batch.

Shapes: B sequences, L positions, V outputs of the network, R real tokens (4 for DNA).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.reverse import Generated, reverse_process
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.score_entropy import relative_log_score
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import Ancestral, StepRule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classes import Label
from dnamdlm.lm.diffusion_model import DiffusionModel, loss_of, terms_of
from dnamdlm.lm.expert_gates import Experts, joined
from dnamdlm.lm.language_model import LossTerms, TokenLikelihood
from dnamdlm.lm.model_parts import checked_start, evaluating, network_of, present_of
from dnamdlm.lm.noising import Draw
from dnamdlm.lm.objectives import Objective, ScoreEntropy
from dnamdlm.lm.order_likelihood import order_likelihood
from dnamdlm.lm.places import EVERYWHERE, Places, places_of
from dnamdlm.lm.pointer_channel import Pointer, PointerChannel, with_templates
from dnamdlm.lm.position_probs import position_log_probs
from dnamdlm.lm.rows_to_fill import HowToFill, RowsToFill
from dnamdlm.lm.sampling.class_guidance import Guidance
from dnamdlm.lm.sampling.network_calls import NetworkCalls, denoiser_of, rows_held
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.vocabulary import Vocabulary

Aligned = Int[Tensor, "B L"] | None
"""Templates of rows, see `Batch.aligned`."""


class MaskedDiffusionLM(DiffusionModel):
    """Masked diffusion: a network, a noise schedule and an objective.

    Generation and the estimators `time` and `count` use the network through the SUBS
    parameterization, whatever it was trained on. The network is conditioned on time exactly if
    `backbone.time_conditioning` is true, on classes if it has `num_classes`, on numbers if it has
    `num_numbers`.

    Source: Sahoo et al. 2024 (arXiv:2406.07524).

    Example:
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.randomness import row_keys
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> backbone = DiT(vocab_size=12, hidden_size=16, num_blocks=1, num_heads=2)
        >>> lm = MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY)
        >>> keys = row_keys(seed=1, index=torch.arange(3))
        >>> lm.generate(keys, length=10, num_steps=5).tokens.shape
        torch.Size([3, 10])
        >>> own = nn.Sequential(nn.Embedding(12, 16), nn.Linear(16, 12))
        >>> MaskedDiffusionLM(own, NUCLEOTIDE_VOCABULARY).num_classes
        0
    """

    def __init__(
        self,
        backbone: Backbone | nn.Module,
        vocabulary: Vocabulary,
        schedule: Schedule | None = None,
        times: TimeSampler | None = None,
        objective: Objective | None = None,
        *,
        label_dropout: float | int = 0.1,
        experts: Experts | None = None,
        pointer: Pointer | None = None,
    ) -> None:
        """Join the parts.

        Args:
            backbone: a network with the interface of `Backbone`, whose vocabulary may be padded, or
                any other module from ids (B, L) to logits (B, L, V).
            vocabulary: meaning of the ids.
            schedule: noise schedule; None is `LogLinear()`.
            times: how t is drawn in training; None is `Stratified()`.
            objective: what is minimised; None is the bound of continuous time.
            label_dropout: probability of leaving the class of a window out in training; only for
                a network with classes.
            experts: counts of words that are added to the network, for DNA; None adds none. They
                count in training, or when `expert_gates.count` is called.
            pointer: how windows of DNA find templates in the training split, which the network then
                reads besides what is visible; None is a network without templates.

        Raises:
            ConfigError: if the backbone has fewer outputs than the vocabulary has ids, sees only
                the past, or does not suit the objective.
        """
        backbone = network_of(backbone, vocabulary)
        if getattr(backbone, "causal", False):
            raise ConfigError(
                "this backbone sees only the past, and masked diffusion needs both sides; use "
                "backbone=dit, or lm=ar for an autoregressive model"
            )
        super().__init__(
            backbone, vocabulary, schedule, times, objective,
            label_dropout=label_dropout, experts=experts,
        )  # fmt: skip
        self.pointer = pointer
        self.pointer_channel = None if pointer is None else PointerChannel(backbone, vocabulary)
        self.network_over_strands: nn.Module | None = None

    def logits(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        places: Places = EVERYWHERE,
        *,
        label: Label = None,
        aligned: Aligned = None,
    ) -> Float[Tensor, "P Q V"]:
        """Output of the network; arguments as in `denoise`."""
        with computing_on(xt.device):
            network = self.network(aligned=aligned)
            return places.logits(network, *self._inputs(xt, time, present, label))

    def denoise(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        places: Places = EVERYWHERE,
        *,
        label: Label = None,
        aligned: Aligned = None,
    ) -> Float[Tensor, "P Q V"]:
        """Give log p(x0 | xt) in float32 or wider, one-hot at visible positions.

        Args:
            xt: ids with masks.
            time: t in [0, 1] per row; needed only by a network with time conditioning.
            present: False at padding; None means no padding.
            places: positions whose distribution is wanted; (P, Q) is (B, L) for all.
            label: class or numbers of each row, or of all rows, see `Label`. A network without
                classes and numbers ignores it.
            aligned: templates of the rows, see `Batch.aligned`; None is the network without. A
                network without pointers ignores them.

        Raises:
            ValueError: if the network is conditioned on time and `time` is missing.
        """
        return substitution(
            self.logits(xt, time, present, places, label=label, aligned=aligned),
            places.of_positions(xt),
            real_tokens=self.real_tokens,
            mask_id=self.mask_id,
        )

    def log_unnormalized(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        places: Places = EVERYWHERE,
        *,
        label: Label = None,
        aligned: Aligned = None,
    ) -> Float[Tensor, "P Q V"]:
        """What a rule with `takes_unnormalized` gets: distributions with the totals of the model.

        A network trained with score entropy has totals other than 1; for all others this is
        `denoise`, with the same arguments. Only hidden positions have a meaning.
        """
        if not isinstance(self.objective, ScoreEntropy):
            return self.denoise(xt, time, present, places, label=label, aligned=aligned)
        logits = self.logits(xt, time, present, places, label=label, aligned=aligned)
        return relative_log_score(logits, real_tokens=self.real_tokens)

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
        """One draw of the objective per token; randomness is a function of `batch.key`.

        A network with classes or numbers gets those of the batch, except what is dropped; one with
        pointers gets the templates of the batch.
        """
        label = self._training_label(batch)
        draws = self.objective.hide(self.process, batch)
        losses = [self._nats(draw, batch, label, batch.tokens) for draw in draws]
        return loss_of(*terms_of(draws, losses), batch)

    @torch.no_grad()
    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: str = "auto"
    ) -> TokenLikelihood:
        """-log p of each row: an estimate of its upper bound, or exact for an order.

        A model with classes or numbers gives -log p(x | y) where the batch has them, else
        -log p(x); one with pointers gives -log p(x | T) where the batch has templates T.

        Args:
            batch: windows; only `valid` tokens are masked and scored.
            draws: noise draws per row, taken from equal strata and run one after the other; an
                order, or `orders:K`, does not need them.
            estimator: see `dnamdlm.lm.estimators`. `auto` is `objective` where the objective has a
                bound of its own, else `count` for a network without time conditioning, else `time`.

        Raises:
            ConfigError: if `draws` is below 1, or the model has no such estimator.

        Source: Ou et al. 2024 (arXiv:2406.03736) for exact counts; arXiv:2603.01367 for orders.
        """
        if draws < 1:
            raise ConfigError(f"draws must be at least 1, got {draws}")
        chosen = self.chosen_estimator(estimator)
        with evaluating(self):
            if (in_order := self._order_likelihood(batch, chosen)) is not None:
                return in_order
            nats, hidden = self._mean_nats(
                batch,
                lambda draw: self._nats(draw, batch, batch.label),
                estimator=chosen,
                draws=draws,
            )
        found = () if hidden is None else (hidden.nats, hidden.count)
        return TokenLikelihood(nats, batch.valid, "upper bound", *found)

    def log_probs(
        self, batch: Batch, *, hide: str = "each", positions_at_once: int = 64
    ) -> Float[Tensor, "B L R"]:
        """Log-probabilities of the real tokens (A, C, G, T for DNA) at each position.

        See `dnamdlm.lm.position_probs`: with `hide="each"` each position is hidden in turn, with
        "none" nothing is, which is not a conditional distribution.

        Args:
            batch: sequences; positions that are neither `valid` nor masked have nan.
            hide: `each` or `none`.
            positions_at_once: rows per call of the network.

        Raises:
            ConfigError: if `hide` is unknown or `positions_at_once` is below 1.
        """
        return position_log_probs(self, batch, hide=hide, positions_at_once=positions_at_once)

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
        steering: Steering | None = None,
        aligned: Aligned = None,
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
            watch: called after each step with the number of tokens just filled.
            guidance: a class to steer towards; None is the model without a class. All calls of
                all networks are counted.
            steering: populations, whose slots `keys` are; `batch_size` may not cut them.
            aligned: templates of the rows, see `Batch.aligned`, which a network with pointers
                copies from; None is the network without.

        Raises:
            ConfigError: if a number is below 1, `initial` does not fit, or the model cannot be
                guided in this way.
        """
        self.check_guidance(guidance)
        initial = checked_start(self.network_vocabulary, len(keys), length, initial, batch_size)
        initial = initial.to(keys.device)
        times = linear_grid(num_steps) if times is None else times
        rule = Ancestral() if rule is None else rule
        if not isinstance(self.objective, ScoreEntropy):
            rule = rule.for_normalized()
        is_cpu = keys.device.type == "cpu"
        calls = NetworkCalls(self, is_cpu=is_cpu, takes_unnormalized=rule.takes_unnormalized)
        if steering is None:
            batch_size = rows_held(batch_size, length, len(self.real_tokens), is_cpu=is_cpu)
        whole = RowsToFill(RowNoise(keys), initial, constraints, fill, aligned)
        how = HowToFill(calls, rule, times, guidance, watch, steering)
        tokens = [initial[:0]]
        with evaluating(self):
            for rows in torch.arange(len(keys), device=keys.device).split(batch_size):
                tokens.append(self._filled(whole.select(rows), how))
        return Generated(torch.cat(tokens), calls.num_calls, calls.num_rows)

    def check_guidance(self, guidance: Guidance | None) -> None:
        """Refuse guidance that the model cannot follow, with a `ConfigError`."""
        if guidance is not None:
            guidance.check(self)

    def _filled(self, rows: RowsToFill, how: HowToFill) -> Int[Tensor, "b L"]:
        """The reverse process of some rows."""
        present = present_of(rows.initial, self._vocabulary)
        return reverse_process(
            denoiser_of(how.calls, present, how.guidance, rows.aligned),
            rows.initial,
            rule=how.rule,
            schedule=self.schedule,
            times=how.times,
            mask_id=self.mask_id,
            noise=rows.noise,
            constraints=rows.constraints,
            fill=rows.fill,
            watch=how.watch,
            steering=how.steering,
        ).tokens

    def _order_likelihood(self, batch: Batch, estimator: str) -> TokenLikelihood | None:
        """The likelihood of an order of revealing; None for other estimators."""
        return order_likelihood(self, batch, estimator)

    def network(self, counted: Tensor | None = None, aligned: Aligned = None) -> Backbone:
        """The network with its experts; `counted` as in `Expert`, `aligned` as in `denoise`."""
        backbone = with_templates(self.backbone, self.pointer_channel, aligned)
        return joined(backbone, self.expert_gates, self.network_over_strands, counted)

    def _nats(
        self, draw: Draw, batch: Batch, label: Label, counted: Tensor | None = None
    ) -> Float[Tensor, "B L"]:
        """Call the network on a draw and score its output."""
        places = places_of(draw.scored, len(self.real_tokens))
        inputs = self._inputs(draw.xt, draw.time, batch.attended, label)
        network = self.network(counted, batch.aligned)
        return places.spread(draw.loss(places.logits(network, *inputs), places))
