"""An interpretation of one stretch, as an object and as files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dnamdlm.assembly.interpret.mutagenesis import BASES, Mutagenesis
from dnamdlm.data.files import text_file
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.lm.dependency import DependencyMap
from dnamdlm.reporting.drawing import Drawing
from dnamdlm.reporting.interpretation_figures import dependency_figure, mutagenesis_figure

if TYPE_CHECKING:
    from pandas import DataFrame

UNITS = {"llr": "log p(alt) - log p(ref), nats", "delta_elbo": "difference of the bound, nats"}


@dataclass(frozen=True)
class Interpretation:
    """What a model says of one stretch.

    Attributes:
        where: the stretch.
        sequence: its letters.
        mutagenesis: every exchange of one base, or None.
        dependency: the dependency map, or None.
        pairs: its strongest pairs as positions in the stretch, and their norm in nats.
        made_by: what the model is, for the record.
    """

    where: Interval
    sequence: str
    mutagenesis: Mutagenesis | None
    dependency: DependencyMap | None
    pairs: tuple[tuple[int, int, float], ...]
    made_by: dict[str, Any]

    def table(self) -> DataFrame:
        """One row per exchange: chrom, pos (1-based), ref, alt, scores; `influence` with a map."""
        from pandas import DataFrame

        rows = self._rows()
        return DataFrame(rows[1:], columns=rows[0])

    def figures(self) -> dict[str, Drawing]:
        """The pictures, by the name of their part."""
        found: dict[str, Drawing] = {}
        if self.mutagenesis is not None:
            name, scores = next(iter(self.mutagenesis.scores.items()))
            found["mutagenesis"] = mutagenesis_figure(
                f"{self.where}: {name} of every exchange", self.sequence, scores,
                start=self.where.start, log_probs=self.mutagenesis.log_probs,
                name=UNITS.get(name, f"change of {name}"),
            )  # fmt: skip
        if self.dependency is not None:
            found["dependency"] = dependency_figure(
                f"{self.where}: which positions depend on each other", self.sequence,
                self.dependency.norms, self.pairs, start=self.where.start,
            )  # fmt: skip
        return found

    def files(self, folder: Path) -> dict[Path, Callable[[Path], object]]:
        """The files of this stretch in a folder, and what writes each."""
        stem = file_stem(self.where)
        found: dict[Path, Callable[[Path], object]] = {}
        if self.mutagenesis is not None:
            rows = ("\t".join(map(_cell, row)) + "\n" for row in self._rows())
            found[folder / f"{stem}.mutagenesis.tsv"] = text_file("".join(rows))
        if self.dependency is not None:
            found[folder / f"{stem}.dependency.npz"] = self._write_map
            found[folder / f"{stem}.dependency.bedpe"] = text_file(self._bedpe())
        for name, drawing in self.figures().items():
            for kind in ("png", "svg"):
                found[folder / f"{stem}.{name}.{kind}"] = _drawer(drawing, kind)
        record = json.dumps(self.record(), indent=1, allow_nan=False) + "\n"
        found[folder / f"{stem}.interpret.json"] = text_file(record)
        return found

    def record(self) -> dict[str, Any]:
        """The figures in short, and what they were made with."""
        found: dict[str, Any] = {
            "chrom": self.where.chrom, "start": self.where.start, "end": self.where.end,
            "sequence": self.sequence, **self.made_by,
        }  # fmt: skip
        if self.dependency is not None:
            found["dependency"] = {
                "asymmetry": self.dependency.asymmetry,
                "pairs": [
                    [self.where.start + i, self.where.start + j, value]
                    for i, j, value in self.pairs
                ],
            }
        return found

    def _rows(self) -> list[list[Any]]:
        """The header and one row per exchange of a base."""
        if self.mutagenesis is None:
            return [["chrom", "pos", "ref", "alt"]]
        columns = dict(self.mutagenesis.scores)
        if self.dependency is not None:
            columns["influence"] = self.dependency.influences
        rows: list[list[Any]] = [["chrom", "pos", "ref", "alt", *columns]]
        for place, ref in enumerate(self.sequence):
            for number, alt in enumerate(BASES):
                if ref in BASES and alt != ref:
                    values = [float(column[place, number]) for column in columns.values()]
                    rows.append([self.where.chrom, self.where.start + place + 1, ref, alt, *values])
        return rows

    def _bedpe(self) -> str:
        """The strongest pairs, one per line: both positions, a name and the norm in nats."""
        chrom, start = self.where.chrom, self.where.start
        return "".join(
            f"{chrom}\t{start + i}\t{start + i + 1}\t{chrom}\t{start + j}\t{start + j + 1}\t"
            f"pair_{number}\t{value:.6g}\n"
            for number, (i, j, value) in enumerate(self.pairs, 1)
        )

    def _write_map(self, path: Path) -> None:
        assert self.dependency is not None
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                norms=self.dependency.norms,
                influences=self.dependency.influences,
                start=self.where.start,
                sequence=np.array(list(self.sequence)),
            )


def file_stem(where: Interval) -> str:
    """First part of the names of the files of a stretch.

    >>> file_stem(Interval("chr1", 9, 20))
    'chr1_9_20'
    """
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', where.chrom)}_{where.start}_{where.end}"


def _drawer(drawing: Drawing, kind: str) -> Callable[[Path], object]:
    return lambda path: drawing.write(path, kind)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.6g}" if np.isfinite(value) else ""
