"""Strict streaming reader of VCF files (plain, gzip, bgzip); one row in is one row out.

A row that is not VCF (columns, POS, letters) keeps its place and says what is wrong (`fault`); why
an allele of another row cannot be scored, `dnamdlm.data.variants.variant_places` says.

Positions are 0-based inside; POS of a file is 1-based.
Source: The Variant Call Format Specification, VCFv4.3, sections 1.4 to 1.6.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import AMBIGUITY_CODES

REASONS: Mapping[str, str] = {
    "no_alt": "ALT is '.', so that there is nothing to compare",
    "symbolic": "a symbolic allele such as <DEL>, whose sequence is not given",
    "star": "'*': the bases are deleted by another row",
    "breakend": "a breakend, which joins two places",
    "same_as_ref": "ALT has the bases of REF",
    "ambiguous": "REF or ALT holds N or another ambiguity code",
    "malformed": "the row is not VCF",
    "unknown_record": "the genome has no record of that name",
    "outside_region": "it does not lie within the region that the genome file holds",
    "position_zero": "POS is 0, a telomere",
    "telomere_end": "POS is one past the last base, a telomere",
    "past_end": "REF reaches past the end of the record",
    "ref_mismatch": "the genome has other bases than REF",
    "genome_n": "the genome has N where REF has bases",
    "too_long": "more bases change than half a window holds",
    "not_snv": "more than one base changes (of a score for single bases)",
}
"""What a code in the column `reason` means."""

COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
"""Columns of a VCF file without samples."""
_WITH_CODES = re.compile(f"[ACGTN{AMBIGUITY_CODES.decode()}]+", re.ASCII | re.IGNORECASE)
_SYMBOLIC = re.compile(r"<[^<>\s,]+>", re.ASCII)
_BREAKEND = re.compile(r"[A-Za-z.]*[\[\]][^\[\]\s,]+[\[\]][A-Za-z.]*|\.[A-Za-z]+|[A-Za-z]+\.")
_POSITION = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True)
class Variant:
    """One row of a VCF file.

    Attributes:
        line: its number in the file, from 1, see `VariantSource.unit`.
        chrom: record name as the file has it.
        start: first base of REF, 0-based; -1 where POS is 0.
        ref: bases in upper case.
        alts: one per allele, upper case where it is a sequence.
        fields: the columns as text, at most nine; the last holds FORMAT and all samples. Of a row
            that is not VCF what was found, filled up with '.'.
        fault: why the row is not VCF; None if it is.
        extras: values of the columns of a table besides its variants.
    """

    line: int
    chrom: str
    start: int
    ref: str
    alts: tuple[str, ...]
    fields: tuple[str, ...]
    fault: str | None = None
    extras: tuple[str, ...] = ()

    @property
    def identifier(self) -> str:
        """The column ID."""
        return self.fields[2]


class VariantFile:
    """Rows of a VCF file; the header is read at once, the rows each time they are asked for."""

    extras: tuple[str, ...] = ()
    unit: str = "line"

    def __init__(self, path: str | Path) -> None:
        """Read and check the header.

        Raises:
            DataError: if it is missing, or the file cannot be read.
        """
        self.path = Path(path)
        meta: list[str] = []
        for number, line in read_lines(self.path):
            if number == 1 and not line.startswith("##fileformat=VCF"):
                raise DataError(
                    f"{self.path}, line 1: a VCF file begins with '##fileformat=VCFv4.x', found "
                    f"{line[:40]!r}; give a VCF file with its header"
                )
            if not line.startswith("##"):
                self._check_columns(number, line)
                self.columns = tuple(line.split("\t"))
                self._first_row = number + 1
                break
            meta.append(line)
        else:
            raise DataError(
                f"{self.path}: the line that begins with '#CHROM' is missing; write the header"
            )
        self.meta = tuple(meta)

    def _check_columns(self, number: int, line: str) -> None:
        found = tuple(line.split("\t"))
        if found[: len(COLUMNS)] != COLUMNS:
            hint = " separated by tabs, not spaces" if tuple(line.split())[:8] == COLUMNS else ""
            raise DataError(
                f"{self.path}, line {number}: found {line[:60]!r} where the column names must "
                f"stand; write {' '.join(COLUMNS)}{hint}"
            )

    def rows(self) -> Iterator[Variant]:
        """The rows in file order; one that is not VCF has a `fault`.

        Raises:
            DataError: if the file cannot be read to its end.
        """
        num_columns = len(self.columns)
        for number, line in read_lines(self.path):
            if number < self._first_row or not line.strip():
                continue
            yield read_row(number, line, num_columns)

    def digest(self) -> str:
        """SHA-256 of the file."""
        with on_disk(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_row(number: int, line: str, num_columns: int) -> Variant:
    """A row; one that is not VCF has a `fault`.

    Args:
        number: of its line.
        line: the row.
        num_columns: of the header.
    """
    try:
        return _parse_row(number, line, num_columns)
    except DataError as error:
        return _faulty_row(number, line, num_columns, str(error))


def _parse_row(number: int, line: str, num_columns: int) -> Variant:
    found = line.count("\t") + 1
    if found != num_columns:
        if line.endswith("\t"):
            hint = "; the row ends with a tab, remove it"
        elif found < num_columns <= len(line.split()):
            hint = "; columns must be separated by tabs"
        else:
            hint = ""
        raise DataError(f"{found} tab-separated columns, the header has {num_columns}{hint}")
    fields = tuple(line.split("\t", 8))
    chrom, position, _, ref, alt = fields[:5]
    for name, text in zip(COLUMNS, fields, strict=False):
        if not text or text != text.strip() or (name != "INFO" and " " in text):
            what = "is empty" if not text.strip() else f"has blanks in {text[:40]!r}"
            raise DataError(f"column {name.lstrip('#')} {what}; write a value, or '.' for none")
    if not _POSITION.fullmatch(position):
        raise DataError(f"POS must be a whole number of at least 0, got {position[:40]!r}")
    if not has_letters(ref):
        raise DataError(f"REF must be bases A, C, G, T or N, got {ref[:40]!r}")
    alts = tuple(alt.split(","))
    for allele in alts:
        if not _is_allele(allele, alone=len(alts) == 1):
            raise DataError(
                f"ALT must be bases, '*', '.', <NAME> or a breakend, separated by commas, got "
                f"{allele[:40]!r}"
            )
    upper = tuple(x.upper() if has_letters(x) else x for x in alts)
    return Variant(number, chrom, int(position) - 1, ref.upper(), upper, fields)


def _faulty_row(number: int, line: str, num_columns: int, fault: str) -> Variant:
    """A row that is not VCF, as far as it can be told apart."""
    found = line.split("\t", 8)
    fields = (*found, *["."] * (num_columns - len(found)))
    return Variant(number, fields[0], -1, "", tuple(fields[4].split(",")), fields, fault)


def _is_allele(text: str, *, alone: bool) -> bool:
    if text == ".":
        return alone
    return text == "*" or has_letters(text) or is_symbolic(text) or bool(_BREAKEND.fullmatch(text))


def has_letters(allele: str) -> bool:
    """Whether an allele is a sequence of bases or ambiguity codes."""
    return bool(_WITH_CODES.fullmatch(allele))


def is_symbolic(allele: str) -> bool:
    """Whether an allele is a name in angle brackets."""
    return bool(_SYMBOLIC.fullmatch(allele))
