"""The block diffusion language model: autoregressive over blocks, masked diffusion within them.

p(x) is the product over blocks b of p(x^b | x^<b), and each factor is a masked diffusion model of
one block. With one block it is `MaskedDiffusionLM`, bit for bit; with blocks of one token it is an
autoregressive model, whose likelihood is exact. One network serves every block length.

Shapes: B sequences, L positions, N blocks of S positions, V outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.backbones.block_pass import block_reader_of
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.steps import Ancestral, StepRule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block_rows import BlockRows, check_block_length
from dnamdlm.lm.conditioning import conditioning_value
from dnamdlm.lm.diffusion_model import DiffusionModel, loss_of, terms_of
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.language_model import LossTerms, TokenLikelihood
from dnamdlm.lm.model_parts import checked_start, evaluating
from dnamdlm.lm.noising import Draw
from dnamdlm.lm.objectives import Objective, ScoreEntropy
from dnamdlm.lm.order_likelihood import order_likelihood
from dnamdlm.lm.places import places_of
from dnamdlm.lm.sampling.block_context import BlockContext, BlockParts
from dnamdlm.lm.sampling.block_generation import BlockRun, check_left_to_right, pieces_of
from dnamdlm.lm.sampling.class_guidance import ClassGuidance, Guidance, NumberGuidance
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.vocabulary import Vocabulary


class BlockDiffusionLM(DiffusionModel):
    """Block diffusion: a network that reads blocks from left to right, and a noise process.

    Source: Arriola et al. 2025 (arXiv:2503.09573).

    Example:
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.randomness import row_keys
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> backbone = DiT(vocab_size=12, hidden_size=16, num_blocks=1, num_heads=2)
        >>> lm = BlockDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, block_length=4)
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
        block_length: int = 16,
        label_dropout: float | int = 0.1,
        experts: Experts | None = None,
    ) -> None:
        """Join the parts.

        Args:
            backbone: a `DiT`, or another network that reads blocks, see `BlockReader`.
            vocabulary: meaning of the ids.
            schedule: noise schedule; None is `LogLinear()`.
            times: how the t of each block is drawn in training; None is `Stratified()`.
            objective: what is minimised in each block; None is the bound of continuous time.
            block_length: positions per block.
            label_dropout: as in `MaskedDiffusionLM`.
            experts: as in `MaskedDiffusionLM`; they see what the network sees.

        Raises:
            ConfigError: if the backbone cannot read blocks from left to right, has too few outputs,
                or does not suit the objective, or the block length is below 1.
        """
        check_block_length(block_length)
        block_reader_of(backbone)
        assert isinstance(backbone, Backbone)
        super().__init__(
            backbone, vocabulary, schedule, times, objective,
            label_dropout=label_dropout, experts=experts,
        )  # fmt: skip
        self.block_length = block_length

    def hidden(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """Last hidden states of clean sequences; each sees its own block and those before."""
        blocks = self._blocks(batch)
        network = blocks.network(self.backbone, None, self._clean_time(batch))
        rows = blocks.rows
        time = torch.zeros(len(rows), device=rows.tokens.device)
        with computing_on(batch.tokens.device):
            states = network.hidden(*self._inputs_of(rows.tokens, time, rows, batch.label))
        return blocks.joined(states)

    def forward(self, batch: Batch) -> LossTerms:
        """The same as `loss_terms`, for wrappers that call modules."""
        return self.loss_terms(batch)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """One draw of the objective in every block; randomness is a function of `batch.key`."""
        label = self._training_label(batch)
        blocks = self._blocks(batch)
        draws = self.objective.hide(self.process, blocks.rows)
        losses = [self._nats(draw, blocks, label, is_counted=True) for draw in draws]
        minimised, bound = terms_of(draws, losses)
        return loss_of(
            blocks.joined(minimised), None if bound is None else blocks.joined(bound), batch
        )

    @torch.no_grad()
    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: str = "auto"
    ) -> TokenLikelihood:
        """-log p of each row: the sum over blocks of estimates of an upper bound of each.

        It is exact for blocks of one token (with a network without time conditioning), and for an
        order of revealing within the blocks.

        Args:
            batch: windows; only `valid` tokens are masked and scored.
            draws: noise draws per block, taken from equal strata.
            estimator: see `dnamdlm.lm.estimators`, applied to every block.

        Raises:
            ConfigError: if `draws` is below 1, or the model has no such estimator.
        """
        if draws < 1:
            raise ConfigError(f"draws must be at least 1, got {draws}")
        chosen = self.chosen_estimator(estimator)
        blocks = self._blocks(batch)
        rows = blocks.rows
        with evaluating(self):
            in_order = order_likelihood(_RowDenoiser(self, blocks), rows, chosen)
            if in_order is not None:
                return TokenLikelihood(blocks.joined(in_order.nats), batch.valid, in_order.kind)
            is_exact = self.block_length == 1 and chosen == "count"
            nats, hidden = self._mean_nats(
                rows,
                lambda draw: self._nats(draw, blocks, batch.label),
                estimator=chosen,
                draws=1 if is_exact else draws,
            )
        found = () if hidden is None else tuple(map(blocks.summed, (hidden.nats, hidden.count)))
        kind = "exact" if is_exact else "upper bound"
        return TokenLikelihood(blocks.joined(nats), batch.valid, kind, *found)

    def log_probs(self, batch: Batch, **settings: Any) -> Tensor:
        """Refused: a base is not conditioned on the bases of later blocks.

        Raises:
            ConfigError: always.
        """
        del batch, settings
        raise ConfigError(
            "log_probs is p(base | all other bases), and a block diffusion model does not see "
            "later blocks; use log_likelihood, or a model trained with lm=mdlm"
        )

    @torch.no_grad()
    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        batch_size: int = 64,
        window: int | None = None,
        **settings: Any,
    ) -> Generated:
        """Make sequences block by block, one per key; see `pieces`, which holds less at once.

        A sequence is a function of its key and the settings; the batch it is made in and the other
        keys do not change it.

        Args:
            keys: noise keys, see `row_keys`; their device is that of the result.
            length: tokens per sequence.
            initial: ids to start from; only masks are filled. None starts from masks alone.
            batch_size: sequences held at once.
            window: most positions that the network reads; None is the whole sequence.
            settings: of `pieces`.

        Raises:
            ConfigError: as `pieces`.
        """
        initial = checked_start(self._vocabulary, len(keys), length, initial, batch_size)
        tokens, num_calls, num_rows = [initial[:0].to(keys.device)], 0, 0
        for rows in torch.arange(len(keys), device=keys.device).split(batch_size):
            if len(rows) == 0:
                continue
            parts = list(
                self.pieces(keys[rows], initial.to(keys.device)[rows], window=window, **settings)
            )
            tokens.append(torch.cat([part.tokens for part in parts], dim=1))
            num_calls += sum(part.network_calls for part in parts)
            num_rows += sum(part.row_calls for part in parts)
        return Generated(torch.cat(tokens), num_calls, num_rows)

    def pieces(
        self,
        keys: Int[Tensor, " B"],
        initial: Int[Tensor, "B L"],
        *,
        window: int | None = None,
        rule: StepRule | None = None,
        num_steps: int = 128,
        times: Float64[Tensor, " T1"] | None = None,
        constraints: Constraints | None = None,
        watch: Callable[[int], None] | None = None,
        guidance: Guidance | None = None,
        use_cache: bool = True,
    ) -> Iterator[Generated]:
        """Fill the masks of some rows and give the blocks from left to right.

        Rows that one call of the network cannot take together are given in one piece.

        Args:
            keys: noise keys of the rows.
            initial: ids to start from; what is given must not lie in a block to the right of one
                with masks.
            window: most positions that the network reads, see `block_context`; None is L.
            rule: step rule within a block; None is the ancestral rule.
            num_steps: steps of a linear time grid per block; not used if `times` is given.
            times: time grid of a block.
            constraints: tokens that masks may become; as for autoregressive models they do not
                look ahead to later blocks.
            watch: called after each step with the number of tokens just filled.
            guidance: a class that the model was trained with; None is without a class.
            use_cache: keep keys and values of finished blocks; without, they are computed in each
                call, with the same result up to rounding.

        Raises:
            ConfigError: if a token is given that would not be seen, or the model cannot be guided
                in this way.
        """
        self.check_guidance(guidance)
        vocabulary = self._vocabulary
        check_left_to_right(
            initial, self.block_length, mask_id=self.mask_id, pad_id=vocabulary.pad_id
        )
        window = initial.shape[1] if window is None else max(window, self.block_length)
        rule = Ancestral() if rule is None else rule
        is_scored = isinstance(self.objective, ScoreEntropy)
        run = BlockRun(
            self._parts(is_scored=is_scored),
            rule if is_scored else rule.for_normalized(),
            linear_grid(num_steps) if times is None else times,
            window,
            constraints,
            guidance,
            watch,
            use_cache,
        )
        yield from pieces_of(run, keys, initial, evaluated=lambda: evaluating(self))

    def check_guidance(self, guidance: Guidance | None) -> None:
        """Refuse guidance that the model cannot follow, with a `ConfigError`."""
        if guidance is None:
            return
        if not isinstance(guidance, ClassGuidance | NumberGuidance):
            raise ConfigError(
                "a classifier reads whole sequences, and block diffusion makes them block by "
                "block; give label=NAME for a model with classes, or use a model of lm=mdlm"
            )
        guidance.check(BlockContext(self._parts(is_scored=False), 1, self.block_length))

    def _blocks(self, batch: Batch) -> BlockRows:
        return BlockRows(batch, self.block_length, self._vocabulary.pad_id)

    def _clean_time(self, batch: Batch) -> Tensor | None:
        """Conditioning value of clean blocks; None without time conditioning."""
        if not self.sees_time:
            return None
        return conditioning_value(
            self.schedule, torch.zeros(len(batch), device=batch.tokens.device)
        )

    def _inputs_of(
        self, xt: Tensor, time: Tensor | None, rows: Batch, label: Tensor | None
    ) -> tuple[Any, ...]:
        """Arguments of the network of block rows; the label is that of each sequence."""
        count = None if label is None else len(label)
        return self._inputs(xt, time, rows.attended, label, num_labels=count)

    def _nats(
        self, draw: Draw, blocks: BlockRows, label: Tensor | None, *, is_counted: bool = False
    ) -> Float[Tensor, "BN S"]:
        """Call the network on a draw of block rows and score its output."""
        network = blocks.network(
            self.backbone,
            self.expert_gates,
            self._clean_time(blocks.batch),
            is_counted=is_counted,
        )
        places = places_of(draw.scored, len(self.real_tokens))
        inputs = self._inputs_of(draw.xt, draw.time, blocks.rows, label)
        return places.spread(draw.loss(places.logits(network, *inputs), places))

    def _parts(self, *, is_scored: bool) -> BlockParts:
        """What generation needs."""
        return BlockParts(
            self.backbone,
            block_reader_of(self.backbone),
            self.expert_gates,
            self.schedule,
            self.real_tokens,
            self.mask_id,
            self._vocabulary.pad_id,
            self.num_classes,
            self.num_numbers,
            self.block_length,
            is_scored,
        )


@dataclass(frozen=True)
class _RowDenoiser:
    """The model of block rows as a masked diffusion model, for orders of revealing."""

    lm: BlockDiffusionLM
    blocks: BlockRows

    @property
    def mask_id(self) -> int:
        return self.lm.mask_id

    def denoise(
        self,
        xt: Int[Tensor, "BN S"],
        time: None,
        present: Tensor | None,
        *,
        label: Tensor | None,
    ) -> Float[Tensor, "BN S V"]:
        """Give log p(x0 | xt) of every block, given the clean blocks before it."""
        del present, label
        lm, blocks = self.lm, self.blocks
        network = blocks.network(lm.backbone, lm.expert_gates, None)
        logits = network(*lm._inputs_of(xt, time, blocks.rows, blocks.batch.label))
        return substitution(logits, xt, real_tokens=lm.real_tokens, mask_id=lm.mask_id)
