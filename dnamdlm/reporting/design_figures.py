"""Figures of designs: what two oracles say of them and of what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dnamdlm.reporting.drawing import BASELINE, EXTRA, INK, OURS, REFERENCE, drawn, new_figure

_ENDS = ((5, 95, 1.2), (25, 75, 4.5))
_TITLES = {"reward": "reward, which designs were chosen by", "audit": "audit, held out"}
_MOST_POINTS = 300


def color_of(name: str) -> str:
    """Colour of a set of sequences: designs, natural ones, draws of the model, or others."""
    if name == "designs":
        return OURS
    if "natural" in name:
        return REFERENCE
    return BASELINE if name.startswith("mutation") else EXTRA


@drawn
def oracle_figure(
    oracle: str, sets: Mapping[str, Sequence[float]], limits: Sequence[float]
) -> tuple[str, Figure]:
    """Median, quartiles and central 90 % of what an oracle says of each set.

    Args:
        oracle: `reward` or `audit`.
        sets: name -> its numbers.
        limits: percentiles 99 and 99.9 of what it says of natural sequences; may be none.
    """
    figure, axes = new_figure(5.6, 1.0 + 0.36 * len(sets))
    for limit, style in zip(limits, ("--", ":"), strict=False):
        axes.axvline(limit, color=INK, linewidth=0.9, linestyle=style)
    for place, (name, values) in enumerate(sets.items()):
        color = color_of(name)
        for low, high, width in _ENDS:
            ends = np.percentile(values, (low, high))
            axes.plot(ends, [place] * 2, color=color, linewidth=width, solid_capstyle="butt")
        middle = float(np.median(values))
        axes.plot(middle, place, marker="o", markersize=5.5, color=color, markeredgecolor=INK)
    axes.set_xlabel(_TITLES[oracle])
    axes.set_ylim(len(sets) - 0.5, -0.5)
    axes.set_yticks(range(len(sets)), list(sets))
    axes.locator_params(axis="x", nbins=5)
    return f"oracle_{oracle}", figure


@drawn
def agreement_figure(values: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[str, Figure]:
    """Each sequence by both oracles."""
    figure, axes = new_figure(5.6, 4.0)
    # designs last, so that no other point hides them.
    for name in reversed(list(values["reward"])):
        x, y = (np.asarray(values[key][name][:_MOST_POINTS]) for key in ("reward", "audit"))
        marker = {OURS: "o", REFERENCE: "D", BASELINE: "^", EXTRA: "s"}[color_of(name)]
        is_ours = color_of(name) == OURS
        axes.plot(
            x, y, linestyle="none", marker=marker, markersize=5.0 if is_ours else 3.4,
            alpha=0.9 if is_ours else 0.55, color=color_of(name), markeredgewidth=0, label=name,
        )  # fmt: skip
    axes.set_xlabel(_TITLES["reward"])
    axes.set_ylabel(_TITLES["audit"])
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2)
    return "agreement", figure
