"""The IUPAC diffusion language model: a base is two bits, and a base half known is an IUPAC code.

It is masked diffusion of 2L bits with one network call for all of them: the network reads codes,
and predicts the joint distribution of the bits of a base, restricted to what its code allows.
With nothing known of a position, or everything, it is `MaskedDiffusionLM`.

Shapes: B sequences, L positions, V outputs of the network, R real tokens (4).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.codings import ALL_BASES, HIDDEN_BIT
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.errors import ConfigError
from dnamdlm.lm.bit_view import BitDenoiser, BitView, batch_of_bits, narrowed
from dnamdlm.lm.coded_noise import CodedNoise, CodeTables, check_coding, drawn_codings, of_both_bits
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.language_model import TokenLikelihood
from dnamdlm.lm.masked import Aligned, Label, MaskedDiffusionLM
from dnamdlm.lm.model_parts import network_of, present_of
from dnamdlm.lm.noising import NoiseProcess
from dnamdlm.lm.objectives import DiscreteTime, MaskedPrediction, Objective, ScoreEntropy
from dnamdlm.lm.order_likelihood import order_likelihood
from dnamdlm.lm.places import EVERYWHERE, Places
from dnamdlm.lm.rows_to_fill import HowToFill, RowsToFill
from dnamdlm.lm.sampling.bit_generation import BitSteps, evident_view, of_positions
from dnamdlm.lm.sampling.class_guidance import ClassGuidance, Guidance, NumberGuidance
from dnamdlm.lm.sampling.network_calls import denoiser_of
from dnamdlm.tokens.iupac import with_codes
from dnamdlm.tokens.vocabulary import Vocabulary


class IupacDiffusionLM(MaskedDiffusionLM):
    """IUPAC diffusion: the two bits of each base are hidden and revealed independently.

    Source: Chao et al. 2025 (arXiv:2505.18495), with a joint head in place of one per bit.

    Example: a network reads 18 ids, those of DNA and the codes R, Y, S, W, K and M.
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.randomness import row_keys
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> lm = IupacDiffusionLM(DiT(18, 16, 1, 2), NUCLEOTIDE_VOCABULARY, coding="ry_sw")
        >>> lm.network_vocabulary.symbols[12:]
        ('R', 'Y', 'S', 'W', 'K', 'M')
        >>> lm.denoise(torch.tensor([[3, 12, 7]])).detach().exp()[0, :, 7:11]
        tensor([[0.2500, 0.2500, 0.2500, 0.2500],
                [0.5000, 0.0000, 0.5000, 0.0000],
                [1.0000, 0.0000, 0.0000, 0.0000]])
    """

    def __init__(
        self,
        backbone: Backbone | nn.Module,
        vocabulary: Vocabulary,
        schedule: Schedule | None = None,
        times: TimeSampler | None = None,
        objective: Objective | None = None,
        *,
        coding: str = "mixed",
        label_dropout: float | int = 0.1,
        experts: Experts | None = None,
    ) -> None:
        """Join the parts.

        Args:
            backbone: as in `MaskedDiffusionLM`, for the ids of `with_codes(vocabulary)`.
            vocabulary: meaning of the ids of data: A, C, G, T and marks.
            schedule: noise schedule; None is `LogLinear()`.
            times: how t is drawn in training; None is `Stratified()`.
            objective: what is minimised; None is the bound of continuous time.
            coding: the two partitions that a base is coded in, 'ry_sw', 'ry_km' or 'sw_km', or
                'mixed', where every position has one of the three at random.
            label_dropout: as in `MaskedDiffusionLM`.
            experts: as in `MaskedDiffusionLM`; they take a base that is partly known for hidden.

        Raises:
            ConfigError: if the vocabulary is not that of DNA, the backbone does not suit it, or
                the objective hides whole tokens.
        """
        check_coding(coding)
        longer = with_codes(vocabulary)
        backbone = network_of(backbone, longer)
        if backbone.vocab_size < len(longer):
            raise ConfigError(
                f"backbone.vocab_size={backbone.vocab_size} is below the {len(longer)} ids of "
                f"lm=iupac, {len(vocabulary)} of the data and 6 codes; use {len(longer)} or more"
            )
        if isinstance(objective, DiscreteTime | MaskedPrediction | ScoreEntropy):
            raise ConfigError(
                f"the objective {type(objective).__name__} hides whole bases, and lm=iupac hides "
                "bits; use ContinuousTime or ExactCount"
            )
        if getattr(objective, "complementary", False):
            raise ConfigError(
                "lm.objective.complementary=true hides whole bases, and lm=iupac hides bits; leave "
                "it out, or use lm=mdlm_count"
            )
        super().__init__(
            backbone, vocabulary, schedule, times, objective,
            label_dropout=label_dropout, experts=experts,
        )  # fmt: skip
        self.coding = coding
        self.tables = CodeTables(longer, backbone.vocab_size)

    @property
    def network_vocabulary(self) -> Vocabulary:
        """The ids of data and the six codes."""
        return with_codes(self._vocabulary)

    @property
    def process(self) -> NoiseProcess:
        """The noise process, of bits."""
        plain = self._masking()
        if "tables" not in self._modules:
            # the constructor of the base asks whether the objective suits time and schedule.
            return plain
        return CodedNoise(
            plain.schedule,
            plain.times,
            plain.vocabulary,
            plain.real_tokens,
            plain.sees_time,
            self.coding,
            self.tables,
        )

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
            xt: ids with masks and codes, of which the bases that they do not stand for have
                log-probability -inf.
            time: as in `MaskedDiffusionLM.denoise`.
            present: as there.
            places: as there.
            label: as there.
            aligned: as there.
        """
        logits = self.logits(xt, time, present, places, label=label, aligned=aligned)
        return narrowed(logits, self.tables.may_be[places.of_positions(xt)])

    def check_guidance(self, guidance: Guidance | None) -> None:
        """Refuse guidance that the model cannot follow, with a `ConfigError`."""
        if guidance is None:
            return
        if not isinstance(guidance, ClassGuidance | NumberGuidance):
            raise ConfigError(
                "a classifier reads bases and masks, and a model of lm=iupac reveals half of a "
                "base at a time; give label=NAME for a model with classes, or use a model of "
                "lm=mdlm"
            )
        guidance.check(self)

    def _filled(self, rows: RowsToFill, how: HowToFill) -> Int[Tensor, "b L"]:
        """The reverse process of the bits of some rows, of which a step rule takes one for a token.

        Constraints that leave a half of a partition of the coding are evidence, which the network
        sees; others restrict what is drawn.
        """
        if how.steering is not None:
            raise ConfigError(NOT_STEERED)
        start = rows.initial
        view = evident_view(
            start,
            rows.noise.keys,
            rows.constraints,
            coding=self.coding,
            tables=self.tables,
        )
        chosen = self.process.is_hidden(start)
        if rows.fill is not None:
            chosen &= rows.fill
        denoiser = denoiser_of(how.calls, present_of(start, self._vocabulary), how.guidance)
        steps = BitSteps(how.rule, view, denoiser)
        made = self._revealed(steps, chosen, times=how.times, noise=rows.noise, watch=how.watch)
        return torch.where(chosen, made, start)

    def _revealed(
        self,
        steps: BitSteps,
        chosen: Bool[Tensor, "B L"],
        *,
        times: Float64[Tensor, " T1"],
        noise: RowNoise,
        watch: Callable[[int], None] | None,
    ) -> Int[Tensor, "B L"]:
        """Ids after the reverse process of the bits of the chosen positions."""
        bits, fill = steps.view.start(), of_both_bits(chosen)
        if watch is not None:
            num_bits = int((fill & (bits == HIDDEN_BIT)).sum())
            watch = of_positions(watch, num_bits, int(chosen.sum()))
        made = reverse_process(
            steps.denoise,
            bits,
            rule=steps,
            schedule=self.schedule,
            times=times,
            mask_id=HIDDEN_BIT,
            noise=noise,
            fill=fill,
            watch=watch,
        )
        return steps.view.shown(made.tokens)

    def _order_likelihood(self, batch: Batch, estimator: str) -> TokenLikelihood | None:
        """The likelihood of an order of revealing bits; an upper bound for mixed codings.

        The coding of each position is then a latent variable, drawn once for each row.
        """
        coding = drawn_codings(self.coding, batch.key, batch.length)
        allowed = torch.full_like(batch.tokens, ALL_BASES)
        view = BitView(batch.tokens, batch.valid, allowed, coding, self.tables)
        denoiser = BitDenoiser(
            view, lambda xt: self.denoise(xt, None, batch.attended, label=batch.label)
        )
        found = order_likelihood(denoiser, batch_of_bits(batch, view.start()), estimator)
        if found is None:
            return None
        kind = "upper bound" if self.coding == "mixed" else found.kind
        return TokenLikelihood(found.nats.unflatten(1, (-1, 2)).sum(dim=-1), batch.valid, kind)


NOT_STEERED = (
    "a population weighs sequences of bases and masks, and a model of lm=iupac reveals half of a "
    "base at a time; leave reward and population out, or use a model of lm=mdlm"
)
