"""Designed sequences with what is known of each, and their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnamdlm.data.files import text_file, write_together
from dnamdlm.data.genome.fasta_writer import fasta_file, write_fasta
from dnamdlm.data.output_streams import stream_of

if TYPE_CHECKING:
    from pandas import DataFrame

_DIGITS = 6


@dataclass(frozen=True)
class Designs:
    """Designs of one call.

    Attributes:
        sequences: letters, upper case.
        columns: name -> value of each design: `reward`, `audit` (with an audit), `gc`, `draw` (its
            number among all draws), `kmer_divergence`, `nearest`, `nearest_identity` (with natural
            sequences) and `bits_per_base`.
        report: what it took, and the figures of the designs and of what they are compared with.
        note: end of each header.
    """

    sequences: list[str]
    columns: dict[str, list[Any]]
    report: dict[str, Any]
    note: str = ""

    def __len__(self) -> int:
        """Number of designs."""
        return len(self.sequences)

    @property
    def names(self) -> list[str]:
        """Name of each design in its files."""
        return [f"design_{number:06d}" for number in range(1, len(self) + 1)]

    @property
    def table(self) -> DataFrame:
        """Name, sequence and the columns, one row per design."""
        from pandas import DataFrame

        return DataFrame({"name": self.names, "sequence": self.sequences, **self.columns})

    def write(self, out: Path, *, width: int) -> list[Path]:
        """Write FASTA, and beside a plain file the table and the report; all of them or none.

        Returns:
            The files.
        """
        if stream_of(out) is not None:
            write_fasta(out, self._records(), width=width)
            return [out]
        table, report = side_files(out)
        writers: dict[Path, Callable[[Path], object]] = {
            out: fasta_file(self._records(), width=width, is_compressed=out.suffix == ".gz"),
            table: text_file(self._table_text()),
            report: text_file(json.dumps(self.report, indent=1) + "\n"),
        }
        write_together(writers)
        return [out, table, report]

    def _records(self) -> Iterator[tuple[str, str]]:
        shown = [name for name in ("reward", "audit", "draw") if name in self.columns]
        for number, (name, sequence) in enumerate(zip(self.names, self.sequences, strict=True)):
            words = " ".join(f"{key}={_cell(self.columns[key][number])}" for key in shown)
            yield f"{name} length={len(sequence)} {words} {self.note}", sequence

    def _table_text(self) -> str:
        header = ["name", "sequence", *self.columns]
        rows = zip(self.names, self.sequences, *self.columns.values(), strict=True)
        lines = [header, *([_cell(value) for value in row] for row in rows)]
        return "".join("\t".join(line) + "\n" for line in lines)


def side_files(out: Path) -> tuple[Path, Path]:
    """The table and the report of a FASTA file.

    >>> [path.name for path in side_files(Path("designs.fa.gz"))]
    ['designs.tsv', 'designs.json']
    """
    name = out.name.removesuffix(".gz")
    stem = Path(name).stem
    return out.with_name(f"{stem}.tsv"), out.with_name(f"{stem}.json")


def _cell(value: object) -> str:
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
