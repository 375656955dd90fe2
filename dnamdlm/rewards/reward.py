"""The seam of rewards: sequences to one number each, and the check that every caller uses.

A reward is larger for what is wanted more. It has any unit; whoever tilts a distribution by
exp(reward / temperature) gives the temperature in the same unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnamdlm.data.tasks.labelled import LARGEST_NUMBER, NUMBERS_ALLOWED
from dnamdlm.errors import ConfigError, DataError


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
        DataError: for another number of rewards, or one that is not a number between +-1e18.

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
    # a comparison with nan is false.
    odd = np.flatnonzero(~(np.abs(values) <= LARGEST_NUMBER))
    if len(odd):
        shown = sequences[odd[0]]
        shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
        raise DataError(
            f"reward={reward.name} gave {values[odd[0]]} for {len(odd)} of {len(sequences)} "
            f"sequences, the first is {shown}; every reward must be {NUMBERS_ALLOWED}"
        )
    return values


def gradient_of(
    reward: Any, sequences: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rewards, float64 (N,), and their derivatives by the one-hot bases, float64 (N, L, 4).

    Args:
        reward: with a method `gradient` that gives both; bases in the order A, C, G, T.
        sequences: N strings of one length L.

    Raises:
        ConfigError: for a reward without such a method.
        DataError: for other shapes, or what is not a number between +-1e18.

    >>> class CountOfA:
    ...     name = "A"
    ...     def batch(self, sequences):
    ...         return [text.count("A") for text in sequences]
    ...     def gradient(self, sequences):
    ...         slope = np.zeros((len(sequences), len(sequences[0]), 4))
    ...         slope[..., 0] = 1
    ...         return np.array(self.batch(sequences)), slope
    >>> values, slopes = gradient_of(CountOfA(), ["ACA"])
    >>> values.tolist(), slopes[0, 1].tolist()
    ([2.0], [1.0, 0.0, 0.0, 0.0])
    """
    name = getattr(reward, "name", type(reward).__name__)
    if not callable(getattr(reward, "gradient", None)):
        raise ConfigError(
            f"proposal=gradient needs derivatives, and reward={name} has none (no method "
            "gradient); use proposal=first_order or bootstrap"
        )
    values, slopes = (np.asarray(part, dtype=np.float64) for part in reward.gradient(sequences))
    count = len(sequences)
    if values.shape != (count,) or slopes.shape != (count, len(sequences[0]), 4):
        raise DataError(
            f"reward={name} gave values of shape {values.shape} and derivatives of shape "
            f"{slopes.shape} for {count} sequences of {len(sequences[0])}; give ({count},) and "
            f"({count}, {len(sequences[0])}, 4)"
        )
    for found, what in ((values, "value"), (slopes, "derivative")):
        if not (np.abs(found) <= LARGEST_NUMBER).all():
            raise DataError(
                f"method gradient of reward={name}: every {what} must be {NUMBERS_ALLOWED}"
            )
    return values, slopes


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

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rewards and their derivatives, see `gradient_of`; counted as `batch` counts."""
        self.calls += 1
        self.sequences += len(sequences)
        return gradient_of(self.reward, sequences)

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
