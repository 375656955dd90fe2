"""The `sampler` group of a config: a step rule with its time grid, as the user names it.

`generation.py` runs them, and `sampler_names.py` finds them by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from jaxtyping import Float64
from torch import Tensor

from dnamdlm.diffusion.analytic import Analytic
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.confidence import EntropyBounded, Order, SurestFirst, Threshold
from dnamdlm.diffusion.grids import holding_grid
from dnamdlm.diffusion.remasking import (
    Capped,
    Corrector,
    LeastConfident,
    Remasking,
    RemaskStrategy,
    Rescaled,
    WhileWaiting,
)
from dnamdlm.diffusion.steps import Ancestral, FirstHitting, StepRule
from dnamdlm.diffusion.uniform_steps import Replacing
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.time_grids import Grid, OnGrid, OwnClock, grid_times

Strategy = Literal["cap", "rescale", "confidence", "loop", "forward_backward", "corrector"]
STRATEGIES = get_args(Strategy)


@runtime_checkable
class Sampler(Protocol):
    """A way to generate sequences: a `RuleSampler`, or one of the classes that use one in parts."""

    @property
    def name(self) -> str:
        """Short name, for the headers of sequences."""
        ...

    @property
    def steps(self) -> int | None:
        """Steps of the reverse process; None where they depend on the sequence."""
        ...


@runtime_checkable
class RuleSampler(Sampler, Protocol):
    """A sampler of one reverse process over the whole sequence."""

    def rule(self, choice: Choice) -> StepRule:
        """The step rule, which draws tokens as `choice` says."""
        ...

    def times(self) -> Float64[Tensor, " T1"]:
        """Decreasing times from 1 to 0."""
        ...


@dataclass(frozen=True)
class AncestralSampler(OnGrid):
    """The reverse process itself (Sahoo et al. 2024, arXiv:2406.07524, eq. 6).

    Example:
        >>> sampler = AncestralSampler(num_steps=4)
        >>> sampler.times().tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
        >>> sampler.rule(Choice(temperature=0.8))
        Ancestral(choice=Choice(temperature=0.8, top_p=1.0, top_k=None))
    """

    name = "ancestral"

    def rule(self, choice: Choice) -> StepRule:
        """Reveal each hidden token independently."""
        return Ancestral(choice)


@dataclass(frozen=True)
class RenoiseSampler(OnGrid):
    """Ancestral steps that forget and correct, for noise that replaces tokens.

    Attributes:
        eta: probability that a token is drawn anew in a step, whatever it was (arXiv:2503.00307).
        corrections: network calls after each step that draw some tokens given all others.
        sites: tokens that each of them draws; with 1 an exact model stays exact.

    Example:
        >>> RenoiseSampler(num_steps=4, eta=0.1).replacing(Choice()).eta
        0.1
    """

    eta: float = 0.05
    corrections: int = 0
    sites: int = 8
    name = "renoise"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.replacing(Choice())

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        return {} if self.corrections else {"sites": "corrections=0 corrects nothing"}

    def replacing(self, choice: Choice) -> Replacing:
        """Draw every token in every step."""
        return Replacing(choice, self.eta, self.corrections, self.sites)


@dataclass(frozen=True)
class AnalyticSampler(OnGrid):
    """Tweedie steps from scores (Lou et al. 2024, arXiv:2310.16834); for models of scores.

    A model of probabilities gives the same sequences as with `AncestralSampler`, for as many calls.
    """

    name = "analytic"

    def rule(self, choice: Choice) -> StepRule:
        """Reveal with the total that the model gives."""
        return Analytic(choice)


@dataclass(frozen=True)
class FirstHittingSampler(OwnClock):
    """The reverse process in continuous time: one call per token (arXiv:2409.02908)."""

    name = "first_hitting"

    def rule(self, choice: Choice) -> StepRule:
        """Reveal one token at the time when it appears."""
        return FirstHitting(choice)


@dataclass(frozen=True)
class LeftToRightSampler:
    """One token after the other, for autoregressive models, which need no step rule."""

    name = "left_to_right"

    @property
    def steps(self) -> None:
        """One per token."""
        return


@dataclass(frozen=True)
class RemaskSampler:
    """Ancestral steps that may reopen tokens (Wang et al. 2025, arXiv:2503.00307).

    Attributes:
        num_steps: steps from all masked to none.
        grid: spacing of the steps in time, 'linear' or 'cosine'; not used by 'loop'.
        strategy: which tokens are reopened: 'cap', 'rescale', 'confidence', 'loop',
            'forward_backward' or 'corrector'.
        eta: how much is reopened: the largest probability per step ('cap', 'loop') or the share of
            the largest possible one ('rescale', 'confidence').
        strength: steps back per step forth, of 'corrector'.
        begin: share of the steps that is left when the loop begins.
        end: share of the steps that is left when it ends.
        hold: time at which it stays.
    """

    num_steps: int = 128
    grid: Grid = "linear"
    strategy: Strategy = "cap"
    eta: float = 0.02
    strength: float = 1.0
    begin: float = 0.55
    end: float = 0.05
    hold: float = 0.1
    name = "remask"

    def __post_init__(self) -> None:
        self.times()
        self.rule(Choice())

    @property
    def steps(self) -> int:
        """Steps of the grid."""
        return self.num_steps

    def without_effect(self) -> dict[str, str]:
        """Settings that have no effect, given the others, and why."""
        used = {
            "loop": {"eta", "begin", "end", "hold"},
            "corrector": {"grid", "strength"},
            "forward_backward": {"grid"},
        }.get(self.strategy, {"grid", "eta"})
        others = {"grid", "eta", "strength", "begin", "end", "hold"} - used
        return dict.fromkeys(sorted(others), f"strategy={self.strategy} does not use it")

    def rule(self, choice: Choice) -> StepRule:
        """Reveal and reopen."""
        strategies: dict[str, RemaskStrategy] = {
            "cap": Capped(self.eta),
            "rescale": Rescaled(self.eta),
            "confidence": LeastConfident(self.eta),
            "loop": WhileWaiting(self.eta),
            "forward_backward": Corrector(),
            "corrector": Corrector(self.strength),
        }
        if self.strategy not in strategies:
            raise ConfigError(
                f"sampler.strategy={self.strategy} is unknown; choose {', '.join(STRATEGIES)}"
            )
        return Remasking(strategies[self.strategy], choice)

    def times(self) -> Float64[Tensor, " T1"]:
        """Decreasing times from 1 to 0; those of 'loop' wait in between."""
        if self.strategy == "loop":
            return holding_grid(self.num_steps, begin=self.begin, end=self.end, hold=self.hold)
        return grid_times(self.num_steps, self.grid)


@dataclass(frozen=True)
class ConfidenceSampler:
    """A number of tokens per step, the surest first.

    Attributes:
        num_steps: steps from all masked to none.
        grid: how many tokens each step reveals, 'linear' (as many) or 'cosine' (few at first).
        order: what sure means: 'probability', 'margin' or 'entropy'.
        threshold: None, or reveal all that are at least so probable, however many steps it takes.
    """

    num_steps: int = 64
    grid: Grid = "linear"
    order: Order = "probability"
    threshold: float | None = None
    name = "confidence"

    def __post_init__(self) -> None:
        self.times()
        self.rule(Choice())

    @property
    def steps(self) -> int | None:
        """Steps of the grid; None with a threshold."""
        return self.num_steps if self.threshold is None else None

    def rule(self, choice: Choice) -> StepRule:
        """Reveal the surest tokens."""
        if self.threshold is not None:
            return Threshold(self.threshold, choice)
        return SurestFirst(self.order, choice)

    def times(self) -> Float64[Tensor, " T1"]:
        """Decreasing times from 1 to 0."""
        return grid_times(self.num_steps, self.grid)


@dataclass(frozen=True)
class EntropyBoundedSampler(OwnClock):
    """As many tokens per call as an entropy bound allows (arXiv:2505.24857).

    Attributes:
        bound: nats by which drawing tokens independently may be wrong, per call.
        order: what sure means: 'probability', 'margin' or 'entropy'.
    """

    bound: float = 5.0
    order: Order = "entropy"
    name = "entropy_bounded"

    def __post_init__(self) -> None:
        self.rule(Choice())

    def rule(self, choice: Choice) -> StepRule:
        """Reveal the longest run of surest tokens within the bound."""
        return EntropyBounded(self.bound, self.order, choice)


Inner = Literal["ancestral", "analytic", "first_hitting", "remask", "confidence", "entropy_bounded"]
_INNER_WITH_STEPS = {
    sampler.name: sampler
    for sampler in (AncestralSampler, AnalyticSampler, RemaskSampler, ConfidenceSampler)
}
_INNER_WITHOUT_STEPS = {
    sampler.name: sampler for sampler in (FirstHittingSampler, EntropyBoundedSampler)
}


def inner_sampler(name: str, num_steps: int) -> RuleSampler:
    """A sampler by name, with its default settings but for the number of steps.

    Raises:
        ConfigError: for an unknown name or fewer steps than 1.
    """
    if num_steps < 1:
        raise ConfigError(f"sampler.num_steps={num_steps} must be at least 1")
    if name in _INNER_WITH_STEPS:
        return _INNER_WITH_STEPS[name](num_steps=num_steps)
    if name in _INNER_WITHOUT_STEPS:
        return _INNER_WITHOUT_STEPS[name]()
    raise ConfigError(f"sampler.inner={name} is unknown; choose {', '.join(get_args(Inner))}")


@dataclass(frozen=True)
class SemiAutoregressiveSampler:
    """Windows from left to right, each conditioned on the last bases of the one before.

    Makes sequences of any length with a network that sees `window` bases at once.

    Attributes:
        inner: sampler within a window, with its default settings.
        num_steps: steps per window, where the inner sampler counts them.
        window: bases the network sees at once; None is the length of the training windows.
        overlap: bases taken over from the window before; None is half a window.

    Example:
        >>> SemiAutoregressiveSampler(window=100, overlap=20).window_and_overlap(128)
        (100, 20)
        >>> SemiAutoregressiveSampler().window_and_overlap(128)
        (128, 64)
    """

    inner: Inner = "ancestral"
    num_steps: int = 128
    window: int | None = None
    overlap: int | None = None
    name = "semi_ar"

    def __post_init__(self) -> None:
        inner_sampler(self.inner, self.num_steps)
        if self.window is not None and self.window < 2:
            raise ConfigError(f"sampler.window={self.window} must be at least 2")
        if self.overlap is not None and self.overlap < 0:
            raise ConfigError(f"sampler.overlap={self.overlap} must not be negative")

    @property
    def of_window(self) -> RuleSampler:
        """The sampler within a window."""
        return inner_sampler(self.inner, self.num_steps)

    @property
    def steps(self) -> int | None:
        """Steps per window."""
        return self.of_window.steps

    def window_and_overlap(self, trained_length: int) -> tuple[int, int]:
        """The two sizes for a model trained on windows of this length.

        Raises:
            ConfigError: if a window would add nothing to the one before.
        """
        window = self.window or trained_length
        overlap = window // 2 if self.overlap is None else self.overlap
        if overlap >= window:
            raise ConfigError(
                f"sampler.overlap={overlap} must be below the window of {window} bases"
            )
        return window, overlap


@dataclass(frozen=True)
class BlockSampler:
    """Blocks from left to right within one sequence that the network sees as a whole.

    Attributes:
        inner: sampler within a block, with its default settings.
        num_steps: steps per block, where the inner sampler counts them.
        block: bases per block.
    """

    inner: Inner = "ancestral"
    num_steps: int = 32
    block: int = 32
    name = "block"

    def __post_init__(self) -> None:
        inner_sampler(self.inner, self.num_steps)
        if self.block < 1:
            raise ConfigError(f"sampler.block={self.block} must be at least 1")

    @property
    def of_block(self) -> RuleSampler:
        """The sampler within a block."""
        return inner_sampler(self.inner, self.num_steps)

    @property
    def steps(self) -> int | None:
        """Steps per block."""
        return self.of_block.steps
