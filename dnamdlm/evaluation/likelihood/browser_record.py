"""What a page with a genome browser shows of tracks: some thousand bases with letters and genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.json_files import JsonError, read_json_file
from dnamdlm.errors import DataError
from dnamdlm.evaluation.likelihood.base_tracks import LETTERS

FORMAT, FORMAT_VERSION = "dnamdlm.browser", 1
BROWSER_FILE = "browser.json"
"""Name of a record in the evaluation folder of a run."""
MAX_BASES = 20_000
"""Bases of a page; more would make it slow to open."""
VIEW_BASES = 120
"""Bases that are seen at first, so that letters can be read."""


class BrowserRecord:
    """Collects the first bases of tracks, in order, up to `MAX_BASES`.

    Attributes:
        num_bases: collected so far.
    """

    def __init__(self, lengths: Mapping[str, int], label: str) -> None:
        """Begin.

        Args:
            lengths: record name -> bases.
            label: of the model, for people.
        """
        self._lengths, self._label = lengths, label
        self._stretches: list[dict[str, Any]] = []
        self.num_bases = 0

    def add(
        self,
        chrom: str,
        start: int,
        codes: NDArray[np.uint8],
        tracks: Mapping[str, NDArray[np.float32]],
    ) -> None:
        """Add bases that come after the last ones; those that are too many are left out.

        Args:
            chrom: name of the record.
            start: position of the first base.
            codes: store codes without the soft mask, (n,).
            tracks: see `base_tracks`, each (n,).
        """
        size = min(len(codes), MAX_BASES - self.num_bases)
        if size <= 0:
            return
        self.num_bases += size
        letters = "".join((LETTERS + "NNNN")[code] for code in codes[:size].tolist())
        heights = np.stack([tracks[f"logo_{x}"][:size] for x in LETTERS], axis=1)
        own = heights[np.arange(size), np.minimum(codes[:size], 3)]
        found = {
            "letters": own, "bits": tracks["bits"][:size], "entropy": tracks["entropy"][:size],
        }  # fmt: skip
        values = {name: _rounded(row) for name, row in found.items()}
        last = self._stretches[-1] if self._stretches else None
        if last and (last["chrom"], last["start"] + len(last["sequence"])) == (chrom, start):
            last["sequence"] += letters
            for name, row in values.items():
                last[name] += row
            return
        self._stretches.append(
            {"chrom": chrom, "start": start, "length": self._lengths[chrom], "sequence": letters}
            | values
        )

    def content(self, features: Sequence[Feature]) -> dict[str, Any]:
        """The record as JSON values.

        Args:
            features: genes, and coding exons, of which those are kept that are seen.
        """
        seen = [item for item in features if any(_overlaps(item, x) for x in self._stretches)]
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "label": self._label,
            "view": self._view(),
            "stretches": self._stretches,
            "genes": [_gene(item, seen) for item in seen if item.kind == "gene"],
        }

    def _view(self) -> dict[str, Any]:
        """The most informative bases: where the letters of the logo are highest."""
        best: tuple[float, dict[str, Any]] = (-1.0, {})
        for item in self._stretches:
            heights = np.array([value or 0.0 for value in item["letters"]])
            width = min(VIEW_BASES, len(heights))
            sums = np.convolve(heights, np.ones(width), "valid")
            first = int(sums.argmax())
            if sums[first] > best[0]:
                start = item["start"] + first
                best = (
                    float(sums[first]),
                    {"chrom": item["chrom"], "start": start, "end": start + width},
                )
        return best[1]


def read_browser_record(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        DataError: if the file is damaged or of another format.
    """
    record: dict[str, Any] = {}
    try:
        record = read_json_file(path)
        is_right = (record["format"], record["format_version"]) == (FORMAT, FORMAT_VERSION)
        is_right = is_right and bool(record["stretches"])
    except (JsonError, OSError, KeyError, TypeError, ValueError):
        is_right = False
    if not is_right:
        raise DataError(f"{path}: not a record of tracks; remove it and run tracks again")
    return record


def _overlaps(item: Feature, stretch: Mapping[str, Any]) -> bool:
    where, end = item.interval, stretch["start"] + len(stretch["sequence"])
    return where.chrom == stretch["chrom"] and where.start < end and stretch["start"] < where.end


def _gene(gene: Feature, features: Sequence[Feature]) -> dict[str, Any]:
    """A gene with the coding exons within it."""
    where = gene.interval
    exons = sorted(
        {
            (item.interval.start, item.interval.end)
            for item in features
            if item.kind == "CDS" and item.interval.chrom == where.chrom
            and item.interval.strand == where.strand
            and where.start <= item.interval.start and item.interval.end <= where.end
        }
    )  # fmt: skip
    return {
        "chrom": where.chrom, "start": where.start, "end": where.end, "strand": where.strand,
        "name": gene.name, "exons": [list(exon) for exon in exons],
    }  # fmt: skip


def _rounded(values: NDArray[np.float32]) -> list[float | None]:
    return [round(x, 3) if np.isfinite(x) else None for x in values.astype(float).tolist()]
