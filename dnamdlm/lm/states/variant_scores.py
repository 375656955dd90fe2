"""Scores of variants under a masked diffusion model, from windows with either allele.

Three scores; the first two are positive where the model prefers ALT:

- `site_log_ratio`: the base is hidden in the reference window, log p(ALT) - log p(REF) of it.
- `bound_difference`: the bound on log p of the alternative window minus that of the reference
  window, an estimate with a standard error. Both have the same masks.
- `state_distances`: how far the mean state moves.

The bound is that of `MaskedDiffusionLM.log_likelihood(estimator="count")`: k of the n bases are
hidden, k uniform on 1..n, and their surprise has the weight n / k. A network that is conditioned on
time gets the time at which a share k / n is hidden. The difference of an exchanged base splits into

    E_k[log p(ALT | v) - log p(REF | v)]                        the base hidden among the k
    + E_k[(n - k) / k * sum over hidden j of the difference]    the base visible, k others hidden

The first part needs one call for both alleles, since the visible bases are the same. In the second,
and for other changes, k is drawn with a probability that lowers the variance, and the weights
correct for it.

Shapes: P pairs of windows, L positions, V vocabulary, D channels.
Source: Ou et al. 2024 (arXiv:2406.03736) for the bound with exact counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.data.batch import Batch, batch_of_ids
from dnamdlm.data.variants.variant_windows import PairOfWindows
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.masking import mask_exactly
from dnamdlm.diffusion.randomness import RowNoise, Stream, row_keys
from dnamdlm.lm.experts import WildcardExpert
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.expert_control import expected_surprise, expert_surprise
from dnamdlm.lm.states.record_states import StateReader
from dnamdlm.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class Pairs:
    """P pairs of windows as the network reads them.

    Attributes:
        reference: windows with REF.
        alternative: windows with ALT, with the same keys.
        slots: noise address of each position of `alternative`.
        site: position of the exchanged base, -1 where the change is another.
        place: a number that pairs share if their reference windows, their noise and their sites are
            the same, as those of the alleles of one place are; what depends on these alone is
            computed once.
    """

    reference: Batch
    alternative: Batch
    slots: Int[Tensor, "P L"]
    site: Int[Tensor, " P"]
    place: Int[Tensor, " P"]

    def __len__(self) -> int:
        """P."""
        return len(self.site)

    def select(self, index: Int[Tensor, " Q"]) -> Pairs:
        """Some of the pairs."""
        return Pairs(
            self.reference.rows(index),
            self.alternative.rows(index),
            self.slots[index],
            self.site[index],
            self.place[index],
        )

    def labelled(self, label: int | tuple[float, ...] | None) -> Pairs:
        """The same pairs, of which a model is given a class or numbers, see `Batch.labelled`."""
        return replace(
            self,
            reference=self.reference.labelled(label),
            alternative=self.alternative.labelled(label),
        )

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs on another device."""
        return Pairs(
            self.reference.to(device),
            self.alternative.to(device),
            self.slots.to(device),
            self.site.to(device),
            self.place.to(device),
        )


def make_pairs(windows: Sequence[PairOfWindows], vocabulary: Vocabulary, seed: int) -> Pairs:
    """Pad windows to one length; noise is a function of the seed and the place in the genome."""
    keys = row_keys(seed, torch.tensor([pair.start for pair in windows]))
    longest = max(max(len(pair.reference), len(pair.alternative)) for pair in windows)
    slots = np.zeros((len(windows), longest), dtype=np.int64)
    for row, pair in enumerate(windows):
        slots[row, : len(pair.slots)] = pair.slots
    places: dict[tuple[bytes, int, int], int] = {}
    for pair in windows:
        places.setdefault(_place_of(pair), len(places))
    return Pairs(
        batch_of_ids([pair.reference for pair in windows], vocabulary, keys=keys, length=longest),
        batch_of_ids([pair.alternative for pair in windows], vocabulary, keys=keys, length=longest),
        torch.from_numpy(slots),
        torch.tensor([pair.site for pair in windows]),
        torch.tensor([places[_place_of(pair)] for pair in windows]),
    )


def _place_of(pair: PairOfWindows) -> tuple[bytes, int, int]:
    """What the alleles of a place have in common."""
    return pair.reference.tobytes(), pair.site, pair.start


@torch.inference_mode()
def site_log_ratio(lm: MaskedDiffusionLM, pairs: Pairs) -> Float[Tensor, " P"]:
    """Give log p(ALT) - log p(REF) of the hidden base in nats; nan unless one base is exchanged."""
    result = torch.full((len(pairs),), torch.nan, dtype=torch.float64)
    chosen = (pairs.site >= 0).nonzero().flatten()
    if len(chosen):
        part = pairs.select(chosen)
        alone = torch.ones(len(part), dtype=torch.int64, device=chosen.device)
        hidden = _hide(lm, part.reference, torch.zeros_like(part.reference.valid), part.site)
        result[chosen.cpu()] = _ratio_at_site(lm, part, hidden, alone).cpu()
    return result


@torch.inference_mode()
def bound_difference(
    lm: MaskedDiffusionLM, pairs: Pairs, *, draws: int, control: WildcardExpert | None = None
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Bound on log p with ALT minus that with REF, in nats, and its standard error.

    Args:
        lm: in evaluation mode.
        pairs: the windows.
        draws: noise draws from equal strata; the standard error treats them as independent, so
            that it is somewhat too large, and is nan for one draw.
        control: subtract from each draw the same difference under this expert, and add its mean,
            see `expert_control`; the result estimates the same number.
    """
    values = torch.zeros(draws, len(pairs), dtype=torch.float64)
    for exchanged, estimate in ((True, _difference_of_snv), (False, _difference_of_change)):
        chosen = ((pairs.site >= 0) == exchanged).nonzero().flatten()
        if len(chosen):
            part = pairs.select(chosen)
            for draw in range(draws):
                values[draw, chosen.cpu()] = estimate(lm, part, draw, draws, control).cpu()
            if control is not None:
                values[:, chosen.cpu()] += _expected_difference(control, part).cpu()
    error = values.std(dim=0) / draws**0.5 if draws > 1 else torch.full_like(values[0], torch.nan)
    return values.mean(dim=0), error


@torch.inference_mode()
def state_distances(
    reader: StateReader, pairs: Pairs
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Cosine distance and Euclidean distance of the mean states over A, C, G, T of both windows."""

    def mean(batch: Batch) -> Tensor:
        weights = batch.valid[..., None].double()
        states = reader(batch).double()
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)

    before = _once_per_place(lambda part: mean(part.reference), pairs)
    after = mean(pairs.alternative)
    cosine = 1 - torch.nn.functional.cosine_similarity(before, after, dim=-1)
    return cosine.clamp(min=0).cpu(), (after - before).norm(dim=-1).cpu()


def _difference_of_snv(
    lm: MaskedDiffusionLM, pairs: Pairs, draw: int, draws: int, control: WildcardExpert | None
) -> Tensor:
    """One draw of both parts of the difference for exchanged bases, less those of the control."""
    batch, other = pairs.reference, pairs.alternative
    noise = RowNoise(batch.key)
    num_valid = batch.valid.sum(dim=1)
    at_site = _at(pairs.site, batch.length)
    neighbours = batch.valid & ~at_site
    # the base hidden.
    place = (noise.uniform(Stream.COUNTS, 2 * draw) + draw) / draws
    count = torch.minimum((num_valid * place).floor().long() + 1, num_valid)
    uniforms = noise.uniform(Stream.MASKS, 2 * draw, batch.length)
    others = _chosen(neighbours, count - 1, uniforms)
    hidden = _hide(lm, batch, others, pairs.site)
    total = _ratio_at_site(lm, pairs, hidden, count)
    if control is not None:
        total = total - _ratio_under(control, pairs, hidden)
    # the base visible.
    place = (noise.uniform(Stream.COUNTS, 2 * draw + 1) + draw) / draws
    count, weight = _draw_counts(num_valid, place, visible=True)
    uniforms = noise.uniform(Stream.MASKS, 2 * draw + 1, batch.length)
    others = _chosen(neighbours, count, uniforms)
    hidden = _hide(lm, batch, others)
    before = _surprise_of_reference(lm, pairs, hidden, count, weight, control=control)
    hidden = _hide(lm, other, others)
    return total + before - _surprise(lm, other, hidden, count, weight, control=control)


def _difference_of_change(
    lm: MaskedDiffusionLM, pairs: Pairs, draw: int, draws: int, control: WildcardExpert | None
) -> Tensor:
    """One draw of the difference for any change, less that of the control."""
    noise = RowNoise(pairs.reference.key)
    place = (noise.uniform(Stream.COUNTS, 2 * draw) + draw) / draws
    width = max(pairs.reference.length, int(pairs.slots.max()) + 1)
    uniforms = noise.uniform(Stream.MASKS, 2 * draw, width)
    rows, numbers = pairs.reference, uniforms[:, : pairs.reference.length]
    count, weight = _draw_counts(rows.valid.sum(dim=1), place, visible=False)
    hidden = _hide(lm, rows, _chosen(rows.valid, count, numbers))
    before = _surprise_of_reference(lm, pairs, hidden, count, weight, control=control)
    rows, numbers = pairs.alternative, uniforms.gather(1, pairs.slots)
    count, weight = _draw_counts(rows.valid.sum(dim=1), place, visible=False)
    hidden = _hide(lm, rows, _chosen(rows.valid, count, numbers))
    return before - _surprise(lm, rows, hidden, count, weight, control=control)


def _expected_difference(control: WildcardExpert, pairs: Pairs) -> Float[Tensor, " P"]:
    """The mean of the difference under the control over all masks."""
    wanted = [pairs.reference.valid, pairs.alternative.valid]
    if bool((pairs.site >= 0).all()):
        # bases that do not see an exchanged one are equally likely in both windows.
        place = torch.arange(pairs.reference.length, device=pairs.site.device)
        is_near = (place - pairs.site[:, None]).abs() <= control.width
        wanted = [valid & is_near for valid in wanted]
    before = expected_surprise(control, pairs.reference.tokens, wanted[0])
    return before - expected_surprise(control, pairs.alternative.tokens, wanted[1])


def _ratio_under(control: WildcardExpert, pairs: Pairs, hidden: Tensor) -> Float[Tensor, " P"]:
    """Log-ratio of the alleles at the hidden site under the control."""
    rows = torch.arange(len(pairs), device=hidden.device)
    log_probs = control(hidden)[rows, pairs.site].double()
    ref, alt = (
        control.letters[batch.tokens[rows, pairs.site]]
        for batch in (pairs.reference, pairs.alternative)
    )
    return log_probs[rows, alt] - log_probs[rows, ref]


def _draw_counts(
    num_valid: Int[Tensor, " P"], place: Float[Tensor, " P"], *, visible: bool
) -> tuple[Int[Tensor, " P"], Float[Tensor, " P"]]:
    """How many bases to hide, and the weight of their surprise.

    The weight of k in the bound, w = n / k, or (n - k) / k with one base kept visible, is averaged
    over k = 1..n. Were the surprises of single bases independent, k proportional to w sqrt(k) would
    have the least variance; this is how k is drawn here.

    Args:
        num_valid: n per row.
        place: numbers that are uniform over (0, 1).
        visible: whether one of the n bases is kept visible.
    """
    n = num_valid.double().clamp(min=1)[:, None]
    k = torch.arange(1, max(2, int(num_valid.max()) + 1), device=n.device).double()[None, :]
    weight = torch.where(k <= n, (n - k if visible else n.expand(-1, k.shape[1])) / k, 0.0)
    density = weight * k.sqrt()
    total = density.sum(dim=1, keepdim=True)
    cumulative = density.cumsum(dim=1) / torch.where(total > 0, total, 1.0)
    # rounding can put a place above the last sum; it then means the last possible count.
    last = (density > 0).sum(dim=1, keepdim=True).clamp(min=1) - 1
    index = torch.minimum(torch.searchsorted(cumulative, place[:, None]), last)
    chosen, likely = weight.gather(1, index), density.gather(1, index)
    factor = torch.where(likely > 0, chosen * total / (n * likely), 0.0)
    return index.squeeze(1) + 1, factor.squeeze(1)


def _ratio_at_site(
    lm: MaskedDiffusionLM, pairs: Pairs, hidden: Tensor, count: Tensor
) -> Float[Tensor, " P"]:
    """Log-ratio of the alleles at the hidden site."""

    def read(part: Pairs, hidden: Tensor, count: Tensor) -> Tensor:
        rows = torch.arange(len(part), device=hidden.device)
        batch = part.reference
        log_probs = lm.denoise(hidden, _time(lm, batch, count), batch.attended, label=batch.label)
        return log_probs[rows, part.site].double()

    at_site = _once_per_place(read, pairs, hidden, count)
    rows = torch.arange(len(pairs), device=hidden.device)
    alt = pairs.alternative.tokens[rows, pairs.site]
    ref = pairs.reference.tokens[rows, pairs.site]
    return at_site[rows, alt] - at_site[rows, ref]


def _surprise_of_reference(
    lm: MaskedDiffusionLM,
    pairs: Pairs,
    hidden: Tensor,
    count: Tensor,
    weight: Tensor,
    *,
    control: WildcardExpert | None,
) -> Float[Tensor, " P"]:
    """`_surprise` of the windows with REF."""

    def surprise(part: Pairs, hidden: Tensor, count: Tensor, weight: Tensor) -> Tensor:
        return _surprise(lm, part.reference, hidden, count, weight, control=control)

    return _once_per_place(surprise, pairs, hidden, count, weight)


def _once_per_place(function: Callable[..., Tensor], pairs: Pairs, *values: Tensor) -> Tensor:
    """Rows of a function of reference windows, computed once for the pairs that share them.

    Args:
        function: of pairs and values of each.
        pairs: the windows.
        values: the same for pairs of one place.
    """
    places, back = torch.unique(pairs.place, return_inverse=True)
    if len(places) == len(pairs):
        return function(pairs, *values)
    first = torch.tensor([int((back == number).nonzero()[0]) for number in range(len(places))])
    # a matrix product of one row may round in another way than one of several rows.
    first = torch.cat([first, first]) if len(first) == 1 else first
    first = first.to(back.device)
    return function(pairs.select(first), *(value[first] for value in values))[back]


def _surprise(
    lm: MaskedDiffusionLM,
    batch: Batch,
    hidden: Tensor,
    count: Tensor,
    weight: Tensor,
    *,
    control: WildcardExpert | None,
) -> Float[Tensor, " P"]:
    """Weighted sum of the surprises of the hidden bases, less that under the control."""
    time = _time(lm, batch, count)
    log_probs = lm.denoise(hidden, time, batch.attended, label=batch.label).double()
    nats = masked_nll(log_probs, batch.tokens, hidden, weight, mask_id=lm.mask_id).sum(dim=1)
    if control is None:
        return nats
    return nats - weight * expert_surprise(control, hidden, batch.tokens, lm.mask_id)


def _time(lm: MaskedDiffusionLM, batch: Batch, count: Tensor) -> Tensor | None:
    """The time at which a share of `count` bases is hidden; None without time conditioning."""
    if not lm.sees_time:
        return None
    share = count.double() / batch.valid.sum(dim=1).clamp(min=1)
    return lm.schedule.time_of(1 - share.clamp(max=1)).clamp(0, 1)


def _at(site: Int[Tensor, " P"], length: int) -> Bool[Tensor, "P L"]:
    return torch.arange(length, device=site.device) == site[:, None]


def _chosen(maskable: Tensor, count: Tensor, uniforms: Tensor) -> Bool[Tensor, "P L"]:
    """Which positions are hidden: the `count` ones with the smallest numbers."""
    return mask_exactly(maskable.long() * 0, count, maskable, uniforms, mask_id=1) == 1


def _hide(
    lm: MaskedDiffusionLM, batch: Batch, chosen: Tensor, site: Tensor | None = None
) -> Int[Tensor, "P L"]:
    if site is not None:
        chosen = chosen | _at(site, batch.length)
    return torch.where(chosen, lm.mask_id, batch.tokens)
