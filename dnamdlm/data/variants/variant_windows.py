"""Windows of a genome around a variant, with the reference and with the alternative allele.

Both windows begin at the same base and have the same number of bases: after an insertion the
alternative window ends earlier in the genome, after a deletion later. So both likelihoods are over
equally many bases. Each position has an address for its noise (`slots`): bases of the genome share
theirs between the two windows, wherever they have been shifted to, and so do the bases of the
alleles, first with first; what is longer has addresses of its own.

At the ends of a record the window is shifted inwards; an insertion that finds too few bases after
it there costs the alternative window its first bases. A record shorter than the window is read
whole, and only then the two windows of an insertion or deletion may differ in length. A circular
record has no ends: it is cut open opposite the variant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NucleotideTokenizer
from dnamdlm.words.codes import CODE_MASK


@dataclass(frozen=True)
class Change:
    """The bases that differ between two alleles, after common ends are cut off.

    Attributes:
        offset: where they begin, from the first base of REF.
        ref: bases of the reference, may be empty.
        alt: bases in their place, may be empty.
    """

    offset: int
    ref: str
    alt: str

    @property
    def is_snv(self) -> bool:
        """Whether one base is exchanged."""
        return len(self.ref) == len(self.alt) == 1


def change_of(ref: str, alt: str) -> Change:
    """Cut the common end, then the common beginning."""
    end = 0
    while end < min(len(ref), len(alt)) and ref[-1 - end] == alt[-1 - end]:
        end += 1
    ref, alt = ref[: len(ref) - end], alt[: len(alt) - end]
    start = 0
    while start < min(len(ref), len(alt)) and ref[start] == alt[start]:
        start += 1
    return Change(start, ref[start:], alt[start:])


@dataclass(frozen=True)
class PairOfWindows:
    """Token ids around one allele.

    Attributes:
        reference: ids with REF, shape (R,).
        alternative: ids with ALT, shape (A,).
        slots: noise addresses of the alternative window, shape (A,); position i of the reference
            window has address i.
        site: position of the exchanged base in both windows, or -1 unless one base is exchanged.
        start: offset of the first changed base in the genome store.
    """

    reference: NDArray[np.int64]
    alternative: NDArray[np.int64]
    slots: NDArray[np.int64]
    site: int
    start: int


def windows_of_change(
    store: GenomeStore, record: str, start: int, change: Change, length: int
) -> PairOfWindows | None:
    """The two windows of an allele; None if more than half a window changes.

    Args:
        store: the genome.
        record: name of the record.
        start: first base of REF in the record.
        change: what differs.
        length: bases of a window.
    """
    removed, added = len(change.ref), len(change.alt)
    if max(removed, added) > max(1, length // 2):
        return None
    size = store.lengths[record]
    # places are counted from the first base of the record, or from opposite the variant.
    is_circular = record in store.circular
    origin = start + change.offset + removed // 2 - size // 2 if is_circular else 0
    place = start + change.offset - origin
    spare = max(0, removed - added)
    first = max(0, min(place + removed // 2 - length // 2, size - length - spare))
    last = min(size, first + length)
    reach = min(size, first + length + removed - added)
    after = place + removed
    left = _ids(store, record, origin + first, origin + place)
    right = _ids(store, record, origin + after, origin + max(after, reach))
    allele = NucleotideTokenizer().encode(change.alt)
    own = np.arange(added)
    own = np.where(own < removed, place - first + own, 2 * length + own - removed)
    alternative = np.concatenate([left, allele, right])
    slots = np.concatenate([np.arange(place - first), own, np.arange(len(right)) + after - first])
    excess = max(0, len(alternative) - length)
    return PairOfWindows(
        reference=_ids(store, record, origin + first, origin + last),
        alternative=alternative[excess:],
        slots=slots[excess:],
        site=place - first if change.is_snv else -1,
        start=store.offsets[record] + ((origin + place) % size if is_circular else place),
    )


def _ids(store: GenomeStore, record: str, start: int, end: int) -> NDArray[np.int64]:
    return IDS_OF_CODES[store.stretch(record, start, end) & CODE_MASK]
