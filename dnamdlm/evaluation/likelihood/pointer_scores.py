"""-log p of windows under a network with a latent pointer to the training split.

Windows that point somewhere have two scores, without and with their template; see
`lm.pointer_bound`. Weight and rule are chosen on windows of the validation split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dnamdlm.data.genome.pointed_windows import PointedWindows
from dnamdlm.diffusion.mixed import mixed_nats, posterior_shares
from dnamdlm.errors import DataError
from dnamdlm.evaluation.window_scores import WindowScores
from dnamdlm.lm.pointer_bound import PointerFit, fit_pointer, log_pointers, pointer_weights


@dataclass(frozen=True)
class ChosenPointer:
    """A pointer that was chosen on a validation split.

    Attributes:
        fit: its weight, and the rule of its share.
        num_addresses: offsets and strands to choose from.
        num_windows: windows that it was chosen on.
        num_pointed: how many of these point anywhere.
    """

    fit: PointerFit
    num_addresses: int
    num_windows: int
    num_pointed: int

    @property
    def bits(self) -> float:
        """Bits of the choice of one address, all being equally likely."""
        return math.log2(self.num_addresses)


@dataclass(frozen=True)
class GivenTemplates:
    """Scores of the windows that point somewhere.

    Attributes:
        windows: which ones, and where to.
        scores: of these windows given their templates.
    """

    windows: PointedWindows
    scores: WindowScores


@dataclass(frozen=True)
class PointedScores:
    """Scores of a split with a pointer.

    Attributes:
        chosen: the pointer.
        num_pointed: windows of the split that point somewhere.
        by_rule: scores of the form without bias.
        posterior: scores of the tighter form, which noise of the estimates makes too low.
    """

    chosen: ChosenPointer
    num_pointed: int
    by_rule: WindowScores
    posterior: WindowScores


def pointed_forms(
    network: WindowScores, given: GivenTemplates, chosen: ChosenPointer
) -> PointedScores:
    """Both forms of the bound; arguments as in `pointed_scores`."""
    rule, posterior = (
        pointed_scores(network, given, chosen, by_rule=by_rule) for by_rule in (True, False)
    )
    return PointedScores(chosen, len(given.windows), rule, posterior)


def choose_pointer(network: WindowScores, given: GivenTemplates) -> ChosenPointer:
    """Choose weight and rule on scores of the validation split.

    Args:
        network: scores of all windows without templates.
        given: scores of those that point somewhere.

    Raises:
        DataError: if the windows do not belong together.
    """
    both = _Both(network, given)
    fit = fit_pointer(both.nats[..., 0], both.pointers, both.matches, both.lengths)
    addresses = given.windows.genome.index.num_addresses
    return ChosenPointer(fit, addresses, len(network.starts), len(given.windows))


def pointed_scores(
    network: WindowScores, given: GivenTemplates, chosen: ChosenPointer, *, by_rule: bool
) -> WindowScores:
    """Scores of the model with the pointer, an upper bound.

    Args:
        network: scores of all windows without templates.
        given: scores of those that point somewhere.
        chosen: the pointer.
        by_rule: the form without bias, whose shares do not depend on the network; else the form of
            the posterior shares.

    Raises:
        DataError: if the windows do not belong together.
    """
    both = _Both(network, given)
    log_weights = pointer_weights(chosen.fit.pi, both.pointers)
    if by_rule:
        shares = chosen.fit.rule.shares(both.matches, both.lengths, log_weights)
    else:
        shares = posterior_shares(both.nats[..., 0], log_weights)
    nats = mixed_nats(
        both.nats,
        torch.from_numpy(network.bases),
        total=both.lengths,
        shares=shares,
        log_weights=log_weights,
    )
    return WindowScores(network.classes, network.starts, nats.numpy(), network.bases, "upper bound")


class _Both:
    """The two scores of each window, side by side.

    Attributes:
        nats: float64 (2, W, C), inf with a template where there is none.
        pointers: log u(e(x)), (W,).
        matches: bases that agree with the template, (W,).
        lengths: scored bases, (W,).
    """

    def __init__(self, network: WindowScores, given: GivenTemplates) -> None:
        order = np.argsort(network.starts)
        own = given.scores.starts
        places = np.searchsorted(network.starts, own, sorter=order)
        rows = order[np.minimum(places, len(order) - 1)]
        is_same = np.array_equal(network.starts[rows], own) and np.array_equal(
            own, given.windows.starts
        )
        if not is_same or network.classes != given.scores.classes:
            raise DataError("a pointer needs scores of the same windows; score all parts again")
        nats = np.full((2, *network.nats.shape), np.inf)
        nats[0], nats[1, rows] = network.nats, given.scores.nats
        found = given.windows.pointers
        copies, matches = np.zeros((2, len(order)), np.int64)
        copies[rows], matches[rows] = found.copies, found.matches
        self.nats: Tensor = torch.from_numpy(nats)
        addresses = given.windows.genome.index.num_addresses
        self.pointers = log_pointers(torch.from_numpy(copies), addresses)
        self.matches = torch.from_numpy(matches)
        self.lengths = torch.from_numpy(network.bases[:, 0])
