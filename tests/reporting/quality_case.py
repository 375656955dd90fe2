"""A section "quality" with made-up figures, for tests of the reports."""

from __future__ import annotations

from typing import Any

import numpy as np

from dnamdlm.reporting.quality_figures import PANELS
from dnamdlm.words.kmers import words_of_length

NAMES = ("generated", "real", "markov_5", "markov_3", "shuffled_2")
WORD_SIZES = (3, 6)


def cell(value: float, reach: float = 0.1) -> dict[str, float]:
    """A figure with an interval of this reach."""
    return {"value": value, "low": value - reach, "high": value + reach}


def figure(name: str) -> dict[str, Any]:
    """A row of the table: 0.5 for generated, 1.5 for real, ..."""
    cells = {sample: cell(0.5 + place) for place, sample in enumerate(NAMES)}
    return {"group": "Group", "name": name, "label": f"about {name}", "unit": "share"} | {
        "cells": cells
    }


def _motifs(hostile: str) -> dict[str, Any]:
    """Matches of two motifs, one of which has the name."""
    return {
        "num_motifs": 2,
        "match_probability": 1e-4,
        "names": ["GATA", "ROX1"],
        "per_kilobase": {"generated": [1.0, 2.0], "reference": [1.5, 2.0]},
        "most_different": [
            {"name": hostile, "matches": 9, "expected": 3.0}
            | {"log2_fold": {name: cell(1.0, 0.0) for name in NAMES}}
            | {"counts": [[10, 0, 0, 0], [5, 5, 0, 0]]}
        ],
    }


def _copies(hostile: str) -> dict[str, Any]:
    """Copies from the training genome, by a sequence of the name."""
    return {
        "looked_in": "the training split",
        "alignment": "edlib",
        "rule": "a rule",
        "memorised": [
            {"sequence": hostile, "length": 100, "longest_match": 99, "identity": 0.99}
            | {"chrom": "chrI", "start": 5, "strand": "+"}
        ],
        "longest": {"sequence": hostile, "length": 99, "chrom": "chrI", "start": 40}
        | {"strand": "+"},
        "match_lengths": {"generated": [12, 99], "real": [13, 14]},
    }


def quality_section(hostile: str) -> dict[str, Any]:
    """The section; `hostile` stands wherever a file may hold a name that somebody else chose."""
    rng = np.random.default_rng(0)
    infilling = [
        {"gap": gap, "label": label, "windows": 4, **cell(0.3)}
        for gap in (1, 16)
        for label in ("model, drawn", "Markov order 5, drawn", "model, most likely")
    ]
    return {
        "num_given": 80,
        "num_sequences": 64,
        "num_reference": 100,
        "reference": "the test split",
        "seed": 0,
        "columns": [{"name": name, "label": name.title()} for name in NAMES],
        "figures": [
            figure(name) for name in (*dict(PANELS), "match_median", "match_95", "match_max")
        ],
        "left_out": {"genes": "not asked for"},
        "lengths": {"generated": [100, 100, 110, 120, 150]},
        "gc": {
            "edges": [0.0, 0.5, 1.0],
            "rows": [
                {"name": name, "label": name, "counts": [3, 4]}
                | {"mean": 0.4, "standard_deviation": 0.1}
                for name in NAMES[:2]
            ],
        },
        "odds": {name: [1.0] * 16 for name in (*NAMES, "reference")},
        "ranks": {"3": {"ranks": [1, 8, 64], "shares": {"generated": [0.1, 0.02, 0.001]}}},
        "words": {
            str(k): {
                "words": words_of_length(k),
                "generated": rng.dirichlet(np.full(4**k, 20.0)).tolist(),
                "reference": rng.dirichlet(np.full(4**k, 20.0)).tolist(),
            }
            for k in WORD_SIZES
        },
        "motifs": _motifs(hostile),
        "copies": _copies(hostile),
        "infilling": infilling,
    }
