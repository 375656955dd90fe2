"""Make the pictures of masked_diffusion.md with the model that comes with the package.

python docs/explanation/pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import dnamdlm
from dnamdlm.diffusion import StepRule, draw_tokens

HERE = Path(__file__).resolve().parent
COLOURS = {"A": "#2f9e44", "C": "#1c7ed6", "G": "#e8930c", "T": "#d6336c", "N": "#c7ccd1"}
LENGTH = 60
# chrXVI:100,041-100,100, the end of YAR1, which the model has not seen.
WINDOW = slice(100_040, 100_040 + LENGTH)


def rows_of_letters(rows: list[str], labels: list[str], name: str, title: str) -> None:
    """One row of coloured letters per sequence; hidden bases are grey squares."""
    figure = Figure(figsize=(10.5, 0.34 * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(rows):
        for place, letter in enumerate(row):
            if letter == "N":
                axes.add_patch(
                    Rectangle((place - 0.4, number - 0.36), 0.8, 0.72, color=COLOURS["N"])
                )
            else:
                axes.text(place, number, letter, color=COLOURS[letter], ha="center", va="center",
                          fontsize=9, fontweight="bold", family="monospace")  # fmt: skip
    axes.set(xlim=(-0.7, LENGTH - 0.3), ylim=(len(rows) - 0.5, -0.5), title=title)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.savefig(HERE / f"{name}.png", dpi=120, metadata={"Software": None})


def main() -> None:
    """Write masking.png, generating.png and expected.png next to this file."""
    model = dnamdlm.load("yeast-demo", device="cpu")
    bases = _held_out()
    level = np.random.default_rng(3).random(LENGTH)
    times = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    hidden = [
        "".join("N" if u < t else x for u, x in zip(level, bases, strict=True)) for t in times
    ]
    rows_of_letters(hidden, [f"t = {t:.1f}" for t in times], "masking",
                    "Each base is hidden with probability t")  # fmt: skip

    (made,) = model.sample(1, length=LENGTH, seed=5, sampler=(order := OneByOne()))
    assert len(order.shown) == LENGTH
    revealed = {place: step for step, place in enumerate(order.shown)}
    counts = (0, 6, 15, 30, 45, 60)
    rows = ["".join(x if revealed[i] < n else "N" for i, x in enumerate(made)) for n in counts]
    rows_of_letters(rows, [f"{n} revealed" for n in counts], "generating",
                    "Generation: masks become bases, in random order")  # fmt: skip
    _expected(model, bases)


class OneByOne(StepRule):
    """Reveals one base per call, in a fixed random order, and remembers the order."""

    is_paced = False

    def __init__(self) -> None:
        self.order = np.random.default_rng(1).permutation(LENGTH)
        self.shown: list[int] = []

    def __call__(self, step, log_probs):  # noqa: ANN001, ANN204
        """Reveal the next base of the order."""
        place = int(self.order[len(self.shown)])
        self.shown.append(place)
        chosen = step.hidden.clone()
        chosen[:] = False
        chosen[:, place] = True
        return draw_tokens(step, log_probs, step.hidden & chosen)


def _held_out() -> str:
    from dnamdlm.data.genome.genome_files import open_genome
    from dnamdlm.data.variants.variant_places import bases

    return bases(open_genome("embedded:yeast"), "chrXVI", WINDOW.start, WINDOW.stop)


def _expected(model: dnamdlm.Model, bases: str) -> None:
    (log_probs,) = model.log_probs([bases])
    figure = Figure(figsize=(10.5, 2.6), layout="constrained")
    axes = figure.subplots()
    bottom = np.zeros(LENGTH)
    for number, base in enumerate("ACGT"):
        share = np.exp(log_probs[:, number])
        axes.bar(range(LENGTH), share, bottom=bottom, color=COLOURS[base], width=0.9, label=base)
        bottom += share
    axes.set_xticks(range(LENGTH), list(bases), fontsize=7)
    axes.set(xlim=(-0.7, LENGTH - 0.3), ylim=(0, 1), ylabel="probability",
             title="What the network expects at each base given all others")  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(HERE / "expected.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
