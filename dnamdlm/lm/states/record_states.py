"""Hidden states of records of any length: per record, per bin or per base, in bounded memory.

Records longer than a window are tiled as in `state_pooling`: a base in two tiles is taken from the
one in which its shorter context is longer. Means and maxima are over A, C, G and T only, and nan
where there is none. Rows come in the order of the
records and, within one, of its bases.

Shapes: B windows, L positions, D channels, R rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.data.batch import Batch
from dnamdlm.data.tasks.sequence_inputs import TokenRows
from dnamdlm.errors import ConfigError
from dnamdlm.lm.states.heads import is_equivariant, mean_of_halves
from dnamdlm.lm.states.state_pooling import Encoder, Tile, WindowSettings, make_windows, tiles_of

RecordPooling = Literal["mean", "max", "center", "none", "bin"]


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

    def tiles(self, length: int) -> list[Tile]:
        """Windows of a record of `length` bases."""
        if self.pooling != "center":
            return tiles_of(length, self.length, self.overlap)
        center = length // 2
        start = max(0, min(center - self.length // 2, length - self.length))
        return [Tile(start, min(length, start + self.length), center, center + 1)]

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


class _Rows:
    """Gathers the bases of one record into its rows; bases come in order, in pieces."""

    def __init__(self, record: int, length: int, settings: EmbeddingSettings) -> None:
        self.record, self.length, self.settings = record, length, settings
        self.size = settings.row_size(length)
        self.open_sum: NDArray[np.float64] | None = None
        self.open_valid = 0
        self.maximum = settings.pooling == "max"

    def add(self, first: int, states: NDArray[np.float32], valid: NDArray[np.bool_]) -> Rows:
        """Rows that these bases complete."""
        if self.settings.pooling in ("none", "center"):
            start = first + np.arange(len(states))
            return self._made(start, start + 1, valid.astype(np.int64), states)
        last = first + len(states)
        cuts = np.arange(first // self.size * self.size, last, self.size)
        begins = np.maximum(cuts - first, 0)
        sums, counts = self._reduced(states, valid, begins)
        if self.open_sum is not None:
            joined = np.maximum(self.open_sum, sums[0]) if self.maximum else self.open_sum + sums[0]
            sums[0], counts[0] = joined, counts[0] + self.open_valid
        ends = np.minimum(cuts + self.size, self.length)
        done = ends <= last
        self.open_sum = None if done[-1] else sums[-1]
        self.open_valid = 0 if done[-1] else int(counts[-1])
        divisor = np.where(counts > 0, 1 if self.maximum else counts, np.nan)[:, None]
        values = np.where(np.isnan(divisor), np.nan, sums) / divisor
        return self._made(cuts[done], ends[done], counts[done], values[done].astype(np.float32))

    def _reduced(
        self, states: NDArray[np.float32], valid: NDArray[np.bool_], begins: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        counts = np.add.reduceat(valid.astype(np.int64), begins)
        if self.maximum:
            shown = np.where(valid[:, None], states, -np.inf).astype(np.float64)
            return np.maximum.reduceat(shown, begins, axis=0), counts
        shown = np.where(valid[:, None], states, 0.0).astype(np.float64)
        return np.add.reduceat(shown, begins, axis=0), counts

    def _made(
        self,
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        counts: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> Rows:
        return Rows(np.full(len(start), self.record), start, end, counts, values)


def embed_records(
    reader: StateReader,
    records: TokenRows,
    settings: EmbeddingSettings,
    *,
    tokens_at_once: int = 4096,
    device: torch.device | str = "cpu",
) -> Iterator[Rows]:
    """Rows of all records in order, one call of the network at a time.

    Args:
        reader: gives the hidden states of a model.
        records: token ids of each record; they are fetched one after the other.
        settings: how they are pooled.
        tokens_at_once: bound on the tokens of a call, which bounds the memory.
        device: where the model is.
    """
    pieces = _pieces(records, settings)
    gathered: dict[int, _Rows] = {}
    at_once = max(1, tokens_at_once // settings.length)
    while chosen := list(islice(pieces, at_once)):
        windows = make_windows(
            [ids for _, _, ids, _ in chosen],
            reader.encoder.vocabulary,
            WindowSettings(settings.length),
        )
        with torch.inference_mode():
            states = reader(windows.batch.to(device)).cpu().numpy()
        valid = windows.batch.valid.numpy()
        for (record, tile, _, length), values, real in zip(chosen, states, valid, strict=True):
            rows = gathered.setdefault(record, _Rows(record, length, settings))
            inside = slice(tile.first - tile.start, tile.last - tile.start)
            yield rows.add(tile.first, values[inside], real[inside])
            if tile.last == length or settings.pooling == "center":
                del gathered[record]


def _pieces(
    records: TokenRows, settings: EmbeddingSettings
) -> Iterator[tuple[int, Tile, NDArray[np.integer], int]]:
    for index in range(len(records)):
        ids = records[index]
        for tile in settings.tiles(len(ids)):
            yield index, tile, ids[tile.start : tile.end], len(ids)


def count_rows(lengths: Sequence[int], settings: EmbeddingSettings) -> int:
    """Rows of the table of records with these lengths."""
    return sum(settings.num_rows(length) for length in lengths)
