"""Tables of text with a header line: one reader for CSV and TSV.

Files that end in `.csv` have commas, and quotation marks group what they enclose (RFC 4180). Those
that end in `.tsv`, `.tab` or `.txt` have tabs, and quotation marks are letters like any other: the
format knows no quoting, and a mark that opens a field of prose would swallow the rows after it.
Only where every name of the header stands in quotation marks, as R writes tables, do they group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.data.csv_rows import numbered_rows
from dnamdlm.data.textfile import has_quoting, read_lines
from dnamdlm.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
"""Ending of a file, `.gz` aside -> what stands between its columns."""

_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_ENDINGS = {",": ".csv", "\t": ".tsv"}


@dataclass(frozen=True)
class Delimited:
    """Columns of a table.

    Attributes:
        columns: name -> the fields of all rows, without blanks around them.
        lines: line of the file in which each row begins.
        left_out: rows with another number of fields, where these are not an error.
    """

    columns: dict[str, list[str]]
    lines: list[int]
    left_out: int = 0


def ending_of(path: Path) -> str:
    """The ending of a file name in lower case, `.gz` aside.

    >>> ending_of(Path("a.b/Activity.CSV.gz"))
    '.csv'
    """
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


class DelimitedRows:
    """The rows of a table, which are read once, one after the other.

    Attributes:
        names: of the columns.
        left_out: rows with another number of fields so far, where these are not an error.

    Args:
        path: ending in one of `SEPARATORS`, also compressed with gzip.
        header: names of the columns of a file without a header line.
        skip_ragged: leave out rows with another number of fields; otherwise they are an error.

    Raises:
        DataError: for a file that is missing, damaged, of another ending, or no such table; the
            sentence names the line and what separates its columns.
    """

    def __init__(
        self, path: Path, *, header: Sequence[str] | None = None, skip_ragged: bool = False
    ) -> None:
        self._path, self._ending, self._skip_ragged = path, ending_of(path), skip_ragged
        if self._ending not in SEPARATORS:
            raise DataError(
                f"{path}: tables that end in {self._ending!r} are not read; allowed are "
                f"{', '.join(SEPARATORS)}, each also with .gz"
            )
        self._rows = _rows(path, SEPARATORS[self._ending])
        self.left_out = 0
        if header is not None:
            self.names = tuple(header)
            return
        _, names = next(self._rows, (1, []))
        self.names = tuple(name.strip() for name in names)
        _check_header(path, self.names, self._ending)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Line in which each row begins, and its fields without blanks around them.

        Raises:
            DataError: at the first row that does not fit, or where the file is damaged.
        """
        for line, row in self._rows:
            if not any(row):
                continue
            if len(row) == len(self.names):
                yield line, [value.strip() for value in row]
            elif self._skip_ragged:
                self.left_out += 1
            else:
                misfit = _misfit(row, self.names, self._ending)
                raise DataError(f"{self._path}, line {line}: {misfit}")


def read_delimited(
    path: Path, *, header: Sequence[str] | None = None, skip_ragged: bool = False
) -> Delimited:
    r"""Read a table; see `DelimitedRows`, which gives its rows one after the other.

    Args:
        path: ending in one of `SEPARATORS`, also compressed with gzip.
        header: names of the columns of a file without a header line.
        skip_ragged: leave out rows with another number of fields; otherwise they are an error.

    Raises:
        DataError: as `DelimitedRows`, at the first fault of the file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "few.tsv")
    >>> _ = path.write_text('text\tlabel\n"one\t1\ntwo"\t0\n')
    >>> read_delimited(path).columns
    {'text': ['"one', 'two"'], 'label': ['1', '0']}
    """
    rows = DelimitedRows(path, header=header, skip_ragged=skip_ragged)
    columns: list[list[str]] = [[] for _ in rows.names]
    lines: list[int] = []
    for line, fields in rows:
        lines.append(line)
        for column, value in zip(columns, fields, strict=True):
            column.append(value)
    return Delimited(dict(zip(rows.names, columns, strict=True)), lines, rows.left_out)


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and fields, of each row."""
    if not has_quoting(next((line for _, line in read_lines(path)), ""), separator):
        for number, line in read_lines(path):
            yield number, line.split(separator)
        return
    # a line end inside quotation marks belongs to the field.
    lines = (line + "\n" for _, line in read_lines(path))

    def refusal(first: int) -> str:
        return (
            f"{path}, line {first}: quotation marks do not enclose a whole field, or are not "
            'closed; write a mark inside a field twice (""), within marks'
        )

    yield from numbered_rows(lines, refusal, delimiter=separator, strict=True)


def _check_header(path: Path, names: Sequence[str], ending: str) -> None:
    if names and names[0].lower().startswith("sep="):
        raise DataError(
            f"{path}, line 1: 'sep=' is a note for a spreadsheet program; remove this line, and "
            f"separate the columns with {_NAMES[SEPARATORS[ending]]}"
        )
    if len(names) == 1:
        others = [other for other in _NAMES if other != SEPARATORS[ending] and other in names[0]]
        if others:
            raise DataError(f"{path}, line 1: {_other_separator(others[0], ending)}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns have the name {twice!r}; give each its own")


def _other_separator(found: str, ending: str) -> str:
    remedy = (
        f", or let the name end in {_ENDINGS[found]}" if found in _ENDINGS else ""
    )  # fmt: skip
    return (
        f"{_NAMES[found]} separate the columns, and a file that ends in {ending} has "
        f"{_NAMES[SEPARATORS[ending]]}; write it with these{remedy}"
    )


def _misfit(row: Sequence[str], names: Sequence[str], ending: str) -> str:
    """Why a row does not fit its header."""
    separator = SEPARATORS[ending]
    said = f"{len(row)} field{'s' * (len(row) != 1)}, the header has {len(names)}; "
    excess = row[len(names) :]
    if excess and not any(field.strip() for field in excess):
        return f"{said}{_NAMES[separator]} stand at the end of the line; remove them"
    others = [other for other in _NAMES if other != separator and other in row[0]]
    if len(row) == 1 and others:
        return said + _other_separator(others[0], ending)
    if separator == ",":
        return f"{said}put a field that has commas into quotation marks"
    if len(row) < len(names):
        return (
            f"{said}only tabs separate fields, not blanks, and an empty field has its tab as well"
        )
    if len(row) == len(names) + 1:
        return (
            f"{said}a field must not have tabs, and a row no name before its first column "
            "(in R: row.names=FALSE)"
        )
    return f"{said}a field must not have tabs"
