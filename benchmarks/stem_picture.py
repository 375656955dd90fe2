"""The mean dependency map of genes of tRNAs, with the pairs of their stems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.trna_genes import stem_pairs

_COLOURS = {"acceptor": "#c92a2a", "D": "#d9822b", "anticodon": "#2b8a3e", "T": "#7a5ea8"}
_NEAR = 4  # pairs that are nearer depend on each other so much that others would not be seen


def draw_stems(path: Path, maps: Sequence[NDArray[np.float64]]) -> None:
    """Write the mean of maps as a picture: above the diagonal alone, below it with the stems.

    Args:
        path: PNG or SVG file.
        maps: of genes of one length (n, n), symmetric, in nats.
    """
    mean = np.mean(maps, axis=0)
    size = len(mean)
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    figure = Figure(figsize=(7.6, 6.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        np.where(apart < _NEAR, np.nan, mean), cmap="Greys", vmin=0,
        vmax=float(np.quantile(mean[apart >= _NEAR], 0.995)), origin="lower",
        extent=(0.5, size + 0.5, 0.5, size + 0.5),
    )  # fmt: skip
    for name, pairs in stem_pairs(size).items():
        axes.scatter(
            [j + 1 for _, j in pairs], [i + 1 for i, _ in pairs], s=50, facecolors="none",
            edgecolors=_COLOURS[name], linewidths=1.3, label=f"{name} stem",
        )  # fmt: skip
    axes.set(
        xlabel="base of the gene", ylabel="base of the gene",
        title=f"Mean dependency map of {len(maps)} tRNA genes of {size} bases",
    )  # fmt: skip
    figure.legend(loc="outside lower center", ncols=len(_COLOURS), fontsize=8)
    figure.colorbar(image, label="dependency, nats", shrink=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
