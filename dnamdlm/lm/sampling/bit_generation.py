"""Generation by IUPAC diffusion: any step rule, on the two bits of every base.

The rules of `dnamdlm.diffusion` reveal bits as they reveal tokens. Bits of one position that appear
in the same step are drawn together, the second given the first. A template letter is evidence: what
it says of the bits of a position is visible to the network from the start.

Shapes: B sequences, of which b take part in a call, L positions, M = 2 L bits, V outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.categorical import UNCHANGED
from dnamdlm.diffusion.codings import ALL_BASES, HALVES, HIDDEN_BIT, bits_of_sets, sets_of_bits
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import Stream
from dnamdlm.diffusion.steps import Step, StepRule
from dnamdlm.errors import ConfigError
from dnamdlm.lm.bit_view import BitView
from dnamdlm.lm.coded_noise import CodeTables, drawn_codings

_CODING_OF_PARTITION = (0, 0, 1)


def evident_view(
    initial: Int[Tensor, "B L"],
    keys: Int[Tensor, " B"],
    constraints: Constraints | None,
    *,
    coding: str,
    tables: CodeTables,
) -> BitView:
    """What is known of sequences before the first step.

    Args:
        initial: ids to start from, with masks or codes.
        keys: noise keys of the rows, which draw the codings.
        constraints: tokens that hidden positions may become.
        coding: 'mixed' or the name of a coding. A mixed position whose set is a half of a
            partition has a coding with that partition.
        tables: what ids stand for.

    Raises:
        ConfigError: if a position may become nothing.
    """
    sets = tables.set_of_id[initial]
    allowed = sets.clone()
    if constraints is not None and constraints.allowed is not None:
        flags = constraints.allowed[..., tables.real_ids].long()
        of_constraints = (flags << torch.arange(4, device=flags.device)).sum(dim=-1)
        is_hidden = ((sets & (sets - 1)) != 0) & (sets > 0)
        allowed = torch.where(is_hidden, sets & of_constraints, sets)
        if bool((is_hidden & (allowed == 0)).any()):
            raise ConfigError(
                "constraints allow no token at some position; allow at least one at each"
            )
    codings = drawn_codings(coding, keys, initial.shape[1])
    if coding == "mixed":
        for halves, own in zip(HALVES, _CODING_OF_PARTITION, strict=True):
            is_half = (allowed == halves[0]) | (allowed == halves[1])
            codings = torch.where(is_half, own, codings)
    evident = allowed.masked_fill(sets == 0, ALL_BASES)
    evident = sets_of_bits(bits_of_sets(evident, codings), codings)
    tokens = torch.where(sets > 0, tables.id_of_set[evident], initial)
    return BitView(tokens, sets > 0, allowed, codings, tables)


class BitSteps(StepRule):
    """A step rule of bits, and the denoiser that it is called with.

    Attributes:
        inner: the rule, which takes bits for tokens.
        view: the sequences.
    """

    def __init__(
        self, inner: StepRule, view: BitView, network: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> None:
        """Join both.

        Args:
            inner: any step rule.
            view: the sequences.
            network: gives log p(x0 | xt) of ids, times and row numbers.
        """
        self.inner, self.view, self.network = inner, view, network
        self.is_paced, self.reopens = inner.is_paced, inner.reopens
        self._last: tuple[BitView, Tensor] | None = None

    @property
    def uses_confidence(self) -> bool:
        """As the inner rule."""
        return self.inner.uses_confidence

    def denoise(
        self, xt: Int[Tensor, "b M"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b M 3"]:
        """Log-probabilities of bits, for the rows `rows` of the sequences."""
        view = self.view.select(rows)
        shown = view.shown(xt)
        of_bases = view.base_log_probs(self.network(shown, time, rows), shown)
        self._last = view, of_bases
        return view.bit_log_probs(of_bases, xt)

    def __call__(self, step: Step, log_probs: LogProbs) -> Int[Tensor, "b M"]:
        """The inner step; where it reveals both bits of a base, they are drawn together."""
        after = self.inner(step, log_probs).unflatten(1, (-1, 2))
        before = step.tokens.unflatten(1, (-1, 2))
        appears = (before == HIDDEN_BIT) & (after != HIDDEN_BIT)
        both = appears.all(dim=-1)
        assert self._last is not None
        view, of_bases = self._last
        half = torch.stack([after[..., 0], before[..., 1]], dim=-1)
        left = sets_of_bits(half, view.coding)
        is_left = (left.unsqueeze(-1) >> torch.arange(4, device=left.device) & 1).bool()
        given = of_bases.masked_fill(~is_left, -torch.inf)
        found = view.bit_log_probs(given, half.flatten(1)).unflatten(1, (-1, 2))[..., 1, :]
        uniforms = step.uniform(Stream.TOKENS).unflatten(1, (-1, 2))[..., 1]
        choice = getattr(self.inner, "choice", UNCHANGED)
        if found.is_cuda:
            # at all positions, rather than wait for a count.
            second = torch.where(both, choice.draw(found, uniforms), after[..., 1])
        else:
            second = after[..., 1].masked_scatter(both, choice.draw(found[both], uniforms[both]))
        return torch.stack([after[..., 0], second], dim=-1).flatten(1)

    def needs_network(self, step: Step) -> Bool[Tensor, " b"]:
        """As the inner rule."""
        return self.inner.needs_network(step)

    def reads(self, step: Step) -> Bool[Tensor, "b M"]:
        """As the inner rule."""
        return self.inner.reads(step)

    def without_network(self, step: Step) -> Int[Tensor, "b M"]:
        """As the inner rule."""
        return self.inner.without_network(step)

    def next_alpha(self, step: Step) -> Float64[Tensor, " b"]:
        """As the inner rule."""
        return self.inner.next_alpha(step)


def of_positions(
    watch: Callable[[int], None], num_bits: int, num_positions: int
) -> Callable[[int], None]:
    """An observer of bits that reports positions: as many in all as there are to fill.

    Args:
        watch: the observer of positions.
        num_bits: bits that will be revealed.
        num_positions: positions that will be filled.
    """
    done = [0, 0]

    def report(bits: int) -> None:
        done[0] += bits
        filled = num_positions * done[0] // max(1, num_bits)
        before, done[1] = done[1], filled
        watch(filled - before)

    return report
