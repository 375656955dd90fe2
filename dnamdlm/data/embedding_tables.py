"""Tables of embeddings, written row by row in bounded memory: parquet and npz.

parquet has the columns `name`, `start`, `end`, `num_valid` and `embedding`, a list of fixed size,
in row groups. npz has the arrays `names` (one per record), `record` (the record of each row),
`start`, `end`, `num_valid` and `embedding` (rows, channels). `start` and `end` count the bases of
the record from 0, and `num_valid` those among them that are A, C, G or T.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dnamdlm.data.textfile import plain_cell

ENDINGS = (".parquet", ".npz")
_ROWS_PER_GROUP = 4096
_COPIED_BYTES = 1 << 20
_COLUMNS = ("record", "start", "end", "num_valid")


class EmbeddingSink(Protocol):
    """Takes rows one after the other."""

    def add(self, *columns: NDArray) -> None:
        """Write rows: record, start, end, num_valid, values, as `record_states.Rows` has them."""
        ...


@contextmanager
def embedding_sink(
    path: Path, ending: str, names: Sequence[str], shape: tuple[int, int], dtype: str
) -> Iterator[EmbeddingSink]:
    """A table that grows and is complete at the end of the block.

    Args:
        path: where it is written; npz keeps its small columns next to it until the end.
        ending: one of `ENDINGS`.
        names: of the records.
        shape: rows and channels to come.
        dtype: float16 or float32.
    """
    kind = np.dtype(dtype)
    names = [plain_cell(name) for name in names]
    opened = (
        _parquet(path, names, shape[1], kind)
        if ending == ".parquet"
        else _npz(path, names, shape, kind)
    )
    with opened as sink:
        yield sink


class _ParquetSink:
    def __init__(self, writer: Any, schema: Any, names: Sequence[str], kind: np.dtype) -> None:
        self._writer, self._schema, self._names, self._kind = writer, schema, names, kind
        self._waiting: list[tuple[NDArray, ...]] = []
        self._num_rows = 0

    def add(self, *columns: NDArray) -> None:
        self._waiting.append(columns)
        self._num_rows += len(columns[0])
        if self._num_rows >= _ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if not self._num_rows:
            return
        parts = zip(*self._waiting, strict=True)
        record, start, end, num_valid, values = (np.concatenate(part) for part in parts)
        flat = pa.array(np.ascontiguousarray(values, dtype=self._kind).reshape(-1))
        embedding = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        columns = [[self._names[i] for i in record], start, end, num_valid, embedding]
        arrays = [pa.array(x) if not isinstance(x, pa.Array) else x for x in columns]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._waiting, self._num_rows = [], 0


@contextmanager
def _parquet(
    path: Path, names: Sequence[str], width: int, kind: np.dtype
) -> Iterator[_ParquetSink]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = [(name, pa.int64()) for name in _COLUMNS[1:]]
    values = pa.list_(pa.from_numpy_dtype(kind), width)
    schema = pa.schema([("name", pa.string()), *numbers, ("embedding", values)])
    with pq.ParquetWriter(path, schema) as writer:
        sink = _ParquetSink(writer, schema, names, kind)
        yield sink
        sink.flush()


class _NpzSink:
    def __init__(self, values: Any, columns: Sequence[Any], kind: np.dtype) -> None:
        self._values, self._columns, self._kind = values, columns, kind

    def add(self, *columns: NDArray) -> None:
        self._values.write(np.ascontiguousarray(columns[-1], dtype=self._kind).tobytes())
        for file, numbers in zip(self._columns, columns[:-1], strict=True):
            file.write(np.asarray(numbers, dtype="<i8").tobytes())


@contextmanager
def _npz(
    path: Path, names: Sequence[str], shape: tuple[int, int], kind: np.dtype
) -> Iterator[_NpzSink]:
    # an archive takes one member at a time: the vectors go there, the small columns wait in files.
    # these have no names, so that nothing of them stays if the process is killed.
    with ExitStack() as stack:
        spools = [stack.enter_context(TemporaryFile(dir=path.parent)) for _ in _COLUMNS]
        archive = stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED))
        with _member(archive, "embedding", shape, kind) as member:
            yield _NpzSink(member, spools, kind)
        for name, spool in zip(_COLUMNS, spools, strict=True):
            spool.seek(0)
            with _member(archive, name, (shape[0],), np.dtype("<i8")) as member:
                while piece := spool.read(_COPIED_BYTES):
                    member.write(piece)
        with archive.open(_dated("names"), "w", force_zip64=True) as member:
            npy.write_array(member, np.array(list(names), dtype=np.str_), allow_pickle=False)


@contextmanager
def _member(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kind: np.dtype
) -> Iterator[Any]:
    """A member that begins with the header of an array of this shape."""
    with archive.open(_dated(name), "w", force_zip64=True) as member:
        header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(member, header)
        yield member


def _dated(name: str) -> zipfile.ZipInfo:
    """A member without the time of writing, so that the same rows give the same bytes."""
    member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    return member
