"""What a model must know of a measured number to be asked for one: its name, unit, scale and range.

A number passes a transform (none, log1p or rank) and is then standardised with the mean and the
deviation of the training rows. All of it is written into checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.target_transforms import Transform, rank_shares
from dnamdlm.errors import CheckpointError, DataError

_NUM_QUANTILES = 1001


@dataclass(frozen=True)
class NumberScale:
    """One measured number, as its training rows had it.

    Attributes:
        name: column of the table.
        transform: log1p, rank (share of training rows below), or None.
        mean: of the transformed numbers of the training rows.
        scale: their standard deviation, above 0.
        quantiles: of the numbers themselves, in their own unit, at 0, 0.001, ..., 1.
        count: training rows in which the number is known.

    Example:
        >>> scale = NumberScale.of("activity", np.array([0.0, 1.0, 2.0, np.nan]), None)
        >>> scale.standardised(2.0), scale.at_quantile(0.5), scale.low, scale.high
        (1.224744871391589, 1.0, 0.0, 2.0)
    """

    name: str
    transform: Transform | None
    mean: float
    scale: float
    quantiles: tuple[float, ...]
    count: int

    @classmethod
    def of(cls, name: str, values: NDArray[np.float64], transform: Transform | None) -> NumberScale:
        """The scale of the numbers of the training rows, nan where one is not known.

        Raises:
            DataError: if fewer than two are known, all are equal, or one has no logarithm.
        """
        known = values[~np.isnan(values)]
        if len(known) < 2 or known.min() == known.max():
            found = f"{len(known)} known values" if len(known) < 2 else "one value in all rows"
            raise DataError(
                f"data.numbers: {name!r} has {found} among the training rows, from which nothing "
                "can be learned; give a column whose numbers differ"
            )
        quantiles = np.quantile(known, np.linspace(0, 1, _NUM_QUANTILES))
        plain = cls(name, transform, 0.0, 1.0, tuple(quantiles.tolist()), len(known))
        changed = plain.standardised_all(known)
        return cls(
            name, transform, float(changed.mean()), float(changed.std()), plain.quantiles,
            len(known),
        )  # fmt: skip

    @property
    def low(self) -> float:
        """The smallest number of the training rows."""
        return self.quantiles[0]

    @property
    def high(self) -> float:
        """The largest number of the training rows."""
        return self.quantiles[-1]

    def at_quantile(self, share: float) -> float:
        """The number below which this share of the training rows lies, in its own unit."""
        return float(np.interp(share, np.linspace(0, 1, len(self.quantiles)), self.quantiles))

    def standardised(self, value: float) -> float:
        """A number as a network reads it; nan stays nan."""
        return float(self.standardised_all(np.array([value]))[0])

    def standardised_all(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers as a network reads them; nan stays nan.

        Raises:
            DataError: for a number that has no logarithm.
        """
        if self.transform == "log1p" and (values <= -1).any():
            raise DataError(
                f"data.numbers: {self.name!r} has the value {np.nanmin(values):g}, and log1p needs "
                "numbers above -1; use data.transform=rank"
            )
        changed = values
        if self.transform == "log1p":
            changed = np.log1p(values)
        elif self.transform == "rank":
            # against the quantiles that a checkpoint has, not against all rows.
            shares = rank_shares(np.array(self.quantiles), values)
            changed = np.where(np.isnan(values), np.nan, shares)
        return (changed - self.mean) / self.scale

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "quantiles": list(self.quantiles)}

    @classmethod
    def stored(cls, record: Mapping[str, Any]) -> NumberScale:
        """From a record.

        Raises:
            CheckpointError: if it is none.
        """
        try:
            quantiles = tuple(map(float, record["quantiles"]))
            found = cls(
                str(record["name"]), record["transform"], float(record["mean"]),
                float(record["scale"]), quantiles, int(record["count"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the record {str(record)[:60]} is not that of a number"
            ) from error
        numbers = (found.mean, found.scale, *quantiles)
        is_whole = len(quantiles) > 1 and all(map(math.isfinite, numbers)) and found.scale > 0
        if not is_whole or found.transform not in (None, "log1p", "rank"):
            raise CheckpointError(f"the record of the number {found.name!r} is damaged")
        return found
