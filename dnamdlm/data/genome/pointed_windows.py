"""Windows of a genome together with what the training split has at the place they point to.

The training split of one genome is indexed once. A window points to its best alignment there, on
either strand, never to a place that it overlaps itself (`words.pointers`); the bases of that place
travel in `Batch.aligned`. What is drawn for a training row depends on its noise key alone.

Shapes: B windows, L positions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep, TrainingRows
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY
from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.pointers import PointerIndex, Pointers
from dnamdlm.words.sorted_words import MAX_BASES

NO_TEMPLATE = NUCLEOTIDE_VOCABULARY.mask_id
"""Id in `Batch.aligned` of a row that points nowhere."""

_WINDOWS_AT_ONCE = 1024
_CODES_OF_IDS = np.full(len(NUCLEOTIDE_VOCABULARY), N_CODE, np.uint8)
_CODES_OF_IDS[IDS_OF_CODES] = np.arange(len(IDS_OF_CODES))


@dataclass(frozen=True)
class PointedGenome:
    """The training split that windows point into.

    Attributes:
        index: of its bases, in the order of the genome, N between intervals.
        digest: SHA-256 of these bases, 32 bytes.
    """

    index: PointerIndex
    digest: bytes
    _spans: NDArray[np.int64]
    _places: NDArray[np.int64]
    _records: NDArray[np.int64]

    @classmethod
    def of_split(
        cls, store: GenomeStore, intervals: Sequence[Interval], word_length: int | None
    ) -> PointedGenome:
        """Index a training split.

        Args:
            store: the genome.
            intervals: disjoint intervals of the split.
            word_length: bases that a window must share with its template in a row; None for a
                genome in which windows are not looked for.

        Raises:
            DataError: if the split is empty or too large for memory.
        """
        num_bases = sum(map(len, intervals))
        if not 0 < num_bases <= MAX_BASES:
            raise DataError(
                f"pointers need a training split of 1 to {MAX_BASES:,} bases, and this one has "
                f"{num_bases:,}; choose another split, or copying=none in training"
            )
        spans = np.array(sorted(store.span(interval) for interval in intervals), dtype=np.int64)
        places = np.cumsum([0, *(spans[:-1, 1] - spans[:-1, 0] + 1)])
        codes = np.full(int(places[-1] + spans[-1, 1] - spans[-1, 0]), N_CODE, np.uint8)
        for (first, end), place in zip(spans, places, strict=True):
            codes[place : place + end - first] = store.codes[first:end] & CODE_MASK
        sizes = store.lengths.items()
        records = [(store.offsets[name], store.offsets[name] + size) for name, size in sizes]
        digest = hashlib.sha256(codes.tobytes()).digest()
        if word_length is None:
            index = PointerIndex.without_words(codes)
        else:
            index = PointerIndex.of_codes(codes, word_length)
        return cls(index, digest, spans, places, np.array(records, dtype=np.int64))

    @property
    def log_uniform(self) -> float:
        """Log-probability of each address: a uniform choice among all, on both strands."""
        return -math.log(self.index.num_addresses)

    def own_spans(self, starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """The places that windows take up in the training split, int64 (B, 2, 2).

        The second span is that after the origin of a circular record.

        Args:
            starts: store offset of each window.
            length: bases of a window.
        """
        at = np.searchsorted(self._records[:, 0], starts, side="right") - 1
        first, end = self._records[at].T
        beyond = np.maximum(starts + length - end, 0)
        spans = [[starts, starts + length - beyond], [first, first + beyond]]
        return np.moveaxis(self._place(np.array(spans)), -1, 0)

    def _place(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of each store offset; between intervals the end of the one before."""
        at = np.searchsorted(self._spans[:, 0], offsets, side="right") - 1
        first, end = self._spans[np.maximum(at, 0)].T
        inside = np.clip(offsets - first.T, 0, (end - first).T)
        return np.where(at < 0, 0, self._places[np.maximum(at, 0)] + inside)

    def drawn(self, noise: RowNoise, *, pi: float) -> NDArray[np.int64]:
        """A random address for each row with probability `pi`, all being equally likely; else -1.

        Args:
            noise: of the rows.
            pi: probability of an address.
        """
        is_pointed = noise.uniform(Stream.POINTERS, 0).cpu().numpy() < pi
        place = noise.uniform(Stream.POINTERS, 1).cpu().numpy()
        addresses = (place * self.index.num_addresses).astype(np.int64)
        return np.where(is_pointed, addresses, -1)

    def pointers(self, batch: Batch) -> Pointers:
        """Where the windows of a batch point to, their own places and overlaps left out."""
        codes = _CODES_OF_IDS[batch.tokens.numpy()]
        if batch.start is None:
            return self.index.find(codes)
        return self.index.find(codes, self.own_spans(batch.start.numpy(), batch.length))

    def templates(self, addresses: NDArray[np.int64], length: int) -> Int[Tensor, "B L"]:
        """Ids of the templates at some addresses; at -1 `NO_TEMPLATE` throughout."""
        found = addresses >= 0
        codes = self.index.templates(np.where(found, addresses, 0), length)
        ids = np.where(found[:, None], IDS_OF_CODES[codes], NO_TEMPLATE)
        return torch.from_numpy(ids)


@dataclass(frozen=True)
class PointedRows(TrainingRows):
    """Training rows, some of them with a template.

    Attributes:
        rows: the rows without.
        genome: what they point into.
        share: probability of a template for a window that points anywhere.
        substitutions: the share of the bases of a template that are replaced at random is uniform
            between 0 and this, so that a network learns how far to believe one.
    """

    rows: TrainingRows
    genome: PointedGenome
    share: float
    substitutions: float

    def at(self, positions: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> Batch:
        """The rows at consecutive positions, see `TrainingRows`."""
        batch = self.rows.at(positions, rows, size)
        assert batch.start is not None, "windows of a genome have places"
        noise = RowNoise(batch.key)
        wanted = noise.uniform(Stream.POINTERS, 0).numpy() < self.share
        spans = self.genome.own_spans(batch.start.numpy(), batch.length)
        wanted &= self.genome.index.has_repeats(spans).any(axis=1)
        addresses = np.full(len(batch), -1, np.int64)
        if (chosen := np.flatnonzero(wanted)).size:
            some = batch.rows(torch.from_numpy(chosen))
            addresses[chosen] = self.genome.pointers(some).addresses
        ids = self.genome.templates(addresses, batch.length)
        return replace(batch, aligned=substituted(ids, noise, largest_rate=self.substitutions))


def substituted(
    ids: Int[Tensor, "B L"], noise: RowNoise, *, largest_rate: float
) -> Int[Tensor, "B L"]:
    """Templates in some of which bases are replaced by one of the other three.

    Args:
        ids: of templates; what is not a base stays.
        noise: of the rows.
        largest_rate: the rate of a row is uniform between 0 and this.
    """
    length = ids.shape[1]
    rate = noise.uniform(Stream.POINTERS, 1)[:, None] * largest_rate
    is_replaced = noise.uniform(Stream.POINTERS, 2, length) < rate
    step = 1 + (noise.uniform(Stream.POINTERS, 3, length) * 3).long()
    bases = torch.tensor(NUCLEOTIDE_VOCABULARY.real_ids)
    first = int(bases[0])
    is_base = (ids >= first) & (ids < first + len(bases))
    return torch.where(is_replaced & is_base, first + (ids - first + step) % len(bases), ids)


@dataclass(frozen=True)
class PointedWindows:
    """Those windows of a split that point into the training split.

    Attributes:
        windows: all windows of the split.
        genome: what they point into.
        items: int64 (W,), numbers of the windows that point.
        starts: int64 (W,), their store offsets.
        pointers: where they point to, of these windows alone.
    """

    windows: SplitWindows
    genome: PointedGenome
    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    pointers: Pointers

    @classmethod
    def of_sweep(cls, sweep: Sweep[SplitWindows], genome: PointedGenome) -> PointedWindows:
        """The windows of a sweep that point.

        Raises:
            DataError: if there is none.
        """
        (part,) = sweep.parts
        items, starts, found = [], [], []
        for first in range(0, part.count, _WINDOWS_AT_ONCE):
            ordinals = np.arange(first, min(first + _WINDOWS_AT_ONCE, part.count))
            own = ordinals * len(part.windows) // part.count
            batch = part.windows.batch(own, own, own, len(own))
            pointers = genome.pointers(batch)
            assert batch.start is not None
            items.append(own[pointers.found])
            starts.append(batch.start.numpy()[pointers.found])
            found.append(pointers)
        has = [pointers.found for pointers in found]
        chosen = [
            np.concatenate([getattr(p, name)[h] for p, h in zip(found, has, strict=True)])
            for name in ("addresses", "matches", "copies")
        ]
        if not len(chosen[0]):
            raise DataError(
                f"no window shares {genome.index.seeds.length} bases with the training split, so "
                "that nothing can be copied; leave pointer=true out"
            )
        return cls(
            part.windows, genome, np.concatenate(items), np.concatenate(starts), Pointers(*chosen)
        )

    @property
    def length(self) -> int:
        """Positions per window."""
        return self.windows.length

    def __len__(self) -> int:
        return len(self.items)

    def batch(
        self,
        items: NDArray[np.int64],
        keys: NDArray[np.int64],
        rows: NDArray[np.int64],
        size: int,
    ) -> Batch:
        """Some of the windows with their templates, see `dnamdlm.data.stream.Windows`."""
        batch = self.windows.batch(self.items[items], keys, rows, size)
        ids = self.genome.templates(self.pointers.addresses[items], self.length)
        return replace(batch, aligned=ids)
