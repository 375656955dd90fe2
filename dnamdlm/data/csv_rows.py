"""Rows of comma-separated text, whatever the length of a field."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dnamdlm.errors import DataError


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
    # a field may be a chromosome; the limit of the module is one of the process.
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(lines, **form)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(
                f"{path}: row {rows.line_num} cannot be cut into fields; restore the file, or "
                "write it again"
            ) from error
        if row is None:
            return
        yield row
