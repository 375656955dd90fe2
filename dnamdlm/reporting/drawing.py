"""Drawing for the report and for files: one style, inline SVG that follows the page, PNG and SVG.

Colours are placeholders while matplotlib draws. In the page they become CSS variables, so that one
drawing serves light and dark themes; in a file they are what they look like, on white. Text of the
page is drawn as outlines: it looks alike on any machine.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dnamdlm.data.files import make_folder, replacing, write_together

# placeholder in the drawing -> CSS variable of the page.
INK, GRID = "#1c2126", "#d8dde2"
OURS, REFERENCE, BASELINE, EXTRA = "#2f7fc1", "#3a9d6e", "#d9822b", "#8a6fc0"
_VARIABLES = {
    INK: "var(--ink)",
    GRID: "var(--line)",
    OURS: "var(--ours)",
    REFERENCE: "var(--reference)",
    BASELINE: "var(--baseline)",
    EXTRA: "var(--extra)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}
PIXELS_PER_INCH = 200
_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True)
class Drawing:
    """A finished figure: `name` is that of its files, `inline` the SVG element of the page.

    A notebook shows the picture.
    """

    name: str
    inline: str = field(repr=False)
    figure: Figure = field(repr=False)

    def _repr_png_(self) -> bytes:
        """The picture for a notebook."""
        content = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self.figure.savefig(content, format="png", dpi=PIXELS_PER_INCH / 2, facecolor="white")
        return content.getvalue()

    def save(self, path: Path) -> None:
        """Write a .png or .svg file with a white ground.

        Raises:
            DataError: if it cannot be written.
        """
        with replacing(path) as unfinished:
            self.write(unfinished, path.suffix.removeprefix("."))

    def write(self, path: Path, kind: str) -> None:
        """Write at a path of any name.

        Args:
            path: where.
            kind: `png` or `svg`.
        """
        # neither holds the time of writing: the same figure has the same bytes.
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        style = {**_STYLE, "svg.hashsalt": self.name}
        with mpl.rc_context(style):
            self.figure.savefig(
                path, format=kind, dpi=PIXELS_PER_INCH, facecolor="white", metadata=metadata
            )


def drawn(function: Callable[_Arguments, tuple[str, Figure]]) -> Callable[_Arguments, Drawing]:
    """Draw in the style of the report what a function gives: a name and a figure."""

    @wraps(function)
    def draw(*arguments: _Arguments.args, **settings: _Arguments.kwargs) -> Drawing:
        with mpl.rc_context(_STYLE):
            name, figure = function(*arguments, **settings)
        # ids inside the SVG depend on the name, so that the drawings of a page share none.
        with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
            content = _svg(figure)
        # the layout takes a third of the time of drawing, so that the files keep that of the page.
        figure.set_layout_engine("none")
        return Drawing(name, content, figure)

    return draw


def inline(drawing: Drawing | None) -> Markup | None:
    """The drawing as trusted text for a template."""
    return None if drawing is None else Markup(drawing.inline)


def drawing_files(
    drawings: Iterable[Drawing], folder: Path
) -> dict[Path, Callable[[Path], object]]:
    """The PNG and SVG files of drawings, for `write_together`."""
    return {
        folder / f"{drawing.name}.{kind}": partial(drawing.write, kind=kind)
        for drawing in drawings
        for kind in ("png", "svg")
    }


def save_all(drawings: Iterable[Drawing], folder: Path) -> None:
    """Write each drawing as PNG and SVG."""
    make_folder(folder)
    write_together(drawing_files(drawings, folder))


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def few_log_ticks(axes: Axes, *, x: bool = True) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, or fewer of them, as plain numbers.

    Args:
        axes: with logarithmic scales.
        x: set those of x too, with the limits of x; else y alone.
    """
    low, high = axes.get_xlim() if x else axes.get_ylim()
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = np.array([digit * power for power in powers for digit in digits])
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= 5:
            break
    labels = [f"{tick:.3f}".rstrip("0").rstrip(".") for tick in ticks]
    if x:
        axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)


def _svg(figure: Figure) -> str:
    """The drawing as an <svg> element without fixed size, colours replaced by CSS variables."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="svg", transparent=True, dpi=150, metadata={"Date": None, "Creator": None}
    )
    text = buffer.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    return text
