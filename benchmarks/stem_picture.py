"""The dependency map of a gene of a tRNA, with the pairs of its stems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.trna_genes import Gene, pairs_of

_COLOURS = {"acceptor": "#c92a2a", "D": "#d9822b", "anticodon": "#2b8a3e", "T": "#7a5ea8"}


def draw_stems(path: Path, gene: Gene, norms: NDArray[np.float64]) -> None:
    """Write the map as a picture: strengths as greys, and a circle around each pair of a stem.

    Args:
        path: PNG or SVG file.
        gene: the gene.
        norms: its dependency map (n, n), symmetric, in nats.
    """
    own = np.where(np.eye(len(norms), dtype=bool), np.nan, norms)
    figure = Figure(figsize=(7.6, 7.0), layout="constrained")
    axes = figure.subplots()
    # neighbours depend on each other so much that pairs far apart would not be seen.
    far = np.abs(np.subtract.outer(np.arange(len(own)), np.arange(len(own)))) >= 4
    image = axes.imshow(own, cmap="Greys", vmin=0, vmax=float(np.nanmax(own[far])))
    for name, pairs in (pairs_of(gene) or {}).items():
        axes.scatter(
            [j for _, j in pairs], [i for i, _ in pairs], s=46, facecolors="none",
            edgecolors=_COLOURS[name], linewidths=1.3, label=f"{name} stem",
        )  # fmt: skip
    places = range(len(gene.text))
    axes.set_xticks(places, list(gene.text), fontsize=6)
    axes.set_yticks(places, list(gene.text), fontsize=6)
    axes.tick_params(length=0)
    axes.set_title(f"Dependency map of {gene.name.replace('_', ' ')}")
    axes.legend(loc="lower left", fontsize=8)
    figure.colorbar(image, label="dependency, nats", shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
