"""Log-probabilities of the four letters at each base of intervals, window by window.

Every stride-th base of a window is hidden at a time, so that each base is predicted once from
nearly all of its neighbours. Windows overlap by half, and each base is taken from the one where it
has more context.

Shapes: n bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.worker_process import Advance
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.tasks.sequence_inputs import IntervalIds
from dnamdlm.evaluation.likelihood.locus_bits import surrounded_log_probs
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.record_states import EmbeddingSettings, Piece
from dnamdlm.lm.states.state_pooling import WindowSettings, make_windows
from dnamdlm.words.codes import CODE_MASK

OVERLAP = 0.5


@dataclass(frozen=True)
class ReadBases:
    """Consecutive bases of a record.

    Attributes:
        record: its number in the genome.
        start: position of the first base.
        codes: store codes without the soft mask, (n,).
        log_probs: of A, C, G, T, nats, float32 (n, 4).
    """

    record: int
    start: int
    codes: NDArray[np.uint8]
    log_probs: NDArray[np.float32]


@dataclass(frozen=True)
class ReadIntervals:
    """What is read.

    Attributes:
        store: the genome.
        intervals: disjoint, in the order of the genome.
        length: bases of a window.
        stride: every stride-th base is hidden at a time.
        at_once: windows of a call.
    """

    store: GenomeStore
    intervals: tuple[Interval, ...]
    length: int
    stride: int
    at_once: int

    @property
    def windows(self) -> EmbeddingSettings:
        """How an interval is cut into windows."""
        return EmbeddingSettings("none", self.length, overlap=OVERLAP)

    @property
    def circular(self) -> frozenset[int]:
        """Numbers of the intervals that are a whole circular record."""
        return frozenset(
            number
            for number, where in enumerate(self.intervals)
            if where.chrom in self.store.circular and len(where) == self.store.lengths[where.chrom]
        )


class ProbabilityReader:
    """Reads pieces of intervals with a model, `at_once` in each call."""

    def __init__(self, lm: MaskedDiffusionLM, read: ReadIntervals, device: torch.device) -> None:
        """Take a model in evaluation mode on a device."""
        self.lm, self.read, self.device = lm, read, device
        self._numbers = {name: number for number, name in enumerate(read.store.lengths)}
        self._real = torch.tensor(lm.vocabulary.real_ids, device=device)

    def stretches(self, pieces: Sequence[Piece]) -> list[ReadBases]:
        """The bases that these pieces count, in order."""
        step = self.read.at_once
        return [
            found
            for first in range(0, len(pieces), step)
            for found in self._called(pieces[first : first + step])
        ]

    @torch.inference_mode()
    def _called(self, pieces: Sequence[Piece]) -> list[ReadBases]:
        read = self.read
        rows = [
            IntervalIds(read.store, read.intervals[piece.record])[piece.tile.start : piece.tile.end]
            for piece in pieces
        ]
        batch = make_windows(rows, self.lm.vocabulary, WindowSettings(read.length)).batch
        log_probs = surrounded_log_probs(self.lm, batch.to(self.device), read.stride)
        values = log_probs.index_select(2, self._real).float().cpu().numpy()
        return [self._counted(*pair) for pair in zip(pieces, values, strict=True)]

    def _counted(self, piece: Piece, values: NDArray[np.float32]) -> ReadBases:
        tile, where = piece.tile, self.read.intervals[piece.record]
        start = where.start + tile.first
        codes = self.read.store.stretch(where.chrom, start, where.start + tile.last) & CODE_MASK
        inside = values[tile.first - tile.start : tile.last - tile.start]
        return ReadBases(self._numbers[where.chrom], start, codes, inside)


@dataclass(frozen=True)
class ProbabilityTask:
    """Reading pieces in several processes.

    Attributes:
        source: where each process finds the model.
        strands: which strands it reads.
        read: what is read; of the genome only the folder travels.
    """

    source: ModelSource
    strands: Strands
    read: ReadIntervals

    def open(self) -> ProbabilityReader:
        """What reads pieces."""
        loaded = self.source.open()
        lm = with_strands(loaded.language_model, self.strands)
        assert isinstance(lm, MaskedDiffusionLM)
        return ProbabilityReader(lm, self.read, loaded.device)

    def work(
        self, context: ProbabilityReader, item: list[Piece], advance: Advance
    ) -> list[ReadBases]:
        """The bases of these pieces."""
        del advance
        return context.stretches(item)
