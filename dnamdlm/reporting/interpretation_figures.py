"""Pictures of a stretch of sequence: logo and mutagenesis, and the dependency map with arcs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from dnamdlm.reporting.drawing import INK, OURS, drawn
from dnamdlm.reporting.motif_figures import draw_logo

_BASES = "ACGT"
# wider stretches are drawn without letters, which nobody could read.
_MOST_LETTERS = 150
_NEIGHBOURS = 8


@drawn
def mutagenesis_figure(
    title: str,
    sequence: str,
    scores: NDArray[np.float64],
    *,
    start: int,
    log_probs: NDArray[np.float64] | None,
    name: str,
) -> tuple[str, Figure]:
    """A logo of what the model expects, and a heat map of every exchange.

    Args:
        title: of the picture.
        sequence: n letters.
        scores: (n, 4).
        start: position of the first base, 0-based.
        log_probs: (n, 4), nats, or None for a head.
        name: of the score, with its unit.
    """
    size = len(sequence)
    letters = log_probs is not None and size <= _MOST_LETTERS
    ratios = [1.3, 1.0] if letters else [1.0]
    width = float(np.clip(size / 7, 6.0, 21.0))
    figure = Figure(figsize=(width, 3.6 if letters else 2.4), layout="constrained")
    rows = figure.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )[:, 0]
    if letters and log_probs is not None:
        _draw_logo(rows[0], log_probs)
    axes: Axes = rows[-1]
    known = np.abs(scores[np.isfinite(scores)])
    limit = float(np.percentile(known, 99)) if len(known) else 1.0
    image = axes.imshow(
        scores.T, aspect="auto", cmap="RdBu_r", vmin=-(limit or 1.0), vmax=limit or 1.0,
        extent=(0.5, size + 0.5, 4, 0), interpolation="nearest",
    )  # fmt: skip
    places = [place for place in range(size) if sequence[place] in _BASES]
    axes.plot(
        [place + 1 for place in places], [_BASES.index(sequence[place]) + 0.5 for place in places],
        linestyle="none", marker="s", markersize=2.0, color=INK,
    )  # fmt: skip
    axes.set_yticks(np.arange(4) + 0.5, list(_BASES))
    axes.grid(visible=False)
    if size <= _MOST_LETTERS:
        axes.set_xticks(np.arange(size) + 1, list(sequence), fontsize=6.5)
        axes.tick_params(axis="x", length=0)
    axes.set_xlim(0.5, size + 0.5)
    axes.set_xlabel(f"{size} bases from position {start + 1:,}; squares: the base that is there")
    figure.colorbar(image, ax=axes, label=name, pad=0.01)
    rows[0].set_title(title, fontsize=10.0)
    return "mutagenesis", figure


@drawn
def dependency_figure(
    title: str,
    sequence: str,
    norms: NDArray[np.float64],
    pairs: Sequence[tuple[int, int, float]],
    *,
    start: int,
) -> tuple[str, Figure]:
    """The map as a picture, and arcs between the positions of its strongest pairs.

    Args:
        title: of the picture.
        sequence: n letters.
        norms: (n, n), nats.
        pairs: positions (i, j) from the first base, and their norm.
        start: position of the first base, 0-based.
    """
    size = len(sequence)
    figure = Figure(figsize=(6.6, 7.4), layout="constrained")
    arcs, axes = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.0, 4.0]})
    _draw_arcs(arcs, pairs, size)
    # neighbours depend on each other most; the colours are for what is farther apart.
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) >= min(
        _NEIGHBOURS, size - 1
    )
    off = norms[apart & np.isfinite(norms)]
    limit = float(np.percentile(off, 99.5)) if len(off) else 1.0
    image = axes.imshow(
        norms, cmap="magma_r", vmin=0, vmax=limit or 1.0, extent=(0, size, size, 0),
        interpolation="nearest",
    )  # fmt: skip
    axes.grid(visible=False)
    ticks = np.linspace(0, size - 1, min(size, 6)).round().astype(int)
    labels = [f"{start + 1 + tick:,}" for tick in ticks]
    axes.set_xticks(ticks + 0.5, labels)
    axes.set_yticks(ticks + 0.5, labels)
    axes.set_xlabel("position")
    figure.colorbar(
        image, ax=[arcs, axes], label="dependency, nats", shrink=0.6, pad=0.02, extend="max"
    )
    arcs.set_title(title, fontsize=10.0)
    return "dependency", figure


def _draw_logo(axes: Axes, log_probs: NDArray[np.float64]) -> None:
    """Letters of height p(b) (2 - H) bits, over positions 0.5, 1.5, ..."""
    shares = np.exp(log_probs)
    # N has no letters: equal shares have no height.
    draw_logo(axes, np.where(np.isfinite(shares), shares, 0.25))
    axes.set_xlim(0.5, len(shares) + 0.5)
    axes.tick_params(axis="x", length=0)
    heights = 2 + np.nansum(shares * log_probs, axis=1) / np.log(2.0)
    axes.set_ylim(0, max(0.5, float(np.nanmax(heights, initial=0.0)) * 1.05))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("bits")


def _draw_arcs(axes: Axes, pairs: Sequence[tuple[int, int, float]], size: int) -> None:
    """Half ellipses from i to j; darker is stronger."""
    highest = max((j - i for i, j, _ in pairs), default=1)
    strongest = max((value for _, _, value in pairs), default=1.0) or 1.0
    for i, j, value in reversed(pairs):
        share = value / strongest
        axes.add_patch(
            Arc(
                ((i + j + 1) / 2, 0), j - i, 2 * (j - i) / highest, theta1=0, theta2=180,
                color=OURS, alpha=0.15 + 0.85 * share, linewidth=0.6 + 1.4 * share,
            )
        )  # fmt: skip
    axes.set_xlim(0, size)
    axes.set_ylim(0, 1.05)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
