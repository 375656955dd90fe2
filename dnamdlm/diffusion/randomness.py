"""Counter-based random numbers: each row of a batch has a key, and each number an address.

A number is a pure function of (row key, stream, draw, index within the row). It does not depend on
the batch size, the order of the rows, the device or earlier draws, so that runs can be split,
stopped and reordered without changing a value.

Conventions: keys are 64-bit patterns held in int64; `stream` names a purpose (see `Stream`) and
`draw` counts the uses of that purpose (a step, a sample, ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, Int64
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.splitmix import INCREMENT, MULTIPLIERS, SHIFTS

_LOW_32 = 0xFFFFFFFF
_WORD = 1 << 64

_PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_PHILOX_ROUNDS = 10

Words = TypeVar("Words", Tensor, NDArray[np.int64])


@unique
class Stream(IntEnum):
    """Purposes of random numbers; one line per purpose, so that no two share their numbers."""

    TIMES = 0
    MASKS = 1
    COUNTS = 2
    REVEALS = 3
    TOKENS = 4
    CORRUPTION = 20
    CODINGS = 21
    HITS = 5
    POSITIONS = 6
    CHILDREN = 7
    LABELS = 8
    ORDERS = 9
    COMPONENTS = 10
    SLOTS = 11
    RESAMPLING = 12
    SELECTION = 13
    GUESSES = 14
    POINTERS = 15
    REPLACEMENTS = 30
    CORRECTIONS = 31
    SITES = 32


def row_keys(seed: int, index: Int[Tensor, " B"]) -> Int64[Tensor, " B"]:
    """One 64-bit key per row; for one seed, different indices never share a key.

    Args:
        seed: any integer; taken modulo 2**64.
        index: identity of each row (number of the sample or window), not its place in a batch.

    Source: splitmix64 (Steele, Lea and Flood 2014), started at the mixed seed.

    Example: row 1 has the same numbers alone as in a batch.
        >>> import torch
        >>> from dnamdlm.diffusion import RowNoise, Stream, row_keys
        >>> both = RowNoise(row_keys(7, torch.tensor([0, 1]))).uniform(Stream.TIMES, 0)
        >>> alone = RowNoise(row_keys(7, torch.tensor([1]))).uniform(Stream.TIMES, 0)
        >>> bool(both[1] == alone[0])
        True
    """
    # a number, not a tensor: sending one to a GPU would make the host wait.
    start = int(_mix(torch.tensor(_signed(seed), dtype=torch.int64)))
    return _mix(start + (index.to(torch.int64) + 1) * _signed(INCREMENT))


def child_keys(
    keys: Int64[Tensor, " B"],
    number: int | Int64[Tensor, " B"],
    stream: Stream = Stream.CHILDREN,
) -> Int64[Tensor, " B"]:
    """Keys of part `number` of each row, for a row made in parts; independent of all other keys.

    Args:
        keys: keys of the rows.
        number: number of the part, of all rows or of each, from 0; the key of part 0 differs from
            that of the row.
        stream: what the parts are: pieces of a sequence, or slots of a population.
    """
    words = [torch.zeros_like(keys) + word for word in (number & _LOW_32, number >> 32)]
    purpose = torch.full_like(keys, int(stream))
    low, high, _, _ = philox(
        (words[0], words[1], torch.zeros_like(keys), purpose),
        (keys & _LOW_32, (keys >> 32) & _LOW_32),
    )
    return (high << 32) | low


def philox(
    counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]
) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10: four random 32-bit words for a 128-bit counter and a 64-bit key.

    All arguments are int64 tensors, or arrays, that hold unsigned 32-bit words and broadcast
    together.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_PHILOX_ROUNDS):
        # int64 products wrap modulo 2**64, which keeps both 32-bit halves right. Words that are
        # only xored (c1, c3) carry extra bits in the upper half, removed after the xor.
        product_0 = c0 * _PHILOX_MULTIPLIERS[0]
        product_1 = c2 * _PHILOX_MULTIPLIERS[1]
        c0 = ((product_1 >> 32) ^ c1 ^ k0) & _LOW_32
        c2 = ((product_0 >> 32) ^ c3 ^ k1) & _LOW_32
        c1, c3 = product_1, product_0
        k0 = (k0 + _PHILOX_KEY_STEPS[0]) & _LOW_32
        k1 = (k1 + _PHILOX_KEY_STEPS[1]) & _LOW_32
    return c0, c1 & _LOW_32, c2, c3 & _LOW_32


Kernel = Callable[[Tensor, int, int, int], Tensor | None]
"""Makes (B, n) numbers from keys, stream, draw and n; None if it cannot."""


@dataclass
class _Setting:
    """What makes numbers on a GPU, changed by `make_uniforms_by` alone."""

    kernel: Kernel | None = None


_setting = _Setting()


def make_uniforms_by(kernel: Kernel | None) -> None:
    """Let a kernel make the numbers of `RowNoise` on GPUs, for the process; it must give its bits.

    Args:
        kernel: see `Kernel`; None makes them by operators of torch.
    """
    _setting.kernel = kernel


class RowNoise:
    """Uniform numbers for B rows, each addressed by (row key, stream, draw, index in the row)."""

    def __init__(self, keys: Int64[Tensor, " B"]) -> None:
        """Keep the keys, see `row_keys`."""
        self.keys = keys

    def __len__(self) -> int:
        """Number of rows."""
        return self.keys.shape[0]

    def select(self, rows: Int[Tensor, " b"] | Bool[Tensor, " B"]) -> RowNoise:
        """The noise of some rows, by index or by a boolean mask; their values do not change."""
        return RowNoise(self.keys[rows])

    def uniform(self, stream: int, draw: int, *shape: int) -> Float64[Tensor, "B ..."]:
        """Numbers of shape (B, *shape), uniform on the odd multiples of 2**-53 in (0, 1).

        Neither 0 nor 1 occurs, so both log(u) and log(1 - u) are finite. A smaller shape gives a
        prefix of a larger one (in row-major order within the row).

        Args:
            stream: purpose of the numbers, in [0, 2**32).
            draw: number of the use of this purpose, in [0, 2**64).
            shape: shape per row; empty for one number per row.

        Raises:
            ValueError: if `stream` or `draw` is out of range.
        """
        if not 0 <= stream <= _LOW_32:
            raise ValueError(f"stream must lie in [0, 2**32), got {stream}")
        if not 0 <= draw < _WORD:
            raise ValueError(f"draw must lie in [0, 2**64), got {draw}")
        count = math.prod(shape)
        if _setting.kernel is not None and self.keys.is_cuda and not torch.compiler.is_compiling():
            made = _setting.kernel(self.keys, int(stream), draw, count)
            if made is not None:
                return made.reshape(len(self), *shape)
        if _is_plain(self.keys):
            numbers = _numbers_on_cpu(self.keys, stream, draw, count)
            return numbers.reshape(len(self), *shape)
        device = self.keys.device
        block = torch.arange((count + 1) // 2, device=device)
        keys = self.keys[:, None]

        def there(word: int) -> Tensor:
            # filled there, not sent, for which the host would wait.
            return torch.full((), word, dtype=torch.int64, device=device)

        words = philox(
            (block, there(draw & _LOW_32), there(draw >> 32), there(stream)),
            (keys & _LOW_32, (keys >> 32) & _LOW_32),
        )
        # 52 bits and a half: 53 bits and a half would need 54 and could round up to exactly 1.
        pairs = [((words[i] >> 6) << 26) | (words[i + 1] >> 6) for i in (0, 2)]
        bits = torch.stack(pairs, dim=-1).flatten(1)[:, :count]
        return ((bits.to(torch.float64) + 0.5) * 2.0**-52).reshape(len(self), *shape)


def _is_plain(keys: Tensor) -> bool:
    """Whether keys lie in the memory of the CPU, and no compiler follows what is done to them."""
    return type(keys) is Tensor and keys.device.type == "cpu" and not torch.compiler.is_compiling()


def _numbers_on_cpu(
    keys: Int64[Tensor, " B"], stream: int, draw: int, count: int
) -> Float64[Tensor, "B n"]:
    """What `RowNoise.uniform` gives, by numpy: its operators on few numbers cost a third."""
    rows = keys.detach().numpy()[:, None]
    block = np.arange((count + 1) // 2)
    draws = [np.full(1, word) for word in (draw & _LOW_32, draw >> 32, int(stream))]
    words = philox((block, draws[0], draws[1], draws[2]), (rows & _LOW_32, (rows >> 32) & _LOW_32))
    numbers = np.empty((len(keys), len(block), 2))
    for i in (0, 1):
        numbers[..., i] = ((words[2 * i] >> 6) << 26) | (words[2 * i + 1] >> 6)
    numbers += 0.5
    numbers *= 2.0**-52
    wanted = numbers.reshape(len(keys), 2 * len(block))[:, :count]
    return torch.as_tensor(np.ascontiguousarray(wanted))


def _signed(value: int) -> int:
    """The int64 with the same 64-bit pattern as `value` modulo 2**64."""
    value %= _WORD
    return value - _WORD if value >= _WORD >> 1 else value


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical right shift of 64-bit patterns (int64 shifts copy the sign)."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    """The output function of splitmix64, a bijection on 64-bit patterns."""
    value = (value ^ _shift_right(value, SHIFTS[0])) * _signed(MULTIPLIERS[0])
    value = (value ^ _shift_right(value, SHIFTS[1])) * _signed(MULTIPLIERS[1])
    return value ^ _shift_right(value, SHIFTS[2])
