"""Random mutation with selection: what designs are compared with, since it needs no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dnamdlm.rewards.reward import Reward, rewards_of

_BASES = "ACGT"


def mutated(
    parents: Sequence[str], reward: Reward, *, calls: int, seed: int
) -> tuple[list[str], NDArray[np.float64]]:
    """Substitute bases at random, and keep the best of parents and children, again and again.

    Each round makes one child of each member, with 1 + Poisson(1) substitutions, and keeps as many
    distinct sequences as there were members. No constraint is respected.

    Args:
        parents: sequences to begin with, none of them empty.
        reward: what is selected for.
        calls: sequences that the reward may read; the rounds that fit are done.
        seed: of all chance.

    Returns:
        As many sequences as parents, best first, and their rewards.
    """
    rng = np.random.default_rng(seed)
    members = list(parents)
    values = rewards_of(reward, members)
    left = calls - len(members)
    while left >= len(parents):
        children = [child_of(text, rng) for text in members]
        left -= len(children)
        known = set(members)
        fresh = [text for text in dict.fromkeys(children) if text not in known]
        if fresh:
            values = np.concatenate([values, rewards_of(reward, fresh)])
            members += fresh
        order = np.argsort(-values, kind="stable")[: len(parents)]
        members, values = [members[place] for place in order], values[order]
    order = np.argsort(-values, kind="stable")
    return [members[place] for place in order], values[order]


def child_of(text: str, rng: np.random.Generator) -> str:
    """A sequence with 1 + Poisson(1) substitutions, at most one at each place."""
    letters = list(text)
    count = min(1 + rng.poisson(1.0), len(letters))
    for place in rng.choice(len(letters), count, replace=False):
        others = _BASES.replace(letters[place], "")
        letters[place] = others[rng.integers(len(others))]
    return "".join(letters)
