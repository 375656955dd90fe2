"""The columns of each score of a variant, with what they mean: unit, and sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dnamdlm.assembly.score.score_settings import Kind
from dnamdlm.data.variants.variant_tables import Column

_PREFERENCE = "above 0 the model prefers ALT, below 0 REF"
_DISTANCE = "at least 0, and larger the more they differ"

COLUMNS: Mapping[Kind, tuple[Column, ...]] = {
    "llr": (
        Column(
            "llr",
            f"log p(ALT) - log p(REF) of the hidden base, nats; {_PREFERENCE}",
        ),
    ),
    "elbo": (
        Column(
            "delta_elbo",
            f"Bound on log p of the window with ALT minus with REF, nats; {_PREFERENCE}",
        ),
        Column(
            "delta_elbo_se", "Standard error of delta_elbo over its noise draws, nats; at least 0"
        ),
    ),
    "embedding": (
        Column(
            "cosine_distance",
            f"1 - cosine of the mean hidden states with ALT and REF; {_DISTANCE}",
        ),
        Column(
            "l2_distance",
            f"Euclidean distance of the mean hidden states with ALT and REF; {_DISTANCE}",
        ),
    ),
}
"""Columns of each kind of score."""


def columns_of(
    scores: Sequence[Kind], label: str | int | None = None, condition: Sequence[str] | None = None
) -> tuple[Column, ...]:
    """Columns of the chosen scores, in their order.

    Args:
        scores: kinds.
        label: class that the model is given, which their meaning names.
        condition: numbers that it is given.
    """
    found = tuple(column for name in scores for column in COLUMNS[name])
    if label is None and condition is None:
        return found
    given = f"label={label}" if condition is None else f"condition={','.join(condition)}"
    return tuple(replace(item, meaning=f"{item.meaning}; given {given}") for item in found)
