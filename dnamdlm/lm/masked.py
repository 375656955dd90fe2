"""The masked diffusion language model: a network plus the mathematics of `dnamdlm.diffusion`.

All randomness comes from row keys, so that the loss, the likelihood and the samples of a row do not
depend on the batch it travels in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from dnamdlm.backbones.interface import Backbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.masking import mask_exactly, mask_tokens
from dnamdlm.diffusion.objectives import masked_nll
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.reverse import Generated, reverse_process
from dnamdlm.diffusion.schedules import Schedule, nelbo_weight
from dnamdlm.diffusion.steps import Ancestral, StepRule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.errors import ConfigError
from dnamdlm.lm.interface import LossTerms, TokenLikelihood
from dnamdlm.tokens.vocabulary import Vocabulary

Estimator = Literal["auto", "time", "count"]

# the conditioning value -log alpha is capped here, because alpha reaches 0 at t = 1.
MIN_CONDITIONING_ALPHA = 1e-4

# Matrix products of another height may round differently, and one rounding can change a base. So
# generation calls the network with this many rows always: one on a CPU, where a row is work
# enough, and a padded group elsewhere.
ROWS_PER_CALL_CPU = 1
ROWS_PER_CALL = 32


class MaskedDiffusionLM(nn.Module):
    """Masked diffusion with the SUBS parameterization and the continuous-time bound.

    The network is conditioned on time exactly if `backbone.time_conditioning` says so.

    Source: Sahoo et al. 2024 (arXiv:2406.07524).
    """

    real_tokens: Tensor

    def __init__(
        self,
        backbone: Backbone,
        vocabulary: Vocabulary,
        schedule: Schedule,
        times: TimeSampler,
    ) -> None:
        """Join the parts.

        Args:
            backbone: a module with the interface of `Backbone`; its vocabulary may be padded.
            vocabulary: meaning of the ids.
            schedule: noise schedule.
            times: how t is drawn in training.

        Raises:
            ConfigError: if the backbone knows fewer ids than the vocabulary has.
        """
        super().__init__()
        if backbone.vocab_size < len(vocabulary):
            raise ConfigError(
                f"backbone.vocab_size={backbone.vocab_size} is below the {len(vocabulary)} ids of "
                f"the vocabulary; use {len(vocabulary)} or more"
            )
        self.backbone = backbone
        self.schedule = schedule
        self.times = times
        self._vocabulary = vocabulary
        real_tokens = torch.zeros(backbone.vocab_size, dtype=torch.bool)
        real_tokens[list(vocabulary.real_ids)] = True
        self.register_buffer("real_tokens", real_tokens, persistent=False)

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        return self._vocabulary

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        return self._vocabulary.mask_id

    def denoise(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Give log p(x0 | xt) in float32 or wider, one-hot at visible positions.

        Args:
            xt: ids with masks.
            time: t in [0, 1] per row; needed only by a network with time conditioning.
            present: False at padding; None means no padding.

        Raises:
            ValueError: if the network is conditioned on time and `time` is missing.
        """
        logits = self.backbone(xt, self._conditioning(time), present)
        return substitution(logits, xt, real_tokens=self.real_tokens, mask_id=self.mask_id)

    def hidden(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """Last hidden states of clean sequences, as the network sees them at time 0."""
        time = torch.zeros(len(batch), device=batch.tokens.device)
        return self.backbone.hidden(
            batch.tokens, self._conditioning(time), _padding(batch.present)
        )

    def forward(self, batch: Batch) -> LossTerms:
        """The same as `loss_terms`, for wrappers that call modules."""
        return self.loss_terms(batch)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """One draw of the bound in nats per token; randomness is a function of `batch.key`."""
        noise = RowNoise(batch.key)
        t = self.times(noise.uniform(Stream.TIMES, 0), batch.row, batch.global_size)
        return LossTerms(self._nats_at_time(batch, t, noise, draw=0), batch.valid)

    @torch.no_grad()
    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: Estimator = "auto"
    ) -> TokenLikelihood:
        """Estimate the upper bound of -log p, averaged over stratified draws of each row.

        Both estimators have the same expectation for a network that does not see the time and a
        schedule that runs from 1 to 0. `time` draws t and masks independently; `count` draws how
        many tokens are masked and then which, which has the lower variance and does not depend on
        the schedule.

        Args:
            batch: windows; only `valid` tokens are masked and scored.
            draws: noise draws per row, taken from equal strata and run one after the other.
            estimator: `auto` is `count` for a network that does not see the time, else `time`.

        Raises:
            ConfigError: if `draws` is below 1, or `count` is asked of a network that sees time.

        Source: Ou et al. 2024 (arXiv:2406.03736) for exact counts.
        """
        if draws < 1:
            raise ConfigError(f"draws must be at least 1, got {draws}")
        if estimator not in {"auto", "time", "count"}:
            raise ConfigError(f"estimator must be auto, time or count, got {estimator!r}")
        sees_time = self.backbone.time_conditioning
        if estimator == "count" and sees_time:
            raise ConfigError(
                "estimator=count has no time to show to a network with time_conditioning=true; "
                "use estimator=time"
            )
        by_count = not sees_time if estimator == "auto" else estimator == "count"
        noise = RowNoise(batch.key)
        total = torch.zeros(batch.tokens.shape, dtype=torch.float64, device=batch.tokens.device)
        with self._evaluating():
            for draw in range(draws):
                if by_count:
                    total += self._nats_at_count(batch, noise, draw, draws)
                else:
                    t = (noise.uniform(Stream.TIMES, draw) + draw) / draws
                    total += self._nats_at_time(batch, t, noise, draw)
        return TokenLikelihood(total / draws, batch.valid, "upper bound")

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

        Raises:
            ConfigError: if a number is below 1 or `initial` does not fit.
        """
        initial = self._initial(len(keys), length, initial, batch_size).to(keys.device)
        times = linear_grid(num_steps) if times is None else times
        tokens, network_calls, row_calls = [initial[:0]], 0, 0
        with self._evaluating():
            for rows in torch.arange(len(keys), device=keys.device).split(batch_size):
                part = reverse_process(
                    self._network_of(initial[rows]),
                    initial[rows],
                    rule=Ancestral() if rule is None else rule,
                    schedule=self.schedule,
                    times=times,
                    mask_id=self.mask_id,
                    noise=RowNoise(keys).select(rows),
                    constraints=None if constraints is None else constraints.select(rows),
                )
                tokens.append(part.tokens)
                network_calls += part.network_calls
                row_calls += part.row_calls
        return Generated(torch.cat(tokens), network_calls, row_calls)

    def _conditioning(self, time: Tensor | None) -> Tensor | None:
        """-log alpha(t) in float32, or None for a network that does not see the time."""
        if not self.backbone.time_conditioning:
            return None
        if time is None:
            raise ValueError("this network is conditioned on time; give the time of every row")
        alpha = self.schedule.alpha(time.double())
        return -alpha.clamp(min=MIN_CONDITIONING_ALPHA).log().float()

    def _nats_at_time(self, batch: Batch, t: Tensor, noise: RowNoise, draw: int) -> Tensor:
        """Mask independently at time t and weigh the cross-entropy for the bound."""
        uniforms = noise.uniform(Stream.MASKS, draw, batch.length)
        xt = mask_tokens(
            batch.tokens, 1 - self.schedule.alpha(t), batch.valid, uniforms, mask_id=self.mask_id
        )
        log_probs = self.denoise(xt, t, _padding(batch.present))
        weight = nelbo_weight(self.schedule, t)
        return masked_nll(log_probs, batch.tokens, xt, weight, mask_id=self.mask_id)

    def _nats_at_count(self, batch: Batch, noise: RowNoise, draw: int, draws: int) -> Tensor:
        """Mask exactly k of the n valid tokens, k from the stratum of this draw; weight n / k."""
        num_valid = batch.valid.sum(dim=1)
        place = (noise.uniform(Stream.COUNTS, draw) + draw) / draws
        count = torch.minimum((num_valid * place).floor().long() + 1, num_valid)
        uniforms = noise.uniform(Stream.MASKS, draw, batch.length)
        xt = mask_exactly(batch.tokens, count, batch.valid, uniforms, mask_id=self.mask_id)
        log_probs = self.denoise(xt, None, _padding(batch.present))
        weight = num_valid / count.clamp(min=1)
        return masked_nll(log_probs, batch.tokens, xt, weight, mask_id=self.mask_id)

    def _network_of(self, initial: Tensor) -> _FixedShapeDenoiser:
        """The network for the rows of one generation batch."""
        present = _padding(initial != self._vocabulary.pad_id)
        rows = ROWS_PER_CALL_CPU if initial.device.type == "cpu" else ROWS_PER_CALL
        return _FixedShapeDenoiser(self, present, rows)

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


def _padding(present: Tensor) -> Tensor | None:
    """None where nothing is padding: attention without a mask is faster than any wait for this."""
    return None if bool(present.all()) else present


class _FixedShapeDenoiser:
    """Calls a model with the same number of rows always; see `ROWS_PER_CALL`."""

    def __init__(self, model: MaskedDiffusionLM, present: Tensor | None, num_rows: int) -> None:
        self.model = model
        self.present = present
        self.num_rows = num_rows

    def __call__(
        self, xt: Int[Tensor, "b L"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b L V"]:
        """Give log p(x0 | xt); the last group is filled up with copies of its last row."""
        places = torch.arange(len(xt), device=xt.device)
        missing = -len(xt) % self.num_rows
        padded = torch.cat([places, places[-1:].expand(missing)])
        groups = [
            self.model.denoise(
                xt[group], time[group], None if self.present is None else self.present[rows[group]]
            )
            for group in padded.split(self.num_rows)
        ]
        return torch.cat(groups)[: len(xt)]
