"""The endless order of training samples: a pure function of (seed, position).

Position p belongs to epoch p // n. Within an epoch a keyed permutation of 0 ... n - 1 gives the
item: a Feistel network over the next power of two, walked until the value is below n. There is no
state and no table, so that any position is found in constant time and memory, on any rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import DataError
from dnamdlm.splitmix import INCREMENT, MULTIPLIERS
from dnamdlm.words.hashes import splitmix64

_PLANNED_AT_ONCE, _BLOCKS_REMEMBERED = 4096, 8
_Arrays = TypeVar("_Arrays", bound=tuple[NDArray[Any], ...])

_WORD = (1 << 64) - 1
_ONE, _HALF_WORD, _WORD_BITS = np.uint64(1), np.uint64(32), np.uint64(64)
_FIRST_FACTOR, _SECOND_FACTOR = map(np.uint64, MULTIPLIERS)
# eight rounds, in pairs, each with a key of its own.
_ROUND_KEYS = tuple(
    (np.uint64(2 * i * INCREMENT & _WORD), np.uint64((2 * i + 1) * INCREMENT & _WORD))
    for i in range(4)
)


@dataclass(frozen=True)
class SampleOrder:
    """A new permutation of `num_items` items in every epoch, and random numbers per position.

    Source: Feistel permutation with cycle walking, Black and Rogaway 2002 ("Ciphers with
    arbitrary finite domains"); the round function is the
    multiply-shift half of splitmix64.
    """

    num_items: int
    seed: int

    def __post_init__(self) -> None:
        if self.num_items < 1:
            raise DataError(f"an order needs at least 1 item, got {self.num_items}")

    def indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Item at each position (positions are endless, from 0)."""
        positions = np.asarray(positions, dtype=np.int64)
        epochs = (positions // self.num_items).astype(np.uint64)
        values = (positions % self.num_items).astype(np.uint64)
        if self.num_items == 1:
            return values.astype(np.int64)
        num_bits = max(2, (self.num_items - 1).bit_length())
        keys = splitmix64(epochs + np.uint64(_mix_int(self.seed)))
        permuted = _feistel(values, keys, num_bits)
        walking = np.flatnonzero(permuted >= self.num_items)
        while walking.size:
            permuted[walking] = _feistel(permuted[walking], keys[walking], num_bits)
            walking = walking[permuted[walking] >= self.num_items]
        return permuted.astype(np.int64)

    def uniforms(self, positions: NDArray[np.int64], stream: int) -> NDArray[np.float64]:
        """One number in [0, 1) per position; different `stream` numbers are independent."""
        base = np.uint64(_mix_int(_mix_int(self.seed) ^ (stream + 1)))
        places = np.asarray(positions, dtype=np.int64).astype(np.uint64)
        words = splitmix64(splitmix64(places) ^ base)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(
        self, positions: NDArray[np.int64], stream: int, high: NDArray[np.int64] | int
    ) -> NDArray[np.int64]:
        """One whole number in [0, high) per position."""
        return np.floor(self.uniforms(positions, stream) * high).astype(np.int64)


def in_blocks(
    plan: Callable[[NDArray[np.int64]], _Arrays],
    positions: NDArray[np.int64],
    remembered: dict[int, _Arrays],
) -> _Arrays:
    """What `plan` says about consecutive positions, computed for whole blocks of positions.

    That costs far less per position than asking batch by batch, and the block in use is kept.

    Args:
        plan: arrays with one entry per position, a function of each position alone.
        positions: consecutive positions.
        remembered: blocks by number, owned by the caller.
    """
    first, last = int(positions[0]), int(positions[-1])
    numbers = range(first // _PLANNED_AT_ONCE, last // _PLANNED_AT_ONCE + 1)
    blocks: list[_Arrays] = []
    for number in numbers:
        block = remembered.get(number)
        if block is None:
            block = plan(np.arange(_PLANNED_AT_ONCE) + number * _PLANNED_AT_ONCE)
            if len(remembered) >= _BLOCKS_REMEMBERED:
                remembered.clear()
            remembered[number] = block
        blocks.append(block)
    begin = first - numbers[0] * _PLANNED_AT_ONCE
    chosen = slice(begin, begin + len(positions))
    joined = tuple(np.concatenate(parts)[chosen] for parts in zip(*blocks, strict=True))
    return cast("_Arrays", joined)


def _feistel(
    values: NDArray[np.uint64], keys: NDArray[np.uint64], num_bits: int
) -> NDArray[np.uint64]:
    """A keyed permutation of `num_bits`-bit words; the halves may differ in size by one bit."""
    low_bits = np.uint64(num_bits // 2)
    high_bits = np.uint64(num_bits) - low_bits
    high, low = values >> low_bits, values & ((_ONE << low_bits) - _ONE)
    for first_key, second_key in _ROUND_KEYS:
        high ^= _round(low, keys + first_key, high_bits)
        low ^= _round(high, keys + second_key, low_bits)
    return (high << low_bits) | low


def _round(
    half: NDArray[np.uint64], keys: NDArray[np.uint64], num_bits: np.uint64
) -> NDArray[np.uint64]:
    # a product's high bits depend on all its input bits, so they are the ones that are kept.
    words = (half + keys) * _FIRST_FACTOR
    words ^= words >> _HALF_WORD
    words *= _SECOND_FACTOR
    return words >> (_WORD_BITS - num_bits)


def _mix_int(value: int) -> int:
    return int(splitmix64(np.array([value & _WORD], dtype=np.uint64))[0])
