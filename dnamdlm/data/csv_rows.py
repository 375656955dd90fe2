"""Rows of comma-separated text, whatever the length of a field."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dnamdlm.errors import DataError


def numbered_rows(
    lines: Iterable[str], refusal: Callable[[int], str], **form: Any
) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and fields, of each row.

    Args:
        lines: of the text.
        refusal: what to say of the row that begins at a line, if it is none.
        form: settings of `csv.reader`.

    Raises:
        DataError: for lines that are no rows.
    """
    # a field may be a chromosome; the limit of the module is one of the process.
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(lines, **form)
    while True:
        first = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(refusal(first)) from error
        if row is None:
            return
        yield first, row


def csv_rows(lines: Iterable[str], path: Path, **form: Any) -> Iterator[list[str]]:
    """The fields of each row.

    Args:
        lines: of the text.
        path: the file, for the message.
        form: settings of `csv.reader`.

    Raises:
        DataError: for lines that are no rows.

    >>> list(csv_rows(['a,"b,c"', "1,2"], Path("x.csv")))
    [['a', 'b,c'], ['1', '2']]
    """

    def refusal(first: int) -> str:
        return f"{path}: row {first} cannot be cut into fields; restore the file, or write it again"

    return (row for _, row in numbered_rows(lines, refusal, **form))
