"""The seam of rewards: sequences to one number each, and the check that every caller uses.

A reward is larger for what is wanted more. It has any unit; whoever tilts a distribution by
exp(reward / temperature) gives the temperature in the same unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnamdlm.errors import DataError


@runtime_checkable
class Reward(Protocol):
    """A number for each sequence."""

    @property
    def name(self) -> str:
        """For tables, reports and messages."""
        ...

    def batch(self, sequences: Sequence[str]) -> ArrayLike:
        """The rewards of some sequences, N finite numbers.

        Args:
            sequences: N strings of A, C, G and T in upper case.
        """
        ...


def rewards_of(reward: Reward, sequences: Sequence[str]) -> NDArray[np.float64]:
    """Rewards that are checked: float64 (N,), all of them finite.

    Args:
        reward: what is asked; an array or a tensor of any floating type will do.
        sequences: N strings.

    Raises:
        DataError: for another number of rewards, or one that is not a finite number.

    >>> class Length:
    ...     name = "length"
    ...     def batch(self, sequences):
    ...         return [len(sequence) for sequence in sequences]
    >>> rewards_of(Length(), ["AC", "ACGT"]).tolist()
    [2.0, 4.0]
    """
    found = reward.batch(sequences)
    if hasattr(found, "detach"):
        # a tensor, perhaps with a gradient or on another device.
        found = found.detach().cpu()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        values = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"reward={reward.name} gave {type(found).__name__} in place of numbers; it must give "
            "one number per sequence"
        ) from error
    if values.shape != (len(sequences),):
        raise DataError(
            f"reward={reward.name} gave numbers of shape {values.shape} for {len(sequences)} "
            f"sequences; it must give one number per sequence, of shape ({len(sequences)},)"
        )
    odd = np.flatnonzero(~np.isfinite(values))
    if len(odd):
        shown = sequences[odd[0]]
        shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
        raise DataError(
            f"reward={reward.name} gave {values[odd[0]]} for {len(odd)} of {len(sequences)} "
            f"sequences, the first is {shown}; every reward must be a finite number"
        )
    return values


class CountedReward:
    """A reward that is checked, read in batches, and counts what it read.

    Attributes:
        name: that of the reward.
        calls: batches that were read so far.
        sequences: sequences that were read so far, with repetition.
    """

    def __init__(self, reward: Reward, batch_size: int = 512) -> None:
        self.reward, self.name, self.batch_size = reward, reward.name, batch_size
        self.calls = self.sequences = 0

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The rewards, float64 (N,).

        Raises:
            DataError: as `rewards_of`.
        """
        parts = [np.zeros(0)]
        for first in range(0, len(sequences), self.batch_size):
            part = sequences[first : first + self.batch_size]
            parts.append(rewards_of(self.reward, part))
            self.calls += 1
            self.sequences += len(part)
        return np.concatenate(parts)
