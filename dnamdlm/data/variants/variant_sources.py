"""Variants in other forms than VCF: as text, and in tables with chrom, pos, ref and alt.

All give rows as `VariantFile` does: one row in is one row out, and a row that cannot be read keeps
its place and says what is wrong. Positions of a table and of text are 1-based, as in VCF. Columns
of a table besides its variants are kept, to be written again next to the scores.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dnamdlm.data.csv_rows import csv_rows
from dnamdlm.data.named_files import variants_in
from dnamdlm.data.parquet_batches import parquet_batches, parquet_schema
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.textfile import has_quoting, read_lines
from dnamdlm.data.variants.bcf import BcfFile, is_bcf
from dnamdlm.data.variants.vcf import COLUMNS, Variant, VariantFile, read_row
from dnamdlm.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
# of a table; the first name of each is that of the output.
_NAMES = {
    "chrom": ("chrom", "#chrom", "chr", "chromosome"),
    "pos": ("pos", "position"),
    "ref": ("ref", "reference"),
    "alt": ("alt", "alternate"),
    "id": ("id",),
}
_NEEDED = ("chrom", "pos", "ref", "alt")
_VCF_HEAD = "##fileformat=VCF"
META = (f"{_VCF_HEAD}v4.3",)
"""Header of a VCF file that is made of variants of another form."""


class VariantSource(Protocol):
    """Rows of variants, which are read anew each time.

    Attributes:
        path: what they come from, for messages.
        meta: lines of the header of a VCF file.
        columns: names of the columns of a VCF file.
        extras: names of further columns, whose values are `Variant.extras`.
        unit: what `Variant.line` counts.
    """

    path: Path
    meta: tuple[str, ...]
    columns: tuple[str, ...]
    extras: tuple[str, ...]
    unit: str

    def rows(self) -> Iterator[Variant]:
        """The rows in order; one that cannot be read has a `fault`.

        Raises:
            DataError: if the source cannot be read to its end.
        """
        ...

    def digest(self) -> str:
        """SHA-256 of the content."""
        ...


def open_variants(variants: str | Path) -> VariantSource:
    """Variants as text, or in a file: VCF, BCF, CSV, TSV or parquet.

    Args:
        variants: `chrom:pos:ref:alt`, also `chrom-pos-ref-alt` and `chrom:g.posREF>ALT`, several
            separated by commas, or a file.

    Raises:
        DataError: for a file that is not such a table.

    >>> [row.fields[:5] for row in open_variants("chr17:43044346:C:T").rows()]
    [('chr17', '43044346', '.', 'C', 'T')]
    """
    written = variants_in(str(variants))
    if written is not None:
        return VariantTexts([":".join(fields) for fields in written])
    path = on_disk(variants)
    name = path.name.lower()
    if name.endswith(".parquet"):
        return VariantTable(_ParquetTable(Path(variants)))
    if is_bcf(Path(variants)):
        return BcfFile(variants)
    ending = Path(name.removesuffix(".gz")).suffix
    if ending in _SEPARATORS and not _first_line(path).startswith(_VCF_HEAD):
        return VariantTable(_TextTable(Path(variants), _SEPARATORS[ending]))
    return VariantFile(variants)


def _first_line(path: Path) -> str:
    return next((line for _, line in read_lines(path)), "")


class VariantTexts:
    """Variants as texts `chrom:pos:ref:alt` and the like, see `VariantSource`."""

    meta: tuple[str, ...] = META
    columns: tuple[str, ...] = COLUMNS
    extras: tuple[str, ...] = ()
    unit: str = "line"

    def __init__(self, texts: Sequence[str]) -> None:
        """Take the texts.

        Raises:
            DataError: if one is written otherwise.
        """
        self.fields: list[tuple[str, str, str, str]] = []
        for text in texts:
            found = variants_in(text)
            if found is None or len(found) > 1:
                raise DataError(
                    f"{text!r} is not a variant; write chrom:pos:ref:alt, for instance "
                    "chr17:43044346:C:T"
                )
            self.fields += found
        first = ":".join(self.fields[0]) if self.fields else ""
        self.path = Path(first if len(self.fields) == 1 else f"{first},...")

    def rows(self) -> Iterator[Variant]:
        """The variants in order."""
        for number, (chrom, pos, ref, alt) in enumerate(self.fields, start=1):
            yield read_row(number, _line(chrom, pos, ".", ref, alt), len(COLUMNS))

    def digest(self) -> str:
        """SHA-256 of the texts."""
        return hashlib.sha256("\n".join(map(":".join, self.fields)).encode()).hexdigest()


class _Cells(Protocol):
    """A table of texts."""

    path: Path
    names: tuple[str, ...]

    def cells(self) -> Iterator[tuple[int, Sequence[str]]]:
        """Line, or number, and cells of each row; they may be more or fewer than the names."""
        ...

    def digest(self) -> str:
        """SHA-256 of the content."""
        ...


class VariantTable:
    """Variants of a table with the columns chrom, pos, ref, alt and perhaps id.

    See `VariantSource`.
    """

    meta: tuple[str, ...] = META
    columns: tuple[str, ...] = COLUMNS
    unit: str = "line"

    def __init__(self, table: _Cells) -> None:
        """Find the columns.

        Raises:
            DataError: if one is missing, or a name is used twice.
        """
        self.table, self.path = table, table.path
        lower = [name.strip().lower() for name in table.names]
        repeated = sorted({name for name in lower if lower.count(name) > 1})
        if repeated:
            raise DataError(f"{self.path}: the column {repeated[0]!r} is there twice; rename one")
        self.places: dict[str, int] = {}
        for name, known in _NAMES.items():
            found = [place for place, text in enumerate(lower) if text in known]
            if len(found) > 1:
                both = " and ".join(repr(table.names[place]) for place in found)
                raise DataError(f"{self.path}: {both} both mean the column {name}; remove one")
            if found:
                self.places[name] = found[0]
            elif name in _NEEDED:
                raise DataError(
                    f"{self.path}: the column {name!r} is missing among "
                    f"{', '.join(map(repr, table.names[:12]))}; a table of variants has the "
                    "columns chrom, pos (from 1), ref and alt"
                )
        taken = set(self.places.values())
        self.kept = [place for place in range(len(lower)) if place not in taken]
        self.extras = tuple(table.names[place].strip() for place in self.kept)

    def rows(self) -> Iterator[Variant]:
        """The rows in order; those with another number of cells have a fault.

        Raises:
            DataError: if the table cannot be read to its end.
        """
        width = len(self.table.names)
        for number, cells in self.table.cells():
            filled = [*cells, *[""] * (width - len(cells))]
            five = [filled[self.places[name]].strip() if name in self.places else "."
                    for name in ("chrom", "pos", "id", "ref", "alt")]  # fmt: skip
            five[2] = five[2] or "."
            row = read_row(number, _line(*five), len(COLUMNS))
            if len(cells) != width:
                fault = f"{len(cells)} cells, the header has {width} names"
                row = replace(row, start=-1, ref="", fault=fault)
            yield replace(row, extras=tuple(filled[place] for place in self.kept))

    def digest(self) -> str:
        """SHA-256 of the table."""
        return self.table.digest()


class _TextTable:
    def __init__(self, path: Path, separator: str) -> None:
        self.path, self.separator = path, separator
        header = next((line for _, line in self._written()), "")
        self.has_quoting = has_quoting(header, separator)
        first = next(self._lines(), None)
        self.names: tuple[str, ...] = tuple(first[1]) if first else ()

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        quoting = csv.QUOTE_MINIMAL if self.has_quoting else csv.QUOTE_NONE
        for number, line in self._written():
            form = {"delimiter": self.separator, "quoting": quoting}
            yield number, next(csv_rows([line], self.path, **form))

    def _written(self) -> Iterator[tuple[int, str]]:
        for number, line in read_lines(self.path):
            if line.strip() and not line.startswith("##"):
                yield number, line

    def cells(self) -> Iterator[tuple[int, list[str]]]:
        lines = self._lines()
        next(lines, None)
        yield from lines

    def digest(self) -> str:
        with on_disk(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class _ParquetTable:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: tuple[str, ...] = tuple(parquet_schema(path).names)

    def cells(self) -> Iterator[tuple[int, list[str]]]:
        number = 0
        for batch in parquet_batches(self.path):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                yield number, [_cell(value) for value in values]

    def digest(self) -> str:
        with on_disk(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class FrameTable:
    """The cells of a DataFrame, for `VariantTable`."""

    def __init__(self, frame: DataFrame) -> None:
        self.path = Path("the DataFrame")
        self.frame = frame
        self.names: tuple[str, ...] = tuple(map(str, frame.columns))

    def cells(self) -> Iterator[tuple[int, list[str]]]:
        """Number and cells of each row."""
        rows: Iterable[Any] = self.frame.itertuples(index=False, name=None)
        for number, values in enumerate(rows, start=1):
            yield number, [_cell(value) for value in values]

    def digest(self) -> str:
        """SHA-256 of the cells."""
        content = hashlib.sha256()
        for _, cells in self.cells():
            content.update("\t".join(cells).encode())
        return content.hexdigest()


def _cell(value: Any) -> str:
    """A value of a table as text: nothing where it is missing, whole numbers without a point."""
    if value is None or value != value:  # noqa: PLR0124
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple):
        return ",".join(map(_cell, value))
    return str(value)


def _line(*five: str) -> str:
    """A row of VCF; an empty cell stays one, and a tab in a cell makes it a faulty row."""
    return "\t".join([*five, ".", ".", "."])
