"""Steering: populations within the reverse process.

The target is a distribution over finished sequences, p(x) exp(r(x) / a) / Z, where p is that of
the sampler with its step rule, grid, guidance and templates. `Tilt` says what is asked for, and
`Steering` keeps the populations of one batch: the reverse process asks it after each step which
member each slot holds. Where the totals of the token distributions are part of the target (guidance
to p(x | y)^g p(x)^(1 - g), or a template that allows some bases alone), their factors are weights.

Rows of a batch are the slots of its populations, population by population.

Shapes: P populations of K slots, B = P K rows, of which b take part in a step, L positions, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.automaton import Automaton
from dnamdlm.diffusion.categorical import Choice, inverse_cdf
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.lookahead import twisted
from dnamdlm.diffusion.population import Population, slot_keys
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.remembering import RememberingDenoiser
from dnamdlm.diffusion.steps import Step, StepRule
from dnamdlm.diffusion.tilt import Outcome, Tilt
from dnamdlm.diffusion.valuing import Valuation
from dnamdlm.errors import ConfigError


class Steering:
    """The populations of one batch, through one reverse process or several in sequence."""

    def __init__(
        self,
        tilt: Tilt,
        keys: Int[Tensor, " P"],
        *,
        mask_id: int,
        counts_totals: bool = False,
        remembers: bool = False,
    ) -> None:
        """Start with equal weights.

        Args:
            tilt: the target.
            keys: noise key of each population.
            mask_id: id of the mask.
            counts_totals: the denoiser gives unnormalised distributions whose totals are part of
                the target.
            remembers: the denoiser does not see the time, so that it need not be called twice.
        """
        self.tilt = tilt
        self.mask_id = mask_id
        self.counts_totals = counts_totals
        self.remembers = remembers
        self.keys = slot_keys(keys, tilt.size).flatten()
        self.of_populations = RowNoise(keys)
        self.values = Valuation(tilt, RowNoise(self.keys), self._predicted, mask_id=mask_id)
        self.population = Population.of_size(len(keys), tilt.size, keys.device)
        self.parts = 0
        self.constraints: Constraints | None = None
        self.denoise: RememberingDenoiser | None = None
        self.valued: Tensor | None = None

    def begin(
        self, denoise: Callable[..., Tensor], constraints: Constraints | None
    ) -> RememberingDenoiser:
        """Enter a reverse process of all rows, and return the denoiser that it is to call."""
        self.constraints = constraints
        self.parts += 1
        self.denoise = RememberingDenoiser(
            denoise, num_rows=len(self.keys), remembers=self.remembers
        )
        return self.denoise

    def conditioned(
        self, log_probs: LogProbs, masked: Bool[Tensor, "b L"], rows: Tensor
    ) -> tuple[LogProbs, Float64[Tensor, "b L"] | None]:
        """What the rule draws from, and log of the factor by which the target differs from it.

        Args:
            log_probs: of the denoiser.
            masked: hidden positions.
            rows: the rows in the batch.
        """
        constraints = Constraints() if self.constraints is None else self.constraints.select(rows)
        allowed = constraints.allowed
        if not self.counts_totals and allowed is None:
            return log_probs, None
        normalized = log_probs.changed(_normalized)
        wide = log_probs if self.counts_totals else normalized
        drawn = constraints.conditioned(normalized if self.counts_totals else log_probs, masked)
        if allowed is None:
            return drawn, wide.each(_log_total)
        return drawn, wide.each(_log_total, allowed.expand(*masked.shape, -1))

    def proposed(
        self,
        step: Step,
        rows: Int[Tensor, " b"],
        *,
        log_probs: LogProbs,
        totals: Float64[Tensor, "b L"] | None,
        after: Int[Tensor, "b L"],
        rule: StepRule,
        time: Float64[Tensor, " b"],
    ) -> Int[Tensor, "b L"]:
        """The tokens after a step of the rule, drawn again where the proposal is another one.

        Args:
            step: the rows before it.
            rows: their numbers in the batch.
            log_probs: what the rule drew from.
            totals: see `conditioned`.
            after: what it drew.
            rule: the rule; where tokens are drawn again, its `choice` says how it draws them.
            time: time of each row after the step.
        """
        revealed = step.hidden & (after != self.mask_id)
        ratios = torch.zeros(after.shape, dtype=torch.float64, device=after.device)
        if totals is not None and not rule.reopens:
            ratios = torch.where(revealed, totals, ratios)
        if self.tilt.is_twisted and bool(revealed.any()):
            choice: Choice = getattr(rule, "choice")  # noqa: B009
            probs = choice.probabilities(log_probs.at(revealed))
            address = self._address(step.draw, 1)
            values = self.values.of_tokens(
                step,
                rows,
                log_probs=log_probs.dense(),
                revealed=revealed,
                probs=probs,
                time=time,
                address=address,
            )
            log_q = twisted(probs, values, probs > 0)
            uniforms = step.uniform(Stream.TOKENS)[revealed]
            tokens = inverse_cdf(log_q.exp(), uniforms)
            after = after.masked_scatter(revealed, tokens)
            gained = (probs.log() - log_q).gather(-1, tokens[:, None])[:, 0]
            ratios[revealed] += gained
        if self.tilt.within is not None and bool(revealed.any()):
            choice = getattr(rule, "choice")  # noqa: B009
            probs = choice.probabilities(log_probs.dense())
            after, gained = self._within(self.tilt.within, step, probs, after, revealed)
            ratios[:, 0] += gained
        owed = torch.zeros(len(self.keys), dtype=torch.float64, device=after.device)
        owed[rows] = ratios.sum(dim=-1)
        self.population = self.population.proposed(owed.view_as(self.population.stored))
        return after

    def _within(
        self,
        automaton: Automaton,
        step: Step,
        probs: Float64[Tensor, "b L V"],
        after: Int[Tensor, "b L"],
        revealed: Bool[Tensor, "b L"],
    ) -> tuple[Int[Tensor, "b L"], Float64[Tensor, " b"]]:
        """Tokens within the accepted sequences where the step reveals some, and log p - log q.

        Of a row that cannot be accepted any more the tokens stay, and its weight becomes 0.
        """
        weights = automaton.weights(probs, step.tokens, self.mask_id)
        before = automaton.log_totals(weights)
        drawn = automaton.draw(weights, step.uniform(Stream.TOKENS))
        possible = before.isfinite()
        after = torch.where(revealed & possible[:, None], drawn, after)
        shown = torch.where(revealed, after, step.tokens)
        left = automaton.log_totals(automaton.weights(probs, shown, self.mask_id))
        return after, torch.where(possible, before - left, -torch.inf)

    def selected(
        self,
        tokens: Int[Tensor, "B L"],
        rows: Int[Tensor, " b"],
        draw: int,
        time: Float64[Tensor, " b"],
    ) -> Int[Tensor, " B"] | None:
        """Weigh the rows that took a step; the row that each row now holds, None if its own.

        Args:
            tokens: all rows after the step.
            rows: the rows that took it.
            draw: number of the step.
            time: time of each of these rows after it.
        """
        size = self.tilt.size
        self._weigh(
            tokens, rows, self.values.of_rows(tokens[rows], rows, time, self._address(draw, 0))
        )
        unfinished = (tokens == self.mask_id).any(dim=-1).view(-1, size).any(dim=-1)
        uniforms = self.of_populations.uniform(Stream.RESAMPLING, self._address(draw, 0))
        before = self.population
        self.population, ancestors = before.resampled(
            uniforms, threshold=self.tilt.threshold, may=unfinished
        )
        first = torch.arange(len(ancestors), device=tokens.device)[:, None] * size
        moved = (ancestors + first).flatten()
        if bool((moved == torch.arange(len(moved), device=moved.device)).all()):
            return None
        assert self.valued is not None
        self.valued = self.valued[moved]
        if self.denoise is not None:
            self.denoise.move(moved)
        return moved

    def finished(self, tokens: Int[Tensor, "B L"]) -> Outcome:
        """Weigh sequences that are complete, and draw one of each population by the weights.

        Raises:
            ConfigError: if every member of a population is impossible under the target.
        """
        if self.valued is None:
            self.valued = torch.full_like(tokens, -1)
        rows = (self.valued != tokens).any(dim=-1).nonzero()[:, 0]
        if len(rows):
            self._weigh(tokens, rows, self.values.rewards(tokens[rows], rows))
        dead = self.population.log_z.isneginf()
        if bool(dead.any()):
            raise ConfigError(
                f"no member of {int(dead.sum())} of {len(dead)} populations is possible under "
                f"what is asked for; use a larger population than {self.tilt.size}, or ask for less"
            )
        chosen = self.population.chosen(self.of_populations.uniform(Stream.SELECTION, 0))
        first = torch.arange(len(chosen), device=chosen.device) * self.tilt.size
        return Outcome(
            self.population.log_z,
            self.population.effective_size,
            first + chosen,
            self.population.log_weights,
        )

    def _weigh(self, tokens: Tensor, rows: Tensor, values: Float64[Tensor, " b"]) -> None:
        """Count the new values of some rows."""
        everyone = torch.zeros(len(self.keys), dtype=torch.float64, device=tokens.device)
        changed = torch.zeros_like(everyone, dtype=torch.bool)
        everyone[rows], changed[rows] = values, True
        shape = self.population.stored.shape
        self.population = self.population.valued(everyone.view(shape), changed.view(shape))
        if self.valued is None:
            self.valued = torch.full_like(tokens, -1)
        self.valued[rows] = tokens[rows]

    def _address(self, draw: int, purpose: int) -> int:
        """Number of a draw, of two purposes, in a part of the sequence."""
        return (self.parts << 32) + 2 * draw + purpose

    def _predicted(self, xt: Tensor, time: Tensor, rows: Tensor) -> Float[Tensor, "b L V"]:
        """Log p(x0 | xt) within the constraints."""
        assert self.denoise is not None
        found = LogProbs(self.denoise(xt, time, rows))
        return self.conditioned(found, xt == self.mask_id, rows)[0].dense()


def _normalized(values: Tensor) -> Tensor:
    """Log-probabilities whose sums are 1."""
    return values.log_softmax(dim=-1)


def _log_total(values: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Log of the sum of each distribution, over the allowed tokens."""
    if allowed is not None:
        values = torch.where(allowed, values, -torch.inf)
    return values.double().logsumexp(dim=-1)
