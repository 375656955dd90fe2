"""Strict streaming reader of VCF files (plain, gzip, bgzip); one row in is one row out.

A row that is not VCF (columns, POS, letters) is an error with its line number. A row that is VCF
but cannot be scored keeps its place and gets a reason per allele, one of `REASONS`. More than a
given share of rows that contradict the genome means another genome build, which is an error.

Positions are 0-based inside; POS of a file is 1-based.
Source: The Variant Call Format Specification, VCFv4.3, sections 1.4 to 1.6.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dnamdlm.data.genome.intervals import unknown_record
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import AMBIGUITY_CODES, BASE_CODES
from dnamdlm.words.codes import CODE_MASK

REASONS: Mapping[str, str] = {
    "no_alt": "ALT is '.', so that there is nothing to compare",
    "symbolic": "a symbolic allele such as <DEL>, whose sequence is not given",
    "star": "'*': the bases are deleted by another row",
    "breakend": "a breakend, which joins two places",
    "same_as_ref": "ALT has the bases of REF",
    "ambiguous": "REF or ALT holds N or another ambiguity code",
    "unknown_record": "the genome has no record of that name",
    "position_zero": "POS is 0, a telomere",
    "past_end": "REF reaches past the end of the record",
    "ref_mismatch": "the genome has other bases than REF",
    "genome_n": "the genome has N where REF has bases",
    "too_long": "more bases change than half a window holds",
    "not_snv": "more than one base changes (of a score for single bases)",
}
"""What a code in the column `reason` means."""

_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_WITH_CODES = re.compile(f"[ACGTN{AMBIGUITY_CODES.decode()}]+", re.ASCII | re.IGNORECASE)
_SYMBOLIC = re.compile(r"<[^<>\s,]+>", re.ASCII)
_BREAKEND = re.compile(r"[A-Za-z.]*[\[\]][^\[\]\s,]+[\[\]][A-Za-z.]*|\.[A-Za-z]+|[A-Za-z]+\.")
_POSITION = re.compile(r"[0-9]{1,15}", re.ASCII)
# what says that the file belongs to another genome.
_AGAINST_GENOME = ("ref_mismatch", "past_end")
_LETTERS = np.frombuffer(BASE_CODES, dtype=np.uint8)


@dataclass(frozen=True)
class Variant:
    """One row of a VCF file.

    Attributes:
        line: its number in the file, from 1.
        chrom: record name as the file has it.
        start: first base of REF, 0-based; -1 where POS is 0.
        ref: bases in upper case.
        alts: one per allele, upper case where it is a sequence.
        fields: the columns as text, at most nine; the last holds FORMAT and all samples.
    """

    line: int
    chrom: str
    start: int
    ref: str
    alts: tuple[str, ...]
    fields: tuple[str, ...]

    @property
    def identifier(self) -> str:
        """The column ID."""
        return self.fields[2]


class VariantFile:
    """Rows of a VCF file; the header is read at once, the rows each time they are asked for."""

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
        if found[: len(_COLUMNS)] != _COLUMNS:
            hint = " separated by tabs, not spaces" if tuple(line.split())[:8] == _COLUMNS else ""
            raise DataError(
                f"{self.path}, line {number}: found {line[:60]!r} where the column names must "
                f"stand; write {' '.join(_COLUMNS)}{hint}"
            )

    def rows(self) -> Iterator[Variant]:
        """The rows in file order.

        Raises:
            DataError: at the first row that is not VCF, with its line and column.
        """
        num_columns = len(self.columns)
        for number, line in read_lines(self.path):
            if number < self._first_row or not line.strip():
                continue
            try:
                yield _parse_row(number, line, num_columns)
            except DataError as error:
                raise DataError(f"{self.path}, line {number}: {error}") from None


def _parse_row(number: int, line: str, num_columns: int) -> Variant:
    found = line.count("\t") + 1
    if found != num_columns:
        hint = "; columns must be separated by tabs" if len(line.split()) >= num_columns else ""
        raise DataError(f"{found} tab-separated columns, the header has {num_columns}{hint}")
    fields = tuple(line.split("\t", 8))
    chrom, position, _, ref, alt = fields[:5]
    for name, text in zip(_COLUMNS, fields, strict=False):
        if not text or text != text.strip() or (name != "INFO" and " " in text):
            what = "is empty" if not text.strip() else f"has blanks in {text[:40]!r}"
            raise DataError(f"column {name.lstrip('#')} {what}; write a value, or '.' for none")
    if not _POSITION.fullmatch(position):
        raise DataError(f"POS must be a whole number of at least 0, got {position[:40]!r}")
    if not _WITH_CODES.fullmatch(ref):
        raise DataError(f"REF must be bases A, C, G, T or N, got {ref[:40]!r}")
    alts = tuple(alt.split(","))
    for allele in alts:
        if not _is_allele(allele, alone=len(alts) == 1):
            raise DataError(
                f"ALT must be bases, '*', '.', <NAME> or a breakend, separated by commas, got "
                f"{allele[:40]!r}"
            )
    upper = tuple(x.upper() if _WITH_CODES.fullmatch(x) else x for x in alts)
    return Variant(number, chrom, int(position) - 1, ref.upper(), upper, fields)


def _is_allele(text: str, *, alone: bool) -> bool:
    if text == ".":
        return alone
    return text == "*" or any(
        pattern.fullmatch(text) for pattern in (_WITH_CODES, _SYMBOLIC, _BREAKEND)
    )


def record_of(chrom: str, lengths: Mapping[str, int], *, match_names: bool) -> str | None:
    """The record of the genome that a name means, or None.

    Args:
        chrom: name in the VCF file.
        lengths: the records of the genome.
        match_names: take 20 and chr20 for the same, and so MT, M and chrM.
    """
    if chrom in lengths or not match_names:
        return chrom if chrom in lengths else None
    bare = chrom.removeprefix("chr")
    bare = "M" if bare == "MT" else bare
    candidates = [bare, f"chr{bare}", *(["MT", "chrMT"] if bare == "M" else [])]
    return next((name for name in candidates if name in lengths), None)


def reasons_of(variant: Variant, store: GenomeStore, record: str | None) -> tuple[str | None, ...]:
    """Why each allele of a row cannot be scored, None where it can; codes of `REASONS`."""
    whole = _reason_of_row(variant, store, record)
    return tuple(whole or _reason_of_allele(variant.ref, alt) for alt in variant.alts)


def _reason_of_row(variant: Variant, store: GenomeStore, record: str | None) -> str | None:
    start, end = variant.start, variant.start + len(variant.ref)
    if record is None:
        return "unknown_record"
    if start < 0:
        return "position_zero"
    if end > store.lengths[record]:
        return "past_end"
    if not set(variant.ref) <= set("ACGT"):
        return "ambiguous"
    found = bases(store, record, start, end)
    if found == variant.ref:
        return None
    agrees = all(x in (y, "N") for x, y in zip(found, variant.ref, strict=True))
    return "genome_n" if agrees else "ref_mismatch"


def _reason_of_allele(ref: str, alt: str) -> str | None:
    kinds = {".": "no_alt", "*": "star"}
    if alt in kinds:
        return kinds[alt]
    if _WITH_CODES.fullmatch(alt):
        if not set(alt) <= set("ACGT"):
            return "ambiguous"
        return "same_as_ref" if alt == ref else None
    return "symbolic" if _SYMBOLIC.fullmatch(alt) else "breakend"


def bases(store: GenomeStore, record: str, start: int, end: int) -> str:
    """Letters of a stretch of a genome, upper case; the caller has checked the ends."""
    offset = store.offsets[record]
    codes = store.codes[offset + start : offset + end] & CODE_MASK
    return _LETTERS[codes].tobytes().decode("ascii")


@dataclass
class VariantCounts:
    """What a file holds.

    Attributes:
        rows: number of rows.
        alleles: number of alleles of all rows.
        reasons: alleles that cannot be scored, by reason.
    """

    rows: int = 0
    alleles: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def check_variants(
    file: VariantFile, store: GenomeStore, *, match_names: bool = False, max_mismatch: float = 0.01
) -> VariantCounts:
    """Read the whole file and compare it with the genome, before anything is computed.

    Args:
        file: the variants.
        store: the genome.
        match_names: as in `record_of`.
        max_mismatch: largest share of the rows on known records that may contradict the genome.

    Raises:
        DataError: for a faulty row, no row, names of another convention, no known record, or a
            genome of another build.
    """
    counts = VariantCounts()
    known = against = 0
    example = ""
    names: dict[str, str | None] = {}
    for row in file.rows():
        if row.chrom not in names:
            names[row.chrom] = record_of(row.chrom, store.lengths, match_names=match_names)
            if names[row.chrom] is None and record_of(row.chrom, store.lengths, match_names=True):
                raise DataError(
                    f"{file.path}, line {row.line}: {unknown_record(row.chrom, store.lengths)}, or "
                    "set match_names=true"
                )
        reasons = reasons_of(row, store, names[row.chrom])
        counts.rows += 1
        counts.alleles += len(reasons)
        counts.reasons.update(reason for reason in reasons if reason)
        known += names[row.chrom] is not None
        if reasons[0] in _AGAINST_GENOME:
            against += 1
            example = example or f"line {row.line}: {_contradiction(row, store, names)}"
    if not counts.rows:
        raise DataError(f"{file.path}: no rows below the header; give at least one variant")
    if not known:
        raise DataError(f"{file.path}: {unknown_record(next(iter(names)), store.lengths)}")
    if against > max_mismatch * known:
        raise DataError(
            f"{file.path}: {against} of {known} rows ({against / known:.1%}) do not agree with the "
            f"genome, {max_mismatch:.1%} are allowed (the first is {example}); wrong genome build? "
            "Give the FASTA file that the variants were called on, or raise max_mismatch"
        )
    return counts


def _contradiction(row: Variant, store: GenomeStore, names: Mapping[str, str | None]) -> str:
    record = names[row.chrom] or ""
    length = store.lengths[record]
    if row.start + len(row.ref) > length:
        return f"POS is {row.start + 1} and {record} has {length} bases"
    found = bases(store, record, row.start, row.start + len(row.ref))
    return f"REF is {row.ref[:20]} and the genome has {found[:20]}"
