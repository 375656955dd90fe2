"""Requests for sequences: free ones, templates, motifs, or intervals of a genome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.sampling.generation import Template
from dnamdlm.tokens.iupac import ANY_BASE, set_table
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY
from dnamdlm.words.codes import CODE_MASK

_SETS = set_table()


@dataclass(frozen=True)
class Request:
    """One template and what of it is written.

    Attributes:
        template: what is given and what may be filled in.
        start: first position that is written.
        end: position after the last that is written.
        note: end of the header of the sequence in a file: what was asked for.
        name: of the sequence in a file; None is numbered.
        mask_id: token id of the mask.
        noise_level: for sequences that are edited: probability that a base is noised.
    """

    template: Template
    start: int
    end: int
    note: str = ""
    name: str | None = None
    mask_id: int = NUCLEOTIDE_VOCABULARY.mask_id
    noise_level: float | None = None

    @property
    def num_hidden(self) -> int:
        """Positions that are filled, or how many are expected to be noised."""
        if self.noise_level is not None:
            return round(self.noise_level * self.length)
        return int((self.template.ids == self.mask_id).sum())

    @property
    def length(self) -> int:
        """Positions that are written."""
        return self.end - self.start


def of_length(length: int, motifs: Sequence[str]) -> Request:
    """Masks, with motifs at their places.

    Args:
        length: bases.
        motifs: texts such as `TATAAA@40`: IUPAC letters and the place of the first, from 0.

    Raises:
        ConfigError: for a motif that cannot be read, does not fit or contradicts another.
    """
    sets = np.full(length, ANY_BASE, dtype=np.uint8)
    for motif in motifs:
        letters, place = _parse_motif(motif)
        if place + len(letters) > length:
            raise ConfigError(
                f"motif={motif} ends at {place + len(letters)}, but the sequence has {length} "
                "bases; give a larger length or a smaller place"
            )
        both = sets[place : place + len(letters)] & letters
        if not both.all():
            raise ConfigError(
                f"motif={motif} contradicts another motif at position "
                f"{place + int(np.argmin(both))}; move one of them"
            )
        sets[place : place + len(letters)] = both
    note = f" motif={','.join(motifs)}" if motifs else ""
    return Request(Template.of_sets(sets, NUCLEOTIDE_VOCABULARY), 0, length, note)


def check_motifs(motifs: Sequence[str], length: int | None) -> None:
    """Check motifs before the model is read; without a length, whether each can be read.

    Raises:
        ConfigError: as `of_length`.
    """
    for motif in motifs:
        _parse_motif(motif)
    if length is not None:
        of_length(length, motifs)


def of_templates(templates: Mapping[str, NDArray[np.uint8]]) -> list[Request]:
    """One request per record of a template file."""
    return [
        Request(Template.of_sets(sets, NUCLEOTIDE_VOCABULARY), 0, len(sets), f" template={name}")
        for name, sets in templates.items()
    ]


def of_strings(templates: Sequence[str]) -> list[Request]:
    """One request per template given as letters.

    Raises:
        DataError: for a letter that is not a nucleotide code, or nothing to fill.
    """
    named = {}
    for number, text in enumerate(templates, start=1):
        sets = _SETS[np.frombuffer(text.encode("utf-8"), dtype=np.uint8)]
        if not len(sets) or not sets.all():
            odd = repr(text[int(np.argmin(sets))]) if len(sets) else "no letters"
            raise DataError(
                f"template {number} holds {odd}, which is not a nucleotide code; use A, C, G, T, N "
                "and IUPAC codes"
            )
        if np.isin(sets, (1, 2, 4, 8)).all():
            raise DataError(f"template {number} has nothing to fill; write N where bases go")
        named[number] = sets
    return [
        Request(Template.of_sets(sets, NUCLEOTIDE_VOCABULARY), 0, len(sets))
        for sets in named.values()
    ]


def of_interval(
    store: GenomeStore, interval: Interval, *, window: int, flank: int, left_only: bool = False
) -> Request:
    """Hide an interval within its genomic context.

    The context is a window of the training length around the interval, or a quarter of it (and at
    least the flank) on both sides where the interval is too long for that. That of a circular
    record goes across its origin. N stays as it is.

    Args:
        store: the genome.
        interval: what is hidden and filled.
        window: bases per window in training.
        flank: bases of context on both sides that are written too.
        left_only: the model sees nothing to the right; the context is what lies to the left, as
            much as a window of the training length has, or a quarter of it, and no flank.
    """
    if left_only:
        return _after_left_context(store, interval, window)
    size = max(window, len(interval) + 2 * max(window // 4, flank))
    length = store.lengths[interval.chrom]
    middle = (interval.start + interval.end - size) // 2
    if interval.chrom in store.circular and size <= length:
        # the size leaves space for the flanks on both sides.
        start, end = middle, middle + size
    else:
        start = max(0, min(middle, length - size))
        start = min(start, max(0, interval.start - flank))
        end = min(length, max(start + size, interval.end + flank))
    codes = store.stretch(interval.chrom, start, end) & CODE_MASK
    ids = IDS_OF_CODES[codes].astype(np.uint8)
    ids[interval.start - start : interval.end - start] = NUCLEOTIDE_VOCABULARY.mask_id
    first = max(interval.start - flank, start)
    last = min(interval.end + flank, end)
    note = f" genome={store.sha256[:12]} interval={interval}"
    if flank:
        note += f" written={interval.chrom}:{first}-{last}"
    template = Template(ids, np.full(end - start, ANY_BASE, dtype=np.uint8))
    return Request(template, first - start, last - start, note, str(interval))


def _after_left_context(store: GenomeStore, interval: Interval, window: int) -> Request:
    """An interval that is hidden at the end of its context."""
    size, end = max(window, len(interval) + window // 4), interval.end
    goes_round = interval.chrom in store.circular and size <= store.lengths[interval.chrom]
    start = end - size if goes_round else max(0, end - size)
    codes = store.stretch(interval.chrom, start, end) & CODE_MASK
    ids = IDS_OF_CODES[codes].astype(np.uint8)
    ids[interval.start - start :] = NUCLEOTIDE_VOCABULARY.mask_id
    note = f" genome={store.sha256[:12]} interval={interval} context=left"
    template = Template(ids, np.full(end - start, ANY_BASE, dtype=np.uint8))
    return Request(template, interval.start - start, end - start, note, str(interval))


def without(request: Request, forbidden: str | Sequence[str]) -> Request:
    """The same request, in which no filled position becomes one of these bases.

    Args:
        request: what is filled; what it gives stays, forbidden or not.
        forbidden: IUPAC letters.

    Raises:
        ConfigError: for a letter that is none, or a position that could become nothing.
    """
    text = "".join(forbidden)
    sets = _SETS[np.frombuffer(text.encode("utf-8"), dtype=np.uint8)]
    if not sets.all():
        raise ConfigError(
            f"forbid={text[int(np.argmin(sets))]} is not a nucleotide code; use A, C, G, T and "
            "IUPAC codes"
        )
    bits = int(np.bitwise_or.reduce(sets, initial=0))
    template = request.template
    if template.sets is None:
        return request
    hidden = template.ids == NUCLEOTIDE_VOCABULARY.mask_id
    allowed = np.where(hidden, template.sets & (ANY_BASE ^ bits), template.sets)
    if not allowed.all():
        raise ConfigError(
            f"forbid=[{','.join(forbidden)}] leaves no base for position "
            f"{int(np.argmin(allowed))}{request.note}; allow one of them"
        )
    return replace(
        request,
        template=Template(template.ids, allowed.astype(np.uint8)),
        note=f"{request.note} forbid={','.join(forbidden)}",
    )


def _parse_motif(motif: str) -> tuple[NDArray[np.uint8], int]:
    letters, separator, place = motif.partition("@")
    if not (letters and separator and place.isascii() and place.isdigit()):
        raise ConfigError(
            f"motif={motif} cannot be read; write letters@place, for instance TATAAA@40"
        )
    sets = _SETS[np.frombuffer(letters.encode("utf-8"), dtype=np.uint8)]
    if not sets.all():
        raise DataError(
            f"motif={motif} holds {letters[int(np.argmin(sets))]!r}, which is not a nucleotide "
            "code; use A, C, G, T and IUPAC codes"
        )
    return sets, int(place)
