"""-log p of windows under a mixture of a network with Markov models, see `lm.window_mixture`.

Markov models see the chromosome before a window, so that the mixture gives the probability of a
window given the bases before it. Weights and rule are chosen on windows of the validation split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dnamdlm.diffusion.mixed import mixed_nats, posterior_shares
from dnamdlm.errors import DataError
from dnamdlm.evaluation.window_scores import WindowScores
from dnamdlm.lm.mixture_fit import MixtureFit, fit_mixture
from dnamdlm.words.context_model import ContextModel
from dnamdlm.words.copies import CopyModel


@dataclass(frozen=True)
class ChosenMixture:
    """A mixture that was chosen on a validation split.

    Attributes:
        copiers: names of the Markov models.
        fit: weights of the network and of each of them, and the rule.
        num_windows: windows that it was chosen on.
        before: models whose figures of what is before a window the weights depend on.
    """

    copiers: tuple[str, ...]
    fit: MixtureFit
    num_windows: int
    before: tuple[ContextModel | CopyModel, ...] = ()

    @property
    def copies(self) -> bool:
        """Whether a chain with copies is a component."""
        return any(name.endswith("_copies") for name in self.copiers)

    @property
    def weights(self) -> dict[str, float]:
        """Name of each Markov model -> its weight."""
        return dict(zip(self.copiers, self.fit.weights[1:], strict=True))


def choose_mixture(
    network: WindowScores,
    copiers: Mapping[str, WindowScores],
    *,
    pi: float | None = None,
    before: np.ndarray | None = None,
) -> ChosenMixture:
    """Choose weights and rule on scores of the validation split.

    Args:
        network: scores of the network.
        copiers: scores of the Markov models on the same windows, by name.
        pi: weight of all Markov models together; None chooses it.
        before: float64 (W, F), figures of what is before each window, see `nats_before`; None
            chooses weights that are the same in all windows.

    Raises:
        ConfigError: if `pi` lies outside [0, 1].
        DataError: if the windows differ, or none has a base.
    """
    nats, lengths = _totals([network, *copiers.values()])
    known = None if before is None else torch.from_numpy(before)
    fit = fit_mixture(nats, lengths, pi=pi, before=known)
    return ChosenMixture(tuple(copiers), fit, len(lengths))


def mixed_scores(
    network: WindowScores,
    copiers: Mapping[str, WindowScores],
    chosen: ChosenMixture,
    *,
    by_rule: bool,
    before: np.ndarray | None = None,
) -> WindowScores:
    """Scores of the mixture.

    Args:
        network: scores of the network.
        copiers: scores of the Markov models on the same windows, by name.
        chosen: the mixture.
        by_rule: the form without bias, whose shares do not depend on the network; else the form
            of the posterior shares, which is exact if the network is.
        before: as in `choose_mixture`, of these windows; for weights that were chosen with it.

    Raises:
        DataError: if the windows differ, or the weights need `before`.
    """
    parts = [network, *(copiers[name] for name in chosen.copiers)]
    totals, lengths = _totals(parts)
    known = np.zeros((len(lengths), 0)) if before is None else before
    columns = chosen.fit.log_weights(torch.from_numpy(known))
    if by_rule:
        shares = chosen.fit.shares(totals[1:], columns, lengths)
    else:
        shares = posterior_shares(totals, columns)
    nats = mixed_nats(
        torch.from_numpy(np.stack([part.nats for part in parts])),
        torch.from_numpy(network.bases),
        total=lengths,
        shares=shares,
        log_weights=columns,
    )
    kind = "upper bound" if by_rule else network.kind
    return WindowScores(network.classes, network.starts, nats.numpy(), network.bases, kind)


def _totals(parts: Sequence[WindowScores]) -> tuple[torch.Tensor, torch.Tensor]:
    """Nats (K, W) over all bases, and bases (W,)."""
    first = parts[0]
    for part in parts[1:]:
        if not np.array_equal(first.starts, part.starts):
            raise DataError("a mixture needs scores of the same windows; score all parts again")
    nats = torch.from_numpy(np.stack([part.nats[:, 0] for part in parts]))
    return nats, torch.from_numpy(first.bases[:, 0])
