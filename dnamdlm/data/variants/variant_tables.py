"""Scored variants as TSV, parquet or VCF: one row out for each row in, in order.

A row may have several alleles in ALT. TSV and VCF write their values as VCF does, separated by
commas in the order of ALT, with '.' for what is missing; parquet has lists, which
`pandas.DataFrame.explode` turns into one row per allele. The column `reason` holds a code of
`dnamdlm.data.variants.vcf.REASONS` per allele, or nothing.

What each score means, with its unit and sign, stands in the header: in lines that begin with `##`
before the column names of a TSV file, in the INFO lines of a VCF file, and in the metadata of the
columns of a parquet file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from Bio.bgzf import BgzfWriter

from dnamdlm.data.files import gzip_stream
from dnamdlm.data.textfile import plain_cell
from dnamdlm.data.variants.vcf import REASONS, Variant, VariantFile

ENDINGS = (".tsv", ".tsv.gz", ".parquet", ".vcf", ".vcf.gz")
PREFIX = "DNAMDLM_"
COLUMNS_OF_ROW = ("chrom", "pos", "id", "ref", "alt")
"""Columns of a table before the scores; `reason` stands after them."""
_ROW_GROUP = 4096
_MISSING, _TAB = ".", "\t"


@dataclass(frozen=True)
class Column:
    """A score.

    Attributes:
        name: of the column; in a VCF file in upper case after `DNAMDLM_`.
        meaning: one sentence with the unit and the sign, for the header.
    """

    name: str
    meaning: str


@dataclass(frozen=True)
class ScoredVariant:
    """A row with its scores.

    Attributes:
        variant: the row.
        scores: column name -> one number per allele, nan where there is none.
        reasons: one per allele, None where everything was scored.
    """

    variant: Variant
    scores: Mapping[str, Sequence[float]]
    reasons: Sequence[str | None]


class VariantSink(Protocol):
    """Takes scored rows one after the other."""

    def add(self, row: ScoredVariant) -> None:
        """Write a row."""
        ...


@contextmanager
def variant_sink(
    path: Path, ending: str, file: VariantFile, columns: Sequence[Column]
) -> Iterator[VariantSink]:
    """A table that grows row by row and is complete at the end of the block.

    Args:
        path: where it is written.
        ending: one of `ENDINGS`, which says what kind of file.
        file: the variants, whose header a VCF file keeps.
        columns: the scores.
    """
    with ExitStack() as stack:
        if ending == ".parquet":
            yield stack.enter_context(_parquet(path, columns))
        elif ending.startswith(".vcf"):
            yield _VcfSink(stack.enter_context(_text(path, ending, bgzf=True)), file, columns)
        else:
            yield _TsvSink(stack.enter_context(_text(path, ending, bgzf=False)), columns)


@contextmanager
def _text(path: Path, ending: str, *, bgzf: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw, ExitStack() as stack:
        if not ending.endswith(".gz"):
            writer: Any = raw
        elif bgzf:
            writer = BgzfWriter(fileobj=raw)
            # its close() would close the file too, before it is flushed to disk.
            stack.callback(_end_bgzf, writer, raw)
        else:
            writer = stack.enter_context(gzip_stream(raw))
        yield _Encoded(writer)  # type: ignore[misc]


def _end_bgzf(writer: BgzfWriter, raw: IO[bytes]) -> None:
    writer.flush()
    raw.write(_BGZF_END)


# the empty block that ends a bgzip file (SAM specification, section 4.1.2).
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class _Encoded:
    """Text to a stream of bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text.encode("utf-8"))


def _number(value: float) -> str:
    return _MISSING if math.isnan(value) else f"{value:.6g}"


class _TsvSink:
    def __init__(self, stream: Any, columns: Sequence[Column]) -> None:
        self._stream = stream
        self._names = [column.name for column in columns]
        for column in columns:
            stream.write(f"## {column.name}: {column.meaning}\n")
        stream.write("\t".join([*COLUMNS_OF_ROW, *self._names, "reason"]) + "\n")

    def add(self, row: ScoredVariant) -> None:
        cells = [plain_cell(field) for field in row.variant.fields[:5]]
        cells += [",".join(map(_number, row.scores[name])) for name in self._names]
        cells.append(",".join(reason or _MISSING for reason in row.reasons))
        self._stream.write("\t".join(cells) + "\n")


class _VcfSink:
    def __init__(self, stream: Any, file: VariantFile, columns: Sequence[Column]) -> None:
        self._stream = stream
        self._names = [column.name for column in columns]
        declared = [
            f'##INFO=<ID={PREFIX}{column.name.upper()},Number=A,Type=Float,Description="'
            f'{column.meaning}">'
            for column in columns
        ]
        codes = "; ".join(f"{code}: {meaning}" for code, meaning in REASONS.items())
        reason = (
            f"##INFO=<ID={PREFIX}REASON,Number=.,Type=String,Description="
            f'"Why an allele has no score: {codes}">'
        )
        kept = [line for line in file.meta if not line.startswith(f"##INFO=<ID={PREFIX}")]
        for line in [*kept, *declared, reason, "\t".join(file.columns)]:
            stream.write(f"{_plain_line(line)}\n")

    def add(self, row: ScoredVariant) -> None:
        fields = list(row.variant.fields)
        # a file that was scored before gets new scores in place of the old ones.
        kept = [part for part in fields[7].split(";") if not part.startswith(PREFIX)]
        info = [part for part in kept if part not in ("", _MISSING)]
        for name in self._names:
            values = row.scores[name]
            if not all(math.isnan(value) for value in values):
                info.append(f"{PREFIX}{name.upper()}={','.join(map(_number, values))}")
        if any(row.reasons):
            info.append(f"{PREFIX}REASON={','.join(x or _MISSING for x in row.reasons)}")
        fields[7] = ";".join(info) or _MISSING
        self._stream.write(_plain_line(_TAB.join(fields)) + "\n")


def _plain_line(line: str) -> str:
    """A line of a VCF file, without letters on which a terminal would act."""
    return _TAB.join(map(plain_cell, line.split(_TAB)))


class _ParquetSink:
    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[dict[str, Any]] = []

    def add(self, row: ScoredVariant) -> None:
        self._rows.append(as_record(row))
        if len(self._rows) == _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def as_record(row: ScoredVariant) -> dict[str, Any]:
    """A row as plain values: text, a number, and lists with one entry per allele.

    The number `pos` is None where the row is not VCF.
    """
    variant = row.variant
    record: dict[str, Any] = {
        "chrom": plain_cell(variant.chrom),
        "pos": None if variant.fault is not None else variant.start + 1,
        "id": plain_cell(variant.identifier),
        "ref": plain_cell(variant.fields[3]),
        "alt": plain_cell(variant.fields[4]).split(","),
    }
    for name, values in row.scores.items():
        record[name] = [None if math.isnan(value) else float(value) for value in values]
    return record | {"reason": list(row.reasons)}


@contextmanager
def _parquet(path: Path, columns: Sequence[Column]) -> Iterator[_ParquetSink]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    schema = pa.schema(
        [
            ("chrom", pa.string()),
            ("pos", pa.int64()),
            ("id", pa.string()),
            ("ref", pa.string()),
            ("alt", text),
            *(
                pa.field(column.name, numbers, metadata={"description": column.meaning})
                for column in columns
            ),
            ("reason", text),
        ]
    )
    with pq.ParquetWriter(path, schema) as writer:
        sink = _ParquetSink(writer, schema)
        yield sink
        sink.flush()
