"""The reverse process: from masks to sequences, in one loop for all step rules.

The loop does what every sampler needs and no rule should repeat: it finds the rows that are
unfinished and those that need a network call, keeps given tokens, and counts the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.clocks import clock_of
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import check_times
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import Step, StepRule
from dnamdlm.diffusion.tilt import Outcome
from dnamdlm.errors import ConfigError


@runtime_checkable
class Denoiser(Protocol):
    """A network as a function of the noisy tokens alone, with all else fixed."""

    def __call__(
        self,
        xt: Int[Tensor, "b L"],
        time: Float64[Tensor, " b"],
        rows: Int[Tensor, " b"],
    ) -> Float[Tensor, "b L V"]:
        """Give log p(x0 | xt) at time t; `rows` are indices of these rows in the whole batch."""
        ...


@runtime_checkable
class SparseDenoiser(Denoiser, Protocol):
    """A denoiser that can skip positions."""

    def at(
        self,
        xt: Int[Tensor, "b L"],
        time: Float64[Tensor, " b"],
        rows: Int[Tensor, " b"],
        wanted: Bool[Tensor, "b L"],
    ) -> LogProbs:
        """The result of a call where `wanted`; elsewhere nothing, or -inf for every token."""
        ...


@dataclass(frozen=True)
class Generated:
    """Finished sequences and their cost.

    Attributes:
        tokens: token ids without masks.
        network_calls: calls of the network, each for some rows of the batch.
        row_calls: rows summed over all calls, the cost independent of the batch size.
        outcome: of the populations that the sequences were drawn from; None without any.
    """

    tokens: Int[Tensor, "B L"]
    network_calls: int
    row_calls: int
    outcome: Outcome | None = None


@torch.no_grad()
def reverse_process(
    denoise: Denoiser,
    initial: Int[Tensor, "B L"],
    *,
    rule: StepRule,
    schedule: Schedule,
    times: Float64[Tensor, " T1"],
    mask_id: int,
    noise: RowNoise,
    constraints: Constraints | None = None,
    fill: Bool[Tensor, "B L"] | None = None,
    watch: Callable[[int], None] | None = None,
    steering: Steering | None = None,
) -> Generated:
    """Run the reverse process from `initial` until no mask is left.

    Tokens of `initial` that are not the mask are returned unchanged, whatever the rule. Rows
    without masks leave the batch (unless the rule may reopen tokens), and the network is called
    only for rows whose step needs it. Each row has its own noise, so that the result does not
    depend on which rows share a batch.

    Args:
        denoise: the network, see `Denoiser`.
        initial: token ids; the mask id where a token is to be generated.
        rule: the step rule.
        schedule: noise schedule; at time 0 its alpha is taken as 1, so that the last step reveals
            everything even if the schedule stops short of 1.
        times: falling times that end at 0, see `dnamdlm.diffusion.grids`. A rule that is not paced
            starts at the first and ignores the others.
        mask_id: id of the mask.
        noise: one key per row of `initial`.
        constraints: tokens that hidden positions may become; None allows all that the model does.
        fill: masks to be filled; the others stay masks. None fills all.
        watch: called after each network call with the number of tokens just filled, less those
            reopened.
        steering: populations whose slots the rows are. After each step a row may be replaced by
            another row of its population; the result has all of them.

    Raises:
        ConfigError: if `times` does not fall from at most 1 to exactly 0, or the rule leaves masks.

    Example: fill the gaps of a template with A.
        >>> import torch
        >>> from dnamdlm.diffusion import Ancestral, LogLinear, RowNoise, linear_grid
        >>> from dnamdlm.diffusion import reverse_process, row_keys
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> def always_a(xt, time, rows):
        ...     return torch.full((*xt.shape, 12), -torch.inf).index_fill(2, torch.tensor(7), 0.0)
        >>> generated = reverse_process(
        ...     always_a,
        ...     torch.from_numpy(dna.encode("T.T..T"))[None],
        ...     rule=Ancestral(),
        ...     schedule=LogLinear(),
        ...     times=linear_grid(10),
        ...     mask_id=dna.vocabulary.mask_id,
        ...     noise=RowNoise(row_keys(0, torch.tensor([0]))),
        ... )
        >>> dna.decode(generated.tokens[0])
        'TATAAT'
        >>> generated.network_calls <= 3
        True
    """
    check_times(times, may_wait=rule.reopens)
    tokens = initial.clone()
    free = initial == mask_id if fill is None else fill & (initial == mask_id)
    confidence = torch.ones(initial.shape, dtype=torch.float64, device=initial.device)
    clock = clock_of(rule, schedule, times.to(initial.device), free)
    progress = _Progress(watch, free, mask_id, tokens)
    network_calls, row_calls = 0, 0
    if steering is not None:
        denoise = steering.begin(denoise, constraints)
    search = _Search(rule, free)
    for draw in range(clock.num_draws):
        batch = Step(tokens, free, *clock.alphas(draw), confidence, noise, draw, mask_id)
        found = search.rows(batch)
        if found is None:
            break
        rows, step, waiting = found
        if waiting is not None:
            idle = batch.select(waiting)
            tokens[waiting] = torch.where(idle.free, rule.without_network(idle), idle.tokens)
        if len(rows) == 0:
            continue
        log_probs = _call(denoise, rule, step, clock.time(step, rows), rows)
        network_calls, row_calls = network_calls + 1, row_calls + len(rows)
        log_totals = None
        if steering is not None:
            log_probs, log_totals = steering.conditioned(log_probs, step.tokens == mask_id, rows)
        elif constraints is not None:
            log_probs = constraints.select(rows).conditioned(log_probs, step.tokens == mask_id)
        after = rule(step, log_probs)
        if steering is not None:
            after = steering.proposed(
                step,
                rows,
                log_probs=log_probs,
                totals=log_totals,
                after=after,
                rule=rule,
                time=clock.after(draw, rows),
            )
        tokens[rows] = after = torch.where(step.free, after, step.tokens)
        if rule.uses_confidence:
            confidence[rows] = _confidence(step, log_probs, after)
        # before the next call makes as many.
        del log_probs
        if steering is not None:
            ancestors = steering.selected(tokens, rows, draw, clock.after(draw, rows))
            if ancestors is not None:
                tokens, confidence = tokens[ancestors], confidence[ancestors]
                clock.move(ancestors)
        progress.report(tokens)
    _check_finished(rule, free & (tokens == mask_id))
    if steering is not None and steering.denoise is not None:
        network_calls, row_calls = steering.denoise.calls, steering.denoise.row_calls
    return Generated(tokens, network_calls, row_calls)


def _call(denoise: Denoiser, rule: StepRule, step: Step, time: Tensor, rows: Tensor) -> LogProbs:
    """Call the network, only at the positions that the rule reads if it can leave others out."""
    if isinstance(denoise, SparseDenoiser):
        return denoise.at(step.tokens, time, rows, rule.reads(step))
    return LogProbs(denoise(step.tokens, time, rows))


class _Search:
    """Finds the rows that take part in each step: their numbers, since a mask is counted each time.

    Every number that depends on the tokens is one that the host waits for on a GPU: one in a step
    that calls the network.
    """

    def __init__(self, rule: StepRule, free: Bool[Tensor, "B L"]) -> None:
        self.rule = rule
        # all rows stay to the end where tokens may be opened again.
        self.stay = free.any(dim=-1).nonzero()[:, 0] if rule.reopens else None
        # by the definition of `StepRule.needs_network`, which is what is unfinished.
        self.needs_all = type(rule).needs_network is StepRule.needs_network

    def rows(self, batch: Step) -> tuple[Int[Tensor, " t"], Step, Int[Tensor, " f"] | None] | None:
        """Rows that need the network, their step, and rows that change without; None at the end."""
        if self.stay is not None:
            return self._of_staying(batch, self.stay)
        unfinished = batch.hidden.any(dim=-1)
        if batch.tokens.is_cuda and not self.needs_all:
            # in one question; whether there is an end is another only where nothing is to be done.
            rows = (unfinished & self.rule.needs_network(batch)).nonzero()[:, 0]
            if len(rows) == 0 and not bool(unfinished.any()):
                return None
            return rows, batch.select(rows), None
        rows = unfinished.nonzero()[:, 0]
        if len(rows) == 0:
            return None
        step = batch.select(rows)
        if self.needs_all:
            return rows, step, None
        called = self.rule.needs_network(step).nonzero()[:, 0]
        return rows[called], step.select(called), None

    def _of_staying(
        self, batch: Step, stay: Tensor
    ) -> tuple[Int[Tensor, " t"], Step, Int[Tensor, " f"]] | None:
        """The same where tokens may be opened again."""
        if len(stay) == 0:
            return None
        step = batch.select(stay)
        called, waiting = _parted(self.rule.needs_network(step))
        return stay[called], step.select(called), stay[waiting]


def _parted(flags: Bool[Tensor, " b"]) -> tuple[Int[Tensor, " t"], Int[Tensor, " f"]]:
    """Numbers of the rows that are True, and of those that are False."""
    order = flags.to(torch.uint8).argsort(stable=True)
    num_false = len(order) - int(flags.sum())
    return order[num_false:], order[:num_false]


def _confidence(step: Step, log_probs: LogProbs, after: Tensor) -> Float64[Tensor, "b L"]:
    """Probability of each token when it was drawn, with the tokens of this step."""

    def shown(values: Tensor, after: Tensor) -> Tensor:
        return values.gather(-1, after.unsqueeze(-1)).squeeze(-1).double().exp()

    return torch.where(step.hidden, log_probs.each(shown, after), step.confidence)


def _check_finished(rule: StepRule, is_left: Bool[Tensor, "B L"]) -> None:
    """Refuse masks that are left, which no rule of `dnamdlm.diffusion` leaves with SUBS."""
    if bool(is_left.any()):
        duty = "every hidden token where alpha_s is 1"
        if not rule.is_paced:
            duty = "at least one token of each row per call"
        raise ConfigError(
            f"{rule!r} left {int(is_left.sum())} masks; a rule with is_paced={rule.is_paced} must "
            f"reveal {duty}, and the network must give the mask probability 0, as `subs` does"
        )


class _Progress:
    """Tells an observer how many tokens were filled since its last report."""

    def __init__(
        self, watch: Callable[[int], None] | None, free: Tensor, mask_id: int, tokens: Tensor
    ) -> None:
        self.watch, self.free, self.mask_id = watch, free, mask_id
        self.num_left = 0 if watch is None else self._count(tokens)

    def report(self, tokens: Tensor) -> None:
        """Call the observer, if there is one; counting waits for the device."""
        if self.watch is not None:
            before, self.num_left = self.num_left, self._count(tokens)
            self.watch(before - self.num_left)

    def _count(self, tokens: Tensor) -> int:
        return int((self.free & (tokens == self.mask_id)).sum())
