"""Division of a genome into train, valid and test, with overlap made impossible.

Whole records are preferred; a genome that cannot be divided near the wanted fractions (a single
record, or a few very unequal ones) is cut by position. Coordinates are 0-based and half-open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter

from dnamdlm.data.genome.intervals import BedTable, Interval, check_inside, unknown_record
from dnamdlm.errors import DataError

SPLIT_NAMES = ("train", "valid", "test")
EXPANDED_BASES = 1 << 20
# sorts as the intervals themselves do, without a call of Python for each comparison.
_PLACE = attrgetter("chrom", "start", "end", "strand")
_NEAR = 2.0  # a held-out part may be off its wanted size by this factor before records are cut


@dataclass(frozen=True)
class Splits:
    """Disjoint, sorted, merged intervals per split, and the rule that made them.

    Raises:
        DataError: if two splits share a base; the message names both intervals.
    """

    train: tuple[Interval, ...]
    valid: tuple[Interval, ...]
    test: tuple[Interval, ...]
    rule: str

    def __post_init__(self) -> None:
        for name in SPLIT_NAMES:
            object.__setattr__(self, name, merge(self[name]))
        for first, second in combinations(SPLIT_NAMES, 2):
            if pair := first_overlap(self[first], self[second]):
                raise DataError(
                    f"the splits overlap: {pair[0]} is in {first} and {pair[1]} in {second}; "
                    "every base may belong to one split only"
                )
        if not self.train:
            raise DataError("no interval is left for training; hold out fewer records or bases")

    def __getitem__(self, name: str) -> tuple[Interval, ...]:
        if name not in SPLIT_NAMES:
            raise DataError(f"split must be one of {', '.join(SPLIT_NAMES)}, got {name!r}")
        intervals: tuple[Interval, ...] = getattr(self, name)
        return intervals

    def num_bases(self, name: str) -> int:
        """Bases in one split, N included."""
        return sum(len(interval) for interval in self[name])


def merge(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """Sorted union of intervals; overlapping and touching ones become one, strands are dropped."""
    merged: list[Interval] = []
    for item in sorted(intervals, key=_PLACE):
        if merged and merged[-1].chrom == item.chrom and item.start <= merged[-1].end:
            last = merged.pop()
            merged.append(Interval(item.chrom, last.start, max(last.end, item.end)))
        elif item.strand == ".":
            merged.append(item)
        else:
            merged.append(Interval(item.chrom, item.start, item.end))
    return tuple(merged)


def first_overlap(
    first: Sequence[Interval], second: Sequence[Interval]
) -> tuple[Interval, Interval] | None:
    """A pair of intervals, one of each sorted list without overlaps, that share a base."""
    a = b = 0
    while a < len(first) and b < len(second):
        if first[a].overlaps(second[b]):
            return first[a], second[b]
        if (first[a].chrom, first[a].end) <= (second[b].chrom, second[b].end):
            a += 1
        else:
            b += 1
    return None


def split_by_records(
    lengths: Mapping[str, int],
    *,
    train: Sequence[str] | None,
    valid: Sequence[str] | None,
    test: Sequence[str] | None,
) -> Splits:
    """Whole records by name; `train` None takes every record that is named nowhere else.

    Raises:
        DataError: for an unknown record, or one that is named twice.
    """
    held_out = {*(valid or ()), *(test or ())}
    if train is None:
        train = [name for name in lengths if name not in held_out]
    chosen = {"train": train, "valid": valid or (), "test": test or ()}
    seen: dict[str, str] = {}
    for split, names in chosen.items():
        for name in names:
            if name not in lengths:
                raise DataError(f"data.{split}: {unknown_record(name, lengths)}")
            if name in seen:
                raise DataError(
                    f"record {name!r} is named in data.{seen[name]} and data.{split}; "
                    "name it once only"
                )
            seen[name] = split
    if not train:
        raise DataError("data.train is empty; leave at least one record for training")
    whole = {
        split: tuple(Interval(name, 0, lengths[name]) for name in names)
        for split, names in chosen.items()
    }
    return Splits(**whole, rule="records")


def split_by_fractions(
    lengths: Mapping[str, int],
    *,
    valid_fraction: float,
    test_fraction: float,
    margin: int = 0,
    circular: Collection[str] = (),
) -> Splits:
    """Whole records near the wanted fractions if that is possible, else `split_by_region`.

    Test takes its records first, then valid; in each, records are tried from long to short and
    taken while they fit. The result depends on names and lengths only.
    """
    total = sum(lengths.values())
    remaining = sorted(lengths, key=lambda name: (-lengths[name], name))
    held_out: dict[str, list[str]] = {}
    for split, fraction in (("test", test_fraction), ("valid", valid_fraction)):
        wanted = fraction * total
        names = _fill(remaining, lengths, wanted)
        size = sum(lengths[name] for name in names)
        if wanted > 0 and not wanted / _NEAR <= size <= wanted * _NEAR:
            return split_by_region(
                lengths,
                valid_fraction=valid_fraction,
                test_fraction=test_fraction,
                margin=margin,
                circular=circular,
            )
        taken = set(names)
        remaining = [name for name in remaining if name not in taken]
        held_out[split] = names
    train_wanted = (1 - valid_fraction - test_fraction) * total
    if sum(lengths[name] for name in remaining) * _NEAR < train_wanted or not remaining:
        return split_by_region(
            lengths,
            valid_fraction=valid_fraction,
            test_fraction=test_fraction,
            margin=margin,
            circular=circular,
        )
    by_name = split_by_records(lengths, train=None, valid=held_out["valid"], test=held_out["test"])
    rule = f"records near fractions (valid {valid_fraction:g}, test {test_fraction:g})"
    return Splits(by_name.train, by_name.valid, by_name.test, rule=rule)


def split_by_region(
    lengths: Mapping[str, int],
    *,
    valid_fraction: float,
    test_fraction: float,
    margin: int = 0,
    circular: Collection[str] = (),
) -> Splits:
    """Cut the records, laid end to end, into train, then valid, then test.

    Args:
        lengths: bases of each record, in file order.
        valid_fraction: share of all bases.
        test_fraction: share of all bases.
        margin: bases left out after each cut that falls inside a record.
        circular: names of circular records; of one that is cut the origin is a cut too.

    Raises:
        DataError: if a part is wanted and would be empty.
    """
    total = sum(lengths.values())
    first_cut = total - round(total * test_fraction) - round(total * valid_fraction)
    cuts = (0, first_cut, total - round(total * test_fraction), total)
    parts: dict[str, list[Interval]] = {name: [] for name in SPLIT_NAMES}
    for split, low, high in zip(SPLIT_NAMES, cuts[:-1], cuts[1:], strict=True):
        offset = 0
        for name, length in lengths.items():
            start, end = max(low - offset, 0), min(high - offset, length)
            if start > 0 or (name in circular and end < length):
                start += margin
            if start < end:
                parts[split].append(Interval(name, start, end))
            offset += length
        if high > low and not parts[split]:
            raise DataError(
                f"data.margin={margin} leaves nothing of the {split} split of {high - low} bp; "
                "use a smaller margin or a larger fraction"
            )
    rule = f"regions (valid {valid_fraction:g}, test {test_fraction:g}, margin {margin} bp)"
    return Splits(tuple(parts["train"]), tuple(parts["valid"]), tuple(parts["test"]), rule=rule)


def split_by_bed(table: BedTable, lengths: Mapping[str, int]) -> Splits:
    """Splits named in the fourth column of a BED file: train, valid or test.

    Raises:
        DataError: for another name, a missing column, or splits that overlap.
    """
    parts: dict[str, list[Interval]] = {name: [] for name in SPLIT_NAMES}
    for interval, name, line in zip(table.intervals, table.names, table.lines, strict=True):
        if name not in parts:
            found = "no fourth column" if name is None else f"{name!r} in the fourth column"
            raise DataError(
                f"line {line} of the BED file has {found}; train, valid or test is needed there"
            )
        check_inside(interval, lengths)
        parts[name].append(interval)
    return Splits(tuple(parts["train"]), tuple(parts["valid"]), tuple(parts["test"]), rule="bed")


def expand_rows(
    table: BedTable, lengths: Mapping[str, int], num_bases: int = EXPANDED_BASES
) -> dict[str, tuple[Interval, ...]]:
    """Rows of a split file that all begin as written and end `num_bases` later, per split.

    Source: `HG38Dataset` of kuleshov-group/caduceus, which ends every row 2^20 bases after its
    start, whatever split the bases there belong to. Rows end with their record at the latest; the
    original takes windows past the end of a record from its last bases, over and over. Rows may
    overlap each other, so that bases are seen as often as in the original.

    Raises:
        DataError: for a row that is longer than `num_bases`.
    """
    rows: dict[str, list[Interval]] = {name: [] for name in SPLIT_NAMES}
    for interval, name in zip(table.intervals, table.names, strict=True):
        if name in rows:
            if len(interval) > num_bases:
                raise DataError(
                    f"data.expand=true makes rows of {num_bases} bases, and {interval} has "
                    f"{len(interval)}; cut the row into shorter ones or leave data.expand out"
                )
            end = min(interval.start + num_bases, lengths[interval.chrom])
            rows[name].append(Interval(interval.chrom, interval.start, end))
    return {name: tuple(part) for name, part in rows.items()}


def shared_bases(first: Sequence[Interval], second: Sequence[Interval]) -> int:
    """Number of bases that two lists have in common; each list is merged first."""
    left, right = merge(first), merge(second)
    a = b = total = 0
    while a < len(left) and b < len(right):
        one, other = left[a], right[b]
        if one.chrom == other.chrom:
            total += max(0, min(one.end, other.end) - max(one.start, other.start))
        if (one.chrom, one.end) <= (other.chrom, other.end):
            a += 1
        else:
            b += 1
    return total


def _fill(names: Sequence[str], lengths: Mapping[str, int], wanted: float) -> list[str]:
    """Records, tried from long to short, that together come close to `wanted` bases."""
    chosen: list[str] = []
    rest: list[str] = []
    size = 0
    for name in names:
        if size + lengths[name] <= wanted:
            chosen.append(name)
            size += lengths[name]
        else:
            rest.append(name)
    # one record more, the shortest, where that comes closer than falling short does.
    if wanted > 0 and rest and abs(size + lengths[rest[-1]] - wanted) < abs(size - wanted):
        chosen.append(rest[-1])
    return chosen
