"""Scored variants as TSV, parquet or VCF: one row out for each row in, in order.

A row may have several alleles in ALT. TSV and VCF write their values as VCF does, separated by
commas in the order of ALT, with '.' for what is missing; parquet has lists, which
`pandas.DataFrame.explode` turns into one row per allele. The column `reason` holds a code of
`dnamdlm.data.variants.vcf.REASONS` per allele, or nothing.

A row group of a parquet file has at most 4,096 rows. Once it has 64, it ends where a row of another
chromosome follows with which no group has begun, the first group of the file aside. So a filter by
`chrom` and `pos` reads few groups of a file in order, and rows in any other order have at most one
group more for each chromosome.

What each score means, with its unit and sign, stands in the header: in lines that begin with `##`
before the column names of a TSV file, in the INFO lines of a VCF file, and in the metadata of the
columns of a parquet file.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Protocol

from Bio.bgzf import BgzfWriter

from dnamdlm.data.files import gzip_stream
from dnamdlm.data.textfile import plain_cell
from dnamdlm.data.variants.variant_sources import VariantSource
from dnamdlm.data.variants.vcf import REASONS, Variant

ENDINGS = (".tsv", ".tsv.gz", ".parquet", ".vcf", ".vcf.gz")
PREFIX = "DNAMDLM_"
COLUMNS_OF_ROW = ("chrom", "pos", "id", "ref", "alt")
"""Columns of a table before the scores; `reason` stands after them."""
# rows of a group; the metadata of one takes about a kilobyte, which fewer would share badly.
_ROW_GROUP, _SMALL_GROUP = 4096, 64
_COPIED_BYTES = 1 << 16
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


class VariantRows(Protocol):
    """Rows of one kind of table as lines of text, from which `write_rows` makes the table.

    Attributes:
        head: what stands before the rows, for `write_rows`.
    """

    head: str

    def line(self, row: ScoredVariant) -> str:
        """A row, with the end of its line."""
        ...


def rows_of_table(ending: str, file: VariantSource, columns: Sequence[Column]) -> VariantRows:
    """How rows are written.

    Args:
        ending: one of `ENDINGS`, which says what kind of table.
        file: the variants, whose header a VCF file keeps.
        columns: the scores.
    """
    if ending == ".parquet":
        return _ParquetRows(columns, distinct_extras(file, columns))
    if ending.startswith(".vcf"):
        return _VcfRows(file, columns)
    return _TsvRows(columns, distinct_extras(file, columns))


def distinct_extras(file: VariantSource, columns: Sequence[Column]) -> list[str]:
    """Names of the further columns of a table; one that is taken gets `_input` after it."""
    taken = {*COLUMNS_OF_ROW, *(column.name for column in columns), "reason"}
    names = []
    for name in file.extras:
        free = plain_cell(name)
        while free in taken:
            free += "_input"
        taken.add(free)
        names.append(free)
    return names


def write_rows(path: Path, ending: str, head: str, contents: Iterable[IO[bytes]]) -> None:
    """A table from its head and its lines, in bounded memory.

    Args:
        path: where it is written.
        ending: one of `ENDINGS`.
        head: that of `VariantRows`.
        contents: files of its lines, in order, which are read from where they stand.
    """
    if ending == ".parquet":
        _write_parquet(path, json.loads(head), contents)
        return
    with _opened(path, ending) as stream:
        stream.write(head.encode("utf-8"))
        for content in contents:
            shutil.copyfileobj(content, stream, _COPIED_BYTES)


@contextmanager
def _opened(path: Path, ending: str) -> Iterator[Any]:
    """A stream of bytes into a file: plain, gzip (of TSV) or bgzip (of VCF)."""
    with path.open("wb") as raw, ExitStack() as stack:
        if not ending.endswith(".gz"):
            yield raw
        elif ending.startswith(".vcf"):
            writer = BgzfWriter(fileobj=raw)
            # its close() would close the file too, before it is flushed to disk.
            stack.callback(_end_bgzf, writer, raw)
            yield writer
        else:
            yield stack.enter_context(gzip_stream(raw))


def _end_bgzf(writer: BgzfWriter, raw: IO[bytes]) -> None:
    writer.flush()
    raw.write(_BGZF_END)


# the empty block that ends a bgzip file (SAM specification, section 4.1.2).
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def _number(value: float) -> str:
    return _MISSING if math.isnan(value) else f"{value:.6g}"


class _TsvRows:
    def __init__(self, columns: Sequence[Column], extras: Sequence[str]) -> None:
        self._names = [column.name for column in columns]
        meanings = [f"## {column.name}: {column.meaning}\n" for column in columns]
        names = _TAB.join([*COLUMNS_OF_ROW, *extras, *self._names, "reason"])
        self.head = "".join([*meanings, f"{names}\n"])

    def line(self, row: ScoredVariant) -> str:
        cells = [plain_cell(field) for field in (*row.variant.fields[:5], *row.variant.extras)]
        cells += [",".join(map(_number, row.scores[name])) for name in self._names]
        cells.append(",".join(reason or _MISSING for reason in row.reasons))
        return _TAB.join(cells) + "\n"


class _VcfRows:
    def __init__(self, file: VariantSource, columns: Sequence[Column]) -> None:
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
        lines = [*kept, *declared, reason, _TAB.join(file.columns)]
        self.head = "".join(f"{_plain_line(line)}\n" for line in lines)

    def line(self, row: ScoredVariant) -> str:
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
        return _plain_line(_TAB.join(fields)) + "\n"


def _plain_line(line: str) -> str:
    """A line of a VCF file, without letters on which a terminal would act."""
    return _TAB.join(map(plain_cell, line.split(_TAB)))


class _ParquetRows:
    """One JSON object a line, whose numbers keep all their digits."""

    def __init__(self, columns: Sequence[Column], extras: Sequence[str]) -> None:
        self._extras = extras
        scores = [[column.name, column.meaning] for column in columns]
        self.head = json.dumps({"scores": scores, "extras": list(extras)})

    def line(self, row: ScoredVariant) -> str:
        return json.dumps(as_record(row, self._extras)) + "\n"


def as_record(row: ScoredVariant, extras: Sequence[str] = ()) -> dict[str, Any]:
    """A row as plain values: text, a number, and lists with one entry per allele.

    The number `pos` is None where the row is not VCF.

    Args:
        row: with its scores.
        extras: names of the further columns of its table.
    """
    variant = row.variant
    record: dict[str, Any] = {
        "chrom": plain_cell(variant.chrom),
        "pos": None if variant.fault is not None else variant.start + 1,
        "id": plain_cell(variant.identifier),
        "ref": plain_cell(variant.fields[3]),
        "alt": plain_cell(variant.fields[4]).split(","),
        **dict(zip(extras, map(plain_cell, variant.extras), strict=True)),
    }
    for name, values in row.scores.items():
        record[name] = [None if math.isnan(value) else float(value) for value in values]
    return record | {"reason": list(row.reasons)}


def _write_parquet(path: Path, head: Mapping[str, Any], contents: Iterable[IO[bytes]]) -> None:
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
            *((name, pa.string()) for name in head["extras"]),
            *(
                pa.field(name, numbers, metadata={"description": meaning})
                for name, meaning in head["scores"]
            ),
            ("reason", text),
        ]
    )
    lines = chain.from_iterable(contents)
    with pq.ParquetWriter(path, schema) as writer:
        for group in _row_groups(map(json.loads, lines)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _row_groups(records: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Rows of one chromosome as far as they stand together, however they were cut into files."""
    group: list[Mapping[str, Any]] = []
    # chromosomes with which a group after the first began: each ends one group at most, so that
    # rows in random order do not end a group each.
    begun = set()
    for record in records:
        chrom = record["chrom"]
        is_other = len(group) >= _SMALL_GROUP and chrom != group[-1]["chrom"]
        if len(group) == _ROW_GROUP or (is_other and chrom not in begun):
            yield group
            group = []
            begun.add(chrom)
        group.append(record)
    if group:
        yield group
