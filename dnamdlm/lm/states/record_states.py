"""Hidden states of records of any length: per record, per bin or per base, in bounded memory.

Records longer than a window are tiled as in `state_pooling`: a base in two tiles is taken from the
one in which its shorter context is longer. Means and maxima are over A, C, G and T only, and nan
where there is none. Rows come in the order of the
records and, within one, of its bases.

Shapes: B windows, L positions, D channels, R rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.states.heads import is_equivariant, mean_of_halves
from dnamdlm.lm.states.state_pooling import Encoder, Tile, Tiling, WindowSettings, make_windows

RecordPooling = Literal["mean", "max", "center", "none", "bin"]


@runtime_checkable
class IdRow(Protocol):
    """Token ids of one record, of which a stretch is fetched at a time; an array will do."""

    def __len__(self) -> int: ...

    def __getitem__(self, stretch: slice, /) -> Any: ...


@runtime_checkable
class IdRows(Protocol):
    """Anything with a length that gives one record by its number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> IdRow: ...


class StateReader:
    """Last hidden states with the strands joined: one vector of D channels per base.

    The hidden states of an equivariant network, or of one that is averaged over both strands, have
    one half for each strand; here each base has the mean of both.
    """

    def __init__(self, encoder: Encoder) -> None:
        """Wrap a language model in evaluation mode."""
        self.encoder = encoder
        self.averaged = isinstance(getattr(encoder, "backbone", None), StrandAverage)

    def __call__(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """Hidden states in float32."""
        states = self.encoder.hidden(batch).float()
        if is_equivariant(self.encoder):
            return mean_of_halves(states)
        if self.averaged:
            ahead, back = states.chunk(2, dim=-1)
            return (ahead + back) / 2
        return states

    @torch.inference_mode()
    def width(self, device: torch.device | str) -> int:
        """D, the number of channels."""
        real = np.array([self.encoder.vocabulary.real_ids[0]] * 4)
        batch = make_windows([real], self.encoder.vocabulary, WindowSettings(len(real))).batch
        return self(batch.to(device)).shape[-1]


@dataclass(frozen=True)
class EmbeddingSettings:
    """How hidden states are pooled.

    Attributes:
        pooling: `mean` or `max` of a record, the state at its `center` (base length // 2), `none`
            for every base, `bin` for the mean of every `bin_size` bases.
        length: bases of a window.
        bin_size: bases of a bin; the last bin of a record may be shorter.
        overlap: least share of a window that neighbouring tiles have in common.
    """

    pooling: str
    length: int
    bin_size: int = 128
    overlap: float = 0.25

    def __post_init__(self) -> None:
        """Check the values."""
        if self.pooling not in get_args(RecordPooling):
            raise ConfigError(
                f"pooling={self.pooling} is unknown; choose {', '.join(get_args(RecordPooling))}"
            )
        for key, value in (("length", self.length), ("bin_size", self.bin_size)):
            if value < 1:
                raise ConfigError(f"{key}={value} must be at least 1")
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap={self.overlap} must be at least 0 and below 1")

    def tiles(self, length: int, *, circular: bool = False) -> Tiling | tuple[Tile]:
        """Windows of a record of `length` bases; if it is circular, they go across its origin."""
        if self.pooling != "center":
            margin = round(self.length * self.overlap) // 2 if circular else 0
            return Tiling(length, self.length, self.overlap, margin if length > self.length else 0)
        center = length // 2
        start = max(0, min(center - self.length // 2, length - self.length))
        return (Tile(start, min(length, start + self.length), center, center + 1),)

    def row_size(self, length: int) -> int:
        """Bases that one row of a record covers."""
        return {"none": 1, "bin": self.bin_size}.get(self.pooling, length)

    def num_rows(self, length: int) -> int:
        """Rows of a record of `length` bases."""
        return -(-length // self.row_size(length))


@dataclass(frozen=True)
class Rows:
    """R rows of a table of embeddings.

    Attributes:
        record: number of the record of each row, (R,).
        start: first base behind each row, (R,).
        end: base after the last one, (R,).
        num_valid: A, C, G, T among them, (R,).
        values: (R, D).
    """

    record: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    num_valid: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        """R, the number of rows."""
        return len(self.record)


@dataclass(frozen=True)
class Piece:
    """A tile of a record, which is a window of a call.

    Attributes:
        record: number of the record.
        length: bases of the record.
        tile: which of them are read, and which counted.
    """

    record: int
    length: int
    tile: Tile


@dataclass(frozen=True)
class Part:
    """What a piece adds to the rows that it touches, R of them.

    Attributes:
        piece: where the bases come from.
        values: sums or maxima over the A, C, G, T behind each row, or one state per row, (R, D).
        counts: A, C, G, T among them, (R,).
    """

    piece: Piece
    values: NDArray[np.float64] | NDArray[np.float32]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """The pieces of records in order, `size` at a time.

    Attributes:
        lengths: bases of each record.
        settings: how the records are read.
        size: pieces that are given together; at the end there may be fewer.
        circular: numbers of the records whose windows go across the origin.
    """

    lengths: Sequence[int]
    settings: EmbeddingSettings
    size: int
    circular: frozenset[int] = frozenset()

    def __len__(self) -> int:
        """How often pieces are given."""
        number = sum(len(self._tiles(*item)) for item in enumerate(self.lengths))
        return math.ceil(number / self.size)

    def _tiles(self, record: int, length: int) -> Tiling | tuple[Tile]:
        return self.settings.tiles(length, circular=record in self.circular)

    def __iter__(self) -> Iterator[list[Piece]]:
        pieces = (
            Piece(record, length, tile)
            for record, length in enumerate(self.lengths)
            for tile in self._tiles(record, length)
        )
        while chosen := list(islice(pieces, self.size)):
            yield chosen


class PartReader:
    """Reads pieces of records with a network, `at_once` in each call.

    Attributes:
        at_once: pieces per call.
    """

    def __init__(
        self,
        reader: StateReader,
        records: IdRows,
        settings: EmbeddingSettings,
        *,
        tokens_at_once: int = 4096,
        device: torch.device | str = "cpu",
    ) -> None:
        """Take what `embed_records` takes."""
        self.reader, self.records, self.settings = reader, records, settings
        self.device = device
        self.at_once = max(1, tokens_at_once // settings.length)

    def read(self, pieces: Sequence[Piece]) -> Iterator[Part]:
        """The parts of these pieces; which of them share a call depends on their order alone."""
        for first in range(0, len(pieces), self.at_once):
            yield from self._called(pieces[first : first + self.at_once])

    def _called(self, pieces: Sequence[Piece]) -> Iterator[Part]:
        windows = make_windows(
            [self.records[piece.record][piece.tile.start : piece.tile.end] for piece in pieces],
            self.reader.encoder.vocabulary,
            WindowSettings(self.settings.length),
        )
        with torch.inference_mode():
            states = self.reader(windows.batch.to(self.device)).cpu().numpy()
        valid = windows.batch.valid.numpy()
        for piece, values, real in zip(pieces, states, valid, strict=True):
            tile = piece.tile
            inside = slice(tile.first - tile.start, tile.last - tile.start)
            yield self._reduced(piece, values[inside], real[inside])

    def _reduced(self, piece: Piece, states: NDArray[np.float32], valid: NDArray[np.bool_]) -> Part:
        if self.settings.pooling in ("none", "center"):
            return Part(piece, states, valid.astype(np.int64))
        first = piece.tile.first
        begins = np.maximum(_first_bases(piece, self.settings) - first, 0)
        counts = np.add.reduceat(valid.astype(np.int64), begins)
        if self.settings.pooling == "max":
            shown = np.where(valid[:, None], states, -np.inf).astype(np.float64)
            return Part(piece, np.maximum.reduceat(shown, begins, axis=0), counts)
        shown = np.where(valid[:, None], states, 0.0).astype(np.float64)
        return Part(piece, np.add.reduceat(shown, begins, axis=0), counts)


def _first_bases(piece: Piece, settings: EmbeddingSettings) -> NDArray[np.int64]:
    """First bases of the rows of a record that a piece touches, (R,)."""
    size = settings.row_size(piece.length)
    return np.arange(piece.tile.first // size * size, piece.tile.last, size)


def rows_of(parts: Iterable[Part], settings: EmbeddingSettings) -> Iterator[Rows]:
    """The rows that each part completes; the parts of a record come in order."""
    open_sum: NDArray[np.float64] | None = None
    open_valid = 0
    maximum = settings.pooling == "max"
    for part in parts:
        piece, values, counts = part.piece, part.values, part.counts.copy()
        if settings.pooling in ("none", "center"):
            start = piece.tile.first + np.arange(len(values))
            yield _made(piece, start, start + 1, counts, values)
            continue
        sums = values.copy()
        if open_sum is not None:
            sums[0] = np.maximum(open_sum, sums[0]) if maximum else open_sum + sums[0]
            counts[0] += open_valid
        cuts = _first_bases(piece, settings)
        ends = np.minimum(cuts + settings.row_size(piece.length), piece.length)
        done = ends <= piece.tile.last
        open_sum = None if done[-1] else sums[-1]
        open_valid = 0 if done[-1] else int(counts[-1])
        divisor = np.where(counts > 0, 1 if maximum else counts, np.nan)[:, None]
        means = np.where(np.isnan(divisor), np.nan, sums) / divisor
        yield _made(piece, cuts[done], ends[done], counts[done], means[done])


def _made(
    piece: Piece,
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    counts: NDArray[np.int64],
    values: NDArray[np.floating],
) -> Rows:
    record = np.full(len(start), piece.record)
    return Rows(record, start, end, counts, values.astype(np.float32, copy=False))


def embed_records(
    reader: StateReader,
    records: IdRows,
    settings: EmbeddingSettings,
    *,
    tokens_at_once: int = 4096,
    device: torch.device | str = "cpu",
) -> Iterator[Rows]:
    """Rows of all records in order, one call of the network at a time.

    Args:
        reader: gives the hidden states of a model.
        records: token ids of each record, which are fetched window by window.
        settings: how they are pooled.
        tokens_at_once: bound on the tokens of a call, which bounds the memory.
        device: where the model is.
    """
    lengths = [len(records[index]) for index in range(len(records))]
    parts = PartReader(reader, records, settings, tokens_at_once=tokens_at_once, device=device)
    calls = Pieces(lengths, settings, parts.at_once)
    return rows_of(chain.from_iterable(map(parts.read, calls)), settings)


def count_rows(lengths: Sequence[int], settings: EmbeddingSettings) -> int:
    """Rows of the table of records with these lengths."""
    return sum(settings.num_rows(length) for length in lengths)
