"""BCF files, and the rows of regions of indexed VCF and BCF files, through pysam.

A row of a BCF file is read as the row of VCF that htslib makes of it, so that it is checked, scored
and written as that row. pysam is imported where a file needs it and nowhere else.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.textfile import open_blocks
from dnamdlm.data.variants.vcf import COLUMNS, Variant, read_row
from dnamdlm.errors import DataError

_MAGIC = b"BCF\x02"
_GZIP_MAGIC = b"\x1f\x8b"
# htslib takes no larger positions.
_LARGEST = (1 << 31) - 1
# the empty block that ends a bgzip file (SAM specification, section 4.1.2).
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def is_bcf(path: Path) -> bool:
    """Whether a file is BCF by its content, whatever its name.

    Raises:
        DataError: if it cannot be read.
    """
    return next(open_blocks(path, block_bytes=1 << 12), b"").startswith(_MAGIC)


class BcfFile:
    """Rows of a BCF file, numbered from 1, see `VariantSource`."""

    extras: tuple[str, ...] = ()
    unit: str = "record"

    def __init__(self, path: str | Path) -> None:
        """Read the header.

        Raises:
            DataError: if pysam is missing, or the file is damaged or cut short.
        """
        self.path = Path(path)
        check_end(self.path)
        with _opened(self.path) as file:
            lines = str(file.header).splitlines()
        self.columns = tuple(lines[-1].split("\t"))
        if self.columns[: len(COLUMNS)] != COLUMNS:
            raise DataError(f"{self.path}: the header is damaged; write the file again")
        self.meta = tuple(lines[:-1])

    def rows(self) -> Iterator[Variant]:
        """The rows in order.

        Raises:
            DataError: if the file cannot be read to its end.
        """
        with _opened(self.path) as file:
            for number, line in enumerate(_lines(self.path, file), start=1):
                yield read_row(number, line, len(self.columns))

    def digest(self) -> str:
        """SHA-256 of the file."""
        with on_disk(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def lines_between(
    path: Path, index: Path, intervals: Iterable[tuple[str, int, int]]
) -> Iterator[str]:
    """Rows of an indexed bgzip VCF or BCF file that begin within intervals, as lines of VCF.

    Args:
        path: the file.
        index: its index, TBI or CSI, which belongs to it.
        intervals: name of a record, first base (from 0), and base after the last one; a record
            without rows may be among them.

    Raises:
        DataError: if pysam is missing, or one of the files is damaged.
    """
    is_binary = is_bcf(path)
    with (_opened if is_binary else _opened_text)(path, index) as file:
        known = set(file.header.contigs if is_binary else file.contigs)
        for chrom, start, end in intervals:
            if chrom not in known or start >= _LARGEST:
                continue
            for line in _lines(path, file.fetch(chrom, start, min(end, _LARGEST))):
                # a long REF reaches into an interval in which it does not begin.
                if start < int(line.split("\t", 2)[1]) <= end:
                    yield line


def has_pysam() -> bool:
    """Whether pysam can be imported."""
    try:
        importlib.import_module("pysam")
    except ImportError:
        return False
    return True


def check_end(path: Path) -> None:
    """Check that a bgzip file ends with its empty block; other files have none.

    Raises:
        DataError: if it does not.
    """
    with on_disk(path).open("rb") as file:
        is_packed = file.read(2) == _GZIP_MAGIC
        size = file.seek(0, 2)
        file.seek(max(0, size - len(BGZF_END)))
        if is_packed and file.read() != BGZF_END:
            raise DataError(
                f"{path}: the bgzip end-of-file block is missing, so the file is probably "
                f"truncated at offset {size}; copy it or write it again"
            )


@contextmanager
def _opened(path: Path, index: Path | None = None) -> Iterator[Any]:
    """A BCF file that is open for reading."""
    named = {} if index is None else {"index_filename": str(index)}
    with _checked(path):
        file = _pysam(path).VariantFile(str(on_disk(path)), "rb", **named)
    with _closing(file):
        yield file


@contextmanager
def _opened_text(path: Path, index: Path) -> Iterator[Any]:
    """A bgzip VCF file that is open for looking up regions."""
    with _checked(path):
        file = _pysam(path).TabixFile(str(on_disk(path)), index=str(index), encoding="utf-8")
    with _closing(file):
        yield file


@contextmanager
def _closing(file: Any) -> Iterator[None]:
    try:
        yield
    finally:
        # of a damaged file htslib complains once more.
        with suppress(OSError):
            file.close()


def _lines(path: Path, records: Iterable[Any]) -> Iterator[str]:
    """Records of a file that is read by pysam, as lines of VCF."""
    source, end = iter(records), object()
    while True:
        with _checked(path):
            record = next(source, end)
        if record is end:
            return
        yield str(record).rstrip("\r\n")


def _pysam(path: Path) -> Any:
    try:
        return importlib.import_module("pysam")
    except ImportError as error:
        raise DataError(
            f"{path}: this is a BCF file, for which pysam is needed; pip install 'dnamdlm[dna]', "
            "or convert it with bcftools view -Oz"
        ) from error


@contextmanager
def _checked(path: Path) -> Iterator[None]:
    """Errors of htslib as one sentence, without what it prints itself."""
    pysam = _pysam(path)
    before = pysam.set_verbosity(0)
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the file is damaged or truncated; copy it or write it again"
        ) from error
    finally:
        pysam.set_verbosity(before)
