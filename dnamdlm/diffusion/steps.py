"""Step rules: how a partly masked sequence moves from time t to an earlier time s.

A rule never calls the network. From the noise and the tokens alone it decides which rows need a
call (`needs_network`); the loop in `reverse` calls the network for these rows and passes the result
to the rule. A rule declares in its attributes what the loop may assume, see `StepRule`.

This module has the interface, ancestral steps and first hitting; `remasking`, `confidence` and
`analytic` have the other rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import RowNoise, Stream

FEW_IDS = 64


@dataclass(frozen=True)
class Step:
    """One step of some rows, as a rule sees it.

    Attributes:
        tokens: tokens at time t.
        free: positions that the rule may write, now or later; all others are given.
        alpha_t: probability that a token is visible at time t, per row.
        alpha_s: the same at time s < t; exactly 1 in the last step of a grid.
        confidence: probability that each written token had when it was drawn, 1 at given tokens;
            kept only for a rule with `uses_confidence`.
        noise: random numbers of these rows.
        draw: number of the step.
        mask_id: id of the mask.
    """

    tokens: Int[Tensor, "B L"]
    free: Bool[Tensor, "B L"]
    alpha_t: Float64[Tensor, " B"]
    alpha_s: Float64[Tensor, " B"]
    confidence: Float64[Tensor, "B L"]
    noise: RowNoise
    draw: int
    mask_id: int

    @property
    def hidden(self) -> Bool[Tensor, "B L"]:
        """Positions that are to be revealed."""
        return self.free & (self.tokens == self.mask_id)

    @property
    def written(self) -> Bool[Tensor, "B L"]:
        """Positions that were revealed before."""
        return self.free & (self.tokens != self.mask_id)

    def uniform(self, stream: Stream) -> Float64[Tensor, "B L"]:
        """One random number in (0, 1) per position, for one purpose in this step."""
        return self.noise.uniform(stream, self.draw, self.tokens.shape[1])

    def select(self, rows: Int[Tensor, " b"] | Bool[Tensor, " B"]) -> Step:
        """The same step for some of the rows."""
        return Step(
            tokens=self.tokens[rows],
            free=self.free[rows],
            alpha_t=self.alpha_t[rows],
            alpha_s=self.alpha_s[rows],
            confidence=self.confidence[rows],
            noise=self.noise.select(rows),
            draw=self.draw,
            mask_id=self.mask_id,
        )


class StepRule(ABC):
    """One reverse step for every row of a batch; a rule of your own needs `__call__` alone.

    Attributes:
        is_paced: rows move along a grid of times, and a step with alpha_s = 1 reveals everything
            that is hidden. A rule that is not paced reveals at least one token of each row per
            call, as many calls as it takes, and ignores the grid.
        reopens: the rule may turn a token it wrote into a mask again, so that rows without masks
            stay in the batch to the end of the grid, and the grid may wait at a time.
        takes_unnormalized: the rule can use distributions that do not sum to 1, such as those of a
            model of scores.
        draws_apart: which positions a step reveals does not depend on the tokens it draws, and each
            of these is drawn by itself, as the field `choice` of the rule says; then a population
            may draw the tokens in another way and weigh them exactly.

    Example:
        >>> from dnamdlm.diffusion import StepRule, draw_tokens
        >>> class RightToLeft(StepRule):
        ...     is_paced = False
        ...
        ...     def __call__(self, step, log_probs):
        ...         num_hidden_from_here = step.hidden.flip(1).cumsum(1).flip(1)
        ...         return draw_tokens(step, log_probs, step.hidden & (num_hidden_from_here == 1))
    """

    is_paced: bool = True
    reopens: bool = False
    takes_unnormalized: bool = False
    draws_apart: bool = False

    @property
    def uses_confidence(self) -> bool:
        """True if the rule reads `Step.confidence`."""
        return False

    @abstractmethod
    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """The tokens at time s, for rows that need the network.

        Args:
            step: the rows.
            log_probs: log p(x0 | xt), at the positions that the rule reads or at more.
        """

    def needs_network(self, step: Step) -> Bool[Tensor, " B"]:
        """True for the rows whose step needs log p(x0 | xt): all that are not finished."""
        return step.hidden.any(dim=-1)

    def for_normalized(self) -> StepRule:
        """The same rule for a model of normalised distributions, where that makes it cheaper."""
        return self

    def reads(self, step: Step) -> Bool[Tensor, "B L"]:
        """Positions whose distribution the rule looks at, for rows that need the network."""
        return step.hidden

    def without_network(self, step: Step) -> Int[Tensor, "B L"]:
        """The tokens at time s, for rows that do not need the network."""
        return step.tokens

    def next_alpha(self, step: Step) -> Float64[Tensor, " B"]:
        """Alpha at which the network is called next, for a rule that is not paced.

        The default is the share of the free positions that are written.

        Args:
            step: the rows; both alphas are those of the last call.
        """
        return step.written.sum(dim=-1).double() / step.free.sum(dim=-1)


def reveal_probability(
    alpha_t: Float[Tensor, " B"], alpha_s: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """Probability that a token hidden at time t is visible at s: (alpha_s - alpha_t)/(1 - alpha_t).

    Exactly 1 when alpha_s is 1, whatever alpha_t.
    """
    hidden = torch.where(alpha_t < 1, 1 - alpha_t, 1.0)
    return torch.where(alpha_s >= 1, 1.0, (alpha_s - alpha_t) / hidden)


def ancestral_probabilities(
    log_probs: Float[Tensor, "B L V"],
    alpha_t: Float[Tensor, " B"],
    alpha_s: Float[Tensor, " B"],
    *,
    xt: Int[Tensor, "B L"],
    mask_id: int,
) -> Float[Tensor, "B L V"]:
    """The distribution of every token at time s given the sequence at time t, independently.

    A visible token is kept; a hidden one is revealed with `reveal_probability`, then drawn from
    p(x0 | xt).

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 7.
    """
    masked = (xt == mask_id).unsqueeze(-1)
    reveal = reveal_probability(alpha_t, alpha_s)[:, None, None]
    is_mask = torch.arange(log_probs.shape[-1], device=xt.device) == mask_id
    of_hidden = torch.where(is_mask, 1 - reveal, reveal * log_probs.exp())
    return torch.where(masked, of_hidden, log_probs.exp())


def draw_tokens(
    step: Step,
    log_probs: LogProbs,
    chosen: Bool[Tensor, "B L"],
    choice: Choice = UNCHANGED,
) -> Int[Tensor, "B L"]:
    """Draw the chosen positions independently, each from its own distribution; the others stay."""
    uniforms = step.uniform(Stream.TOKENS)
    if log_probs.values.is_cuda and log_probs.values.shape[-1] <= FEW_IDS:
        # at all positions, of which a GPU has many at once, rather than wait for a count.
        return torch.where(chosen, log_probs.each(choice.draw, uniforms), step.tokens)
    drawn = log_probs.of_chosen(chosen, choice.draw, uniforms)
    return step.tokens.masked_scatter(chosen, drawn)


@dataclass(frozen=True)
class Ancestral(StepRule):
    """The exact reverse step of the masked process: reveal each hidden token independently.

    The reveal is a Bernoulli draw and the token a categorical draw in float64, so that each step is
    exact, and a row in which nothing is revealed needs no network call.

    Example: at a low temperature the most likely base alone is drawn.
        >>> import torch
        >>> from dnamdlm.diffusion import Ancestral, Choice, sample, subs
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> scores = torch.tensor([0.0] * 7 + [1.0, 0.0, 0.0, 0.0, 0.0])
        >>> def denoise(xt, t):
        ...     return subs(scores.expand(*xt.shape, -1), xt, dna.vocabulary)
        >>> rule = Ancestral(Choice(temperature=0.2))
        >>> dna.decode(sample(denoise, 1, 10, dna.vocabulary, rule=rule, seed=0)[0])
        'AAAAAAAAAA'
    """

    choice: Choice = UNCHANGED

    draws_apart = True

    def needs_network(self, step: Step) -> Bool[Tensor, " B"]:
        """True for the rows in which this step reveals a token."""
        return self._revealed(step).any(dim=-1)

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """Draw the tokens that become visible."""
        return draw_tokens(step, log_probs, self._revealed(step), self.choice)

    def reads(self, step: Step) -> Bool[Tensor, "B L"]:
        """The tokens that become visible."""
        return self._revealed(step)

    def _revealed(self, step: Step) -> Bool[Tensor, "B L"]:
        """Hidden positions that become visible in this step."""
        reveal = reveal_probability(step.alpha_t, step.alpha_s)
        return step.hidden & (step.uniform(Stream.REVEALS) < reveal[:, None])


@dataclass(frozen=True)
class FirstHitting(StepRule):
    """The reverse process in continuous time: one token per call, at the time when it appears.

    With n tokens hidden at mask probability m, the next one appears at mask probability
    m u^(1/n), u uniform, and is any of the n with equal probability. There is no discretisation
    error, and there are no more calls than tokens.

    Source: Zheng et al. 2024 (arXiv:2409.02908), section 4.1, for any schedule.

    Example: sequences of a model that knows nothing of DNA.
        >>> import torch
        >>> from dnamdlm.diffusion import FirstHitting, sample, subs
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> def uniform(xt, t):
        ...     return subs(torch.zeros(*xt.shape, 12), xt, dna.vocabulary)
        >>> dna.decode(sample(uniform, 1, 10, dna.vocabulary, rule=FirstHitting(), seed=0)[0])
        'CAACTCTTTC'
    """

    choice: Choice = UNCHANGED

    is_paced = False
    draws_apart = True

    def next_alpha(self, step: Step) -> Float64[Tensor, " B"]:
        """Where the next token of each row appears."""
        uniforms = step.noise.uniform(Stream.HITS, step.draw)
        return 1 - (1 - step.alpha_t) * uniforms ** (1 / step.hidden.sum(dim=-1))

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "B L"]:
        """Reveal one hidden position, chosen uniformly."""
        return draw_tokens(step, log_probs, self.reads(step), self.choice)

    def reads(self, step: Step) -> Bool[Tensor, "B L"]:
        """The position that is revealed."""
        hidden = step.hidden
        uniforms = step.noise.uniform(Stream.POSITIONS, step.draw)
        place = (uniforms * hidden.sum(dim=-1)).floor()
        return hidden & (hidden.cumsum(dim=-1) == place[:, None] + 1)
