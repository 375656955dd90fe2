"""Rows of parquet files, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnamdlm.data.piped_files import on_disk
from dnamdlm.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS, _READ_AT_ONCE = 4096, 1 << 16


def parquet_schema(path: Path) -> pa.Schema:
    """Names and kinds of the columns.

    Raises:
        DataError: as `parquet_batches`.
    """
    with _opened(path) as file:
        return file.schema_arrow


def parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of rows; a column is read in pieces, so that memory does not grow with the file.

    Args:
        path: the file; a pipe is kept on the disk.

    Raises:
        DataError: for a file that is missing or cannot be read, or without pyarrow.
    """
    with _opened(path) as file:
        yield from file.iter_batches(_ROWS)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{path}: reading parquet needs the package pyarrow; install it, or write a CSV file"
        ) from error
    if path.is_dir():
        raise DataError(
            f"{path}: this is a folder; give one of its files, or write all of it to one file"
        )
    try:
        # to buffer ahead is to hold a whole row group.
        with pq.ParquetFile(on_disk(path), buffer_size=_READ_AT_ONCE, pre_buffer=False) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable parquet file; write it again") from error
