"""From sequences of any length to one vector each: windows, tiles, and means of hidden states.

A sequence that is longer than the window is read in overlapping tiles; every base then counts once,
in the tile in which the shorter of its two contexts is longest.

Shapes: B sequences, W windows, L positions of a window, D channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.data.batch import Batch, batch_of_ids
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.vocabulary import Vocabulary

LongSequences = Literal["tile", "cut", "refuse"]
Pooling = Literal["mean", "mean_padded", "first"]


@runtime_checkable
class Encoder(Protocol, metaclass=ByAttributes):
    """A model with hidden states."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        ...

    def hidden(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """Last hidden states of clean sequences."""
        ...


@runtime_checkable
class SoftEncoder(Encoder, Protocol):
    """A model whose hidden states can be differentiated by its tokens."""

    def hidden(
        self, batch: Batch, *, soft: Float[Tensor, "B L V"] | None = None
    ) -> Float[Tensor, "B L D"]:
        """Last hidden states of clean sequences.

        Args:
            batch: the sequences.
            soft: None, or a distribution over ids that replaces the tokens as the input; one-hot at
                the tokens changes nothing.
        """
        ...


@dataclass(frozen=True)
class WindowSettings:
    """How sequences become windows.

    Attributes:
        length: tokens of a window at most.
        long: `tile` reads longer sequences in overlapping windows, `cut` keeps their first
            `length` tokens, `refuse` is an error.
        pooling: `mean` over the sequence alone; `mean_padded` fills every window to `length` from
            the left with padding that is attended and counted, as published for Caduceus; `first`
            is the state of the first token alone, as published for BERT.
        overlap: share of a window that neighbouring tiles have in common at least.
    """

    length: int
    long: str = "tile"
    pooling: str = "mean"
    overlap: float = 0.25

    def __post_init__(self) -> None:
        for key, allowed in (("long", get_args(LongSequences)), ("pooling", get_args(Pooling))):
            if getattr(self, key) not in allowed:
                raise ConfigError(
                    f"{key}={getattr(self, key)} is unknown; choose {', '.join(allowed)}"
                )
        if self.length < 1:
            raise ConfigError(f"max_length={self.length} must be at least 1")


@dataclass(frozen=True)
class Tile:
    """Tokens `start` <= i < `end` of a sequence, of which `first` <= i < `last` are counted."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Tiling:
    """Windows that cover a sequence, as few as the overlap allows and evenly spread.

    They are computed one by one, since a chromosome has millions.

    Attributes:
        length: tokens of the sequence.
        window: tokens of a window.
        overlap: least share of a window that neighbours have in common.
        margin: tokens before the sequence and after it that are read too, and not counted.

    >>> [(tile.start, tile.end, tile.first, tile.last) for tile in Tiling(20, 10, 0.25)]
    [(0, 10, 0, 7), (5, 15, 7, 12), (10, 20, 12, 20)]
    """

    length: int
    window: int
    overlap: float
    margin: int = 0

    @property
    def _read(self) -> int:
        """Tokens that are read."""
        return self.length + 2 * self.margin

    def __len__(self) -> int:
        """Number of windows."""
        if self._read <= self.window:
            return 1
        stride = max(1, round(self.window * (1 - self.overlap)))
        return -(-(self._read - self.window) // stride) + 1

    def __iter__(self) -> Iterator[Tile]:
        count, begin = len(self), -self.margin
        start, end, edge = begin, begin + min(self.window, self._read), 0
        for number in range(1, count):
            following = begin + round(number * (self._read - self.window) / (count - 1))
            # neighbours meet in the middle of what they share.
            next_edge = (start + self.window + following) // 2
            yield Tile(start, end, edge, next_edge)
            start, end, edge = following, following + self.window, next_edge
        yield Tile(start, end, edge, self.length)


@dataclass(frozen=True)
class Windows:
    """Windows of B sequences as the network reads them.

    Attributes:
        batch: W windows.
        owner: sequence of each window.
        counted: positions that enter the mean.
        num_sequences: B.
    """

    batch: Batch
    owner: Int[Tensor, " W"]
    counted: Bool[Tensor, "W L"]
    num_sequences: int

    def to(self, device: torch.device | str) -> Windows:
        """The same windows on another device."""
        return Windows(
            self.batch.to(device),
            self.owner.to(device),
            self.counted.to(device),
            self.num_sequences,
        )


def make_windows(
    sequences: Sequence[NDArray[np.integer]], vocabulary: Vocabulary, settings: WindowSettings
) -> Windows:
    """Cut and pad B sequences.

    Raises:
        DataError: for a sequence that is empty, or too long where that is refused.
    """
    pieces = tiles_of([len(sequence) for sequence in sequences], settings)
    padded = settings.pooling == "mean_padded"
    width = settings.length if padded else max(tile.end - tile.start for _, tile in pieces)
    counted = np.zeros((len(pieces), width), dtype=bool)
    for index, (_, tile) in enumerate(pieces):
        shift = width - (tile.end - tile.start) if padded else 0
        last = 1 - tile.start if settings.pooling == "first" else tile.last - tile.start
        counted[index, shift + tile.first - tile.start : shift + max(last, 0)] = True
    batch = batch_of_ids(
        [sequences[row][tile.start : tile.end] for row, tile in pieces],
        vocabulary,
        length=width,
        pad_left=padded,
    )
    if padded:
        counted[:] = True
        batch = replace(batch, present=torch.ones_like(batch.present), full=True)
    owner = torch.tensor([row for row, _ in pieces])
    return Windows(batch, owner, torch.from_numpy(counted), len(sequences))


def tiles_of(lengths: Sequence[int], settings: WindowSettings) -> list[tuple[int, Tile]]:
    """The tile of each window, with the number of its sequence.

    Args:
        lengths: tokens of each sequence.
        settings: how they become windows.

    Raises:
        DataError: for a sequence that is empty, or too long where that is refused.
    """
    pieces: list[tuple[int, Tile]] = []
    for row, given in enumerate(lengths):
        if not given:
            raise DataError("a sequence is empty; give at least one base")
        if given > settings.length and settings.long == "refuse":
            raise too_long(given, settings.length)
        length = min(given, settings.length) if settings.long == "cut" else given
        pieces += [(row, tile) for tile in Tiling(length, settings.length, settings.overlap)]
    return pieces


def too_long(length: int, limit: int) -> DataError:
    """The error for a sequence that the settings do not allow."""
    return DataError(
        f"a sequence has {length} bases and a window holds {limit}; set max_length={length}, or "
        "long=tile to read it in overlapping windows, or long=cut to drop its end"
    )


def mean_of_states(states: Float[Tensor, "W L D"], windows: Windows) -> Float[Tensor, "B D"]:
    """Mean over the counted positions of each sequence, in float32 or wider."""
    weights = windows.counted[..., None].to(states.dtype)
    sums = (states * weights).sum(dim=1)
    sums = sums.to(torch.promote_types(sums.dtype, torch.float32))
    totals = windows.counted.sum(dim=1).to(sums.dtype)
    pooled = sums.new_zeros(windows.num_sequences, sums.shape[-1])
    pooled = pooled.index_add(0, windows.owner, sums)
    counts = totals.new_zeros(windows.num_sequences).index_add(0, windows.owner, totals)
    return pooled / counts[:, None].clamp(min=1)


def pooled_states(
    encoder: Encoder,
    sequences: Iterable[NDArray[np.integer]],
    settings: WindowSettings,
    *,
    tokens_at_once: int = 4096,
    device: torch.device | str = "cpu",
) -> Iterator[NDArray[np.float32]]:
    """Mean hidden states of a stream of sequences, (b, D) at a time, in the order of the stream.

    Args:
        encoder: the language model, in evaluation mode.
        sequences: token ids of each sequence.
        settings: how they become windows.
        tokens_at_once: bound on the tokens of one call, which bounds the memory.
        device: where the encoder is.
    """
    waiting: list[NDArray[np.integer]] = []
    longest = 0

    def flush() -> NDArray[np.float32]:
        windows = make_windows(waiting, encoder.vocabulary, settings).to(device)
        with torch.inference_mode():
            states = encoder.hidden(windows.batch).float()
            return mean_of_states(states, windows).cpu().numpy()

    for sequence in sequences:
        grown = max(longest, len(sequence))
        if waiting and grown * (len(waiting) + 1) > tokens_at_once:
            yield flush()
            waiting, grown = [], len(sequence)
        waiting.append(sequence)
        longest = grown
    if waiting:
        yield flush()
