"""Custom content of MultiQC: bits per base of a run, one file for the table and one for a plot.

MultiQC finds files whose names end in `_mqc.json` wherever it searches; the samples of several runs
with the same `id` come into one table and one plot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_ID = "dnamdlm"
_ABOUT = (
    "Bits per base of a held-out split under masked diffusion models of DNA (upper bounds) and "
    "Markov models; 2 is guessing, lower is better."
)


def multiqc_files(name: str, split: str, likelihood: Mapping[str, Any]) -> dict[str, str]:
    """Name of a file -> its content.

    Args:
        name: of the sample, the run.
        split: that was scored.
        likelihood: section of an evaluation file.
    """
    rows = {row["name"]: row for row in likelihood["rows"]}
    shown = ["model", likelihood["best_markov"]]
    bits = {rows[key]["label"]: rows[key]["classes"]["all"]["bits_per_base"] for key in shown}
    cell = rows["model"]["classes"]["all"]
    best = rows[likelihood["best_markov"]]["classes"]["all"]["bits_per_base"]
    table = {
        "id": f"{_ID}_general",
        "plot_type": "generalstats",
        "pconfig": [
            {"bits_per_base": _column("bits/base", f"Bits per base, {split} split (upper bound)")},
            {"standard_error": _column("s.e.", "Standard error of the bits per base")},
            {"minus_markov": _column("- Markov", "Bits per base minus the best Markov model")},
        ],
        "data": {
            name: {
                "bits_per_base": cell["bits_per_base"],
                "standard_error": cell["standard_error"],
                "minus_markov": cell["bits_per_base"] - best,
            }
        },
    }
    plot = {
        "id": f"{_ID}_bits",
        "section_name": "dnamdlm",
        "description": _ABOUT,
        "plot_type": "bargraph",
        "pconfig": {
            "id": f"{_ID}_bits_plot", "title": "dnamdlm: bits per base", "ylab": "bits per base",
            "stacking": "group", "cpswitch": False, "tt_decimals": 4,
        },
        "data": {name: bits},
    }  # fmt: skip
    return {
        f"{_ID}_general_mqc.json": json.dumps(table, indent=1) + "\n",
        f"{_ID}_bits_mqc.json": json.dumps(plot, indent=1) + "\n",
    }


def _column(title: str, description: str) -> dict[str, Any]:
    return {"title": title, "description": description, "format": "{:,.4f}", "scale": False}
