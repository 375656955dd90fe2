"""Where the rows of a VCF file lie in a genome, and why an allele cannot be scored.

A row that cannot be scored keeps its place and gets a reason per allele, one of `REASONS`. More
than a given share of rows that contradict the genome means another genome build, which is an error.
Only rows count that could be scored: with an allele of letters, on a record of the genome.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dnamdlm.data.genome.intervals import Interval, unknown_record
from dnamdlm.data.genome.regions import record_of_region, region_in_name, region_text
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.variants.repeated_rows import RepeatedRows
from dnamdlm.data.variants.variant_sources import VariantSource
from dnamdlm.data.variants.vcf import Variant, has_letters, is_symbolic
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import BASE_CODES
from dnamdlm.words.codes import CODE_MASK

# what says that the file belongs to another genome.
_AGAINST_GENOME = ("ref_mismatch", "past_end")
_LETTERS = np.frombuffer(BASE_CODES, dtype=np.uint8)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where rows lie in a genome.

    Attributes:
        store: the genome.
        match_names: take 20 and chr20 for the same record, and so MT, M and chrM.
        region: the part of a chromosome that the genome holds; None: its records are whole.

    Raises:
        DataError: if no record of the genome can be the region.
    """

    store: GenomeStore
    match_names: bool = False
    region: Interval | None = None

    def __post_init__(self) -> None:
        if self.region is not None:
            record_of_region(self.store, self.region)

    def record(self, chrom: str) -> str | None:
        """The record of the genome that a name in a VCF file means, or None."""
        if self.region is None:
            if chrom in self.store.lengths:
                return chrom
            return record_of(chrom, self.store.lengths, match_names=self.match_names)
        known = {self.region.chrom: 0}
        if record_of(chrom, known, match_names=self.match_names) is None:
            return None
        return record_of_region(self.store, self.region)

    def start(self, variant: Variant) -> int:
        """First base of REF in its record, which may lie outside of a region."""
        return variant.start - (0 if self.region is None else self.region.start)

    def reasons(self, variant: Variant) -> tuple[str | None, ...]:
        """Why each allele of a row cannot be scored, None where it can; codes of `REASONS`."""
        whole = self._reason_of_row(variant)
        return tuple(whole or _reason_of_allele(variant.ref, alt) for alt in variant.alts)

    def _reason_of_row(self, variant: Variant) -> str | None:
        if variant.fault is not None:
            return "malformed"
        record = self.record(variant.chrom)
        if record is None:
            return "unknown_record"
        if variant.start < 0:
            return "position_zero"
        return self._reason_of_place(variant, record)

    def _reason_of_place(self, variant: Variant, record: str) -> str | None:
        start, size = self.start(variant), self.store.lengths[record]
        end = start + len(variant.ref)
        if self.region is not None and not 0 <= start < end <= size:
            return "outside_region"
        if start == size and (set(variant.ref) == {"N"} or not any(map(has_letters, variant.alts))):
            return "telomere_end"
        if start >= size or (end > size and record not in self.store.circular):
            return "past_end"
        return _reason_of_ref(variant.ref, bases(self.store, record, start, end))


def _reason_of_ref(ref: str, found: str) -> str | None:
    if not set(ref) <= set("ACGT"):
        return "ambiguous"
    if found == ref:
        return None
    agrees = all(x in (y, "N") for x, y in zip(found, ref, strict=True))
    return "genome_n" if agrees else "ref_mismatch"


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


def _reason_of_allele(ref: str, alt: str) -> str | None:
    kinds = {".": "no_alt", "*": "star"}
    if alt in kinds:
        return kinds[alt]
    if has_letters(alt):
        if not set(alt) <= set("ACGT"):
            return "ambiguous"
        return "same_as_ref" if alt == ref else None
    return "symbolic" if is_symbolic(alt) else "breakend"


def bases(store: GenomeStore, record: str, start: int, end: int) -> str:
    """Letters of a stretch of a genome, upper case; the caller has checked the ends."""
    codes = store.stretch(record, start, end) & CODE_MASK
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
    file: VariantSource, places: Places, *, max_mismatch: float = 0.01
) -> VariantCounts:
    """Read the whole file and compare it with the genome, before anything is computed.

    A file without rows is as good as any. How many rows are not VCF, and how many repeat
    an allele of a row before them, is logged with the first.

    Args:
        file: the variants.
        places: where they lie.
        max_mismatch: largest share of the rows that could be scored which may contradict the
            genome.

    Raises:
        DataError: if no row is VCF, no row lies in the genome, its names are of another
            convention, or the genome is of another build.
    """
    counts = VariantCounts()
    known = compared = against = malformed = 0
    example = fault = ""
    names: dict[str, str | None] = {}
    repeated = RepeatedRows()
    for row in file.rows():
        reasons = places.reasons(row)
        counts.rows += 1
        counts.alleles += len(reasons)
        counts.reasons.update(reason for reason in reasons if reason)
        if row.fault is not None:
            malformed += 1
            fault = fault or f"{file.unit} {row.line}: {row.fault}"
            continue
        repeated.add(row)
        if row.chrom not in names:
            names[row.chrom] = places.record(row.chrom)
            _refuse_other_names(file, row, places)
        if names[row.chrom] is None or "outside_region" in reasons:
            continue
        known += 1
        # an allele without a reason has letters.
        if row.start < 0 or (None not in reasons and not any(map(has_letters, row.alts))):
            continue
        compared += 1
        if reasons[0] in _AGAINST_GENOME:
            against += 1
            example = example or f"{file.unit} {row.line}: {_contradiction(row, places)}"
    if malformed and malformed == counts.rows:
        raise DataError(f"{file.path}, {fault}")
    if counts.rows and not known:
        raise DataError(f"{file.path}: {_elsewhere(next(iter(names)), names, places)}")
    if against > max_mismatch * compared:
        raise DataError(
            f"{file.path}: {against} of {compared} rows ({against / compared:.1%}) do not agree "
            f"with the genome, {max_mismatch:.1%} are allowed (the first is {example}); wrong "
            "genome build? Give the FASTA file that the variants were called on, or raise "
            "max_mismatch"
        )
    if malformed:
        _log.warning(
            "%s: %d of %d rows are not VCF and get the reason malformed (the first is %s)",
            file.path, malformed, counts.rows, fault,
        )  # fmt: skip
    if repeated.number:
        _log.warning(
            "%s: %d of %d rows repeat an allele of a row before them (the first is %s %d); each is "
            "scored, and a figure over the table counts it twice: remove them if that is not meant",
            file.path, repeated.number, counts.rows, file.unit, repeated.first,
        )  # fmt: skip
    return counts


def _refuse_other_names(file: VariantSource, row: Variant, places: Places) -> None:
    """Refuse a name that only differs from that of a record by its convention."""
    if places.record(row.chrom) is not None:
        return
    other = Places(places.store, match_names=True, region=places.region)
    if other.record(row.chrom) is not None:
        known = places.store.lengths if places.region is None else [places.region.chrom]
        raise DataError(
            f"{file.path}, {file.unit} {row.line}: {unknown_record(row.chrom, known)}, or set "
            "match_names=true"
        )


def _elsewhere(name: str, names: Mapping[str, str | None], places: Places) -> str:
    """Why no row lies in the genome."""
    if places.region is not None:
        return (
            f"no row lies within region={region_text(places.region)}; give the region that the "
            "FASTA file holds, in the coordinates of the variants"
        )
    for chrom in names:
        if (region := region_in_name(chrom, places.store)) is not None:
            return (
                f"record {chrom!r} is not in the genome, but {region!r} is; set region={region} if "
                "the FASTA file holds that region"
            )
    return unknown_record(name, places.store.lengths)


def _contradiction(row: Variant, places: Places) -> str:
    record = places.record(row.chrom) or ""
    length, start = places.store.lengths[record], places.start(row)
    crosses = start + len(row.ref) > length
    if start >= length or (crosses and record not in places.store.circular):
        return f"POS is {row.start + 1} and {record} has {length} bases"
    found = bases(places.store, record, start, start + len(row.ref))
    return f"REF is {row.ref[:20]} and the genome has {found[:20]}"
