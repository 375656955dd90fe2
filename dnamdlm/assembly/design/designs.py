"""Designed sequences with what is known of each, and their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnamdlm.data.files import text_file, write_together
from dnamdlm.data.genome.fasta_writer import fasta_file, write_fasta
from dnamdlm.data.output_streams import stream_of
from dnamdlm.data.targets import check_target
from dnamdlm.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

_DIGITS = 6
_FORMAT = "dnamdlm.design"
# of the table, of the figures and of the page.
_BEGINNINGS = (
    b"name\tsequence\treward\t",
    f'{{\n "format": "{_FORMAT}"'.encode(),
    f"<!doctype html>\n<!-- {_FORMAT} -->".encode(),
)


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
        """Write FASTA, and next to a plain file table, figures and page; all of them or none.

        Returns:
            The files.
        """
        if stream_of(out) is not None:
            write_fasta(out, self._records(), width=width)
            return [out]
        table, report, page = side_files(out)
        writers: dict[Path, Callable[[Path], object]] = {
            out: fasta_file(self._records(), width=width, is_compressed=out.suffix == ".gz"),
            table: text_file(self._table_text()),
            report: text_file(json.dumps({"format": _FORMAT, **self.report}, indent=1) + "\n"),
        }
        writers[page] = text_file(self.page(out.name))
        write_together(writers)
        return [out, table, report, page]

    def page(self, title: str = "Designs") -> str:
        """One HTML page with figures, which needs no other file."""
        # the figures are not loaded for a call of Python that does not want them.
        from dnamdlm.reporting.design_report import design_page

        keys = ("name", "sequence", *self.columns)
        cells = zip(self.names, self.sequences, *self.columns.values(), strict=True)
        return design_page(self.report, [dict(zip(keys, row, strict=True)) for row in cells], title)

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


def side_files(out: Path) -> tuple[Path, Path, Path]:
    """The table, the figures and the page of a FASTA file.

    >>> [path.name for path in side_files(Path("designs.fa.gz"))]
    ['designs.tsv', 'designs.json', 'designs.html']
    """
    stem = Path(out.name.removesuffix(".gz")).stem
    table, report, page = (out.with_name(f"{stem}.{end}") for end in ("tsv", "json", "html"))
    return table, report, page


def check_files(out: Path, inputs: Iterable[str]) -> None:
    """Refuse targets that would harm something, before anything is computed.

    The files next to it take the place of those of earlier designs and of nothing else.

    Args:
        out: the FASTA file.
        inputs: what the command reads.

    Raises:
        ConfigError: naming the file.
        DataError: if one cannot be written.
    """
    inputs = list(inputs)
    check_target(out, inputs=inputs, compressed=(".gz",))
    if stream_of(out) is not None:
        return
    for path, begins in zip(side_files(out), _BEGINNINGS, strict=True):
        if path == out:
            raise ConfigError(
                f"out={out} is to be a FASTA file, and designs have a file of that name; let it "
                "end in .fa"
            )
        check_target(path, inputs=inputs)
        if path.is_file() and not path.read_bytes().startswith(begins):
            raise ConfigError(
                f"out={out} would replace {path}, which is not a file of designs; choose another "
                "out"
            )


def _cell(value: object) -> str:
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
