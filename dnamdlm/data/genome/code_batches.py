"""Bytes of a genome store as a batch of token ids.

Shapes: B windows, L positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import Batch
from dnamdlm.tokens.nucleotide import COMPLEMENT_OF_CODES, IDS_OF_CODES, NUCLEOTIDE_VOCABULARY
from dnamdlm.words.codes import CODE_MASK, N_CODE, SOFT_MASK

PADDING_CODE = 5
"""Stands where a window reaches past the end of its interval."""


def batch_of_codes(
    codes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    keys: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    size: int,
    weight: torch.Tensor | None = None,
    label: NDArray[Any] | None = None,
) -> Batch:
    """Rows of store bytes as a batch.

    Args:
        codes: bytes of the store, 5 at padding; shape (B, L).
        starts: store offset of each row.
        keys: noise key of each row.
        rows: place of each row in the global batch.
        size: rows of the global batch.
        weight: training weights, or None.
        label: class or numbers of each row, or None.
    """
    plain = codes & CODE_MASK
    return Batch(
        tokens=torch.from_numpy(translate(plain, _IDS)).long(),
        present=torch.from_numpy(plain != PADDING_CODE),
        valid=torch.from_numpy(plain < N_CODE),
        weight=weight,
        key=torch.from_numpy(keys),
        row=torch.from_numpy(rows),
        global_size=size,
        start=torch.from_numpy(starts),
        label=None if label is None else torch.from_numpy(label),
    )


def gather(
    codes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    length: int,
    *,
    sizes: NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """Windows copied out of a store, shape (B, length); 5 stands after the first `sizes` bases."""
    if sizes is None or (sizes == length).all():
        return np.lib.stride_tricks.sliding_window_view(codes, length)[starts]
    windows = np.full((len(starts), length), PADDING_CODE, dtype=np.uint8)
    for window, start, size in zip(windows, starts.tolist(), sizes.tolist(), strict=True):
        window[:size] = codes[start : start + size]
    return windows


def reverse_complement(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Windows as the other strand reads them, soft mask included, shape (B, L)."""
    return translate(codes[:, ::-1], _COMPLEMENT)


def weight_of(codes: NDArray[np.uint8], soft_mask_weight: float) -> torch.Tensor:
    """Training weight of each position: less than 1 where the genome is soft-masked."""
    return torch.where(torch.from_numpy(codes >= SOFT_MASK), soft_mask_weight, 1.0)


def translate(codes: NDArray[np.uint8], table: bytes) -> NDArray[np.uint8]:
    """The codes, each replaced by its entry in a table of 256 bytes."""
    # bytes.translate is several times faster than indexing a numpy table with bytes.
    return np.frombuffer(bytearray(codes.tobytes()).translate(table), np.uint8).reshape(codes.shape)


def _complement_table() -> bytes:
    table = np.arange(256, dtype=np.uint8)
    table[: len(COMPLEMENT_OF_CODES)] = COMPLEMENT_OF_CODES
    table[SOFT_MASK : SOFT_MASK + len(COMPLEMENT_OF_CODES)] = COMPLEMENT_OF_CODES | SOFT_MASK
    return table.tobytes()


def _id_table() -> bytes:
    table = np.full(256, NUCLEOTIDE_VOCABULARY.pad_id, dtype=np.uint8)
    table[: len(IDS_OF_CODES)] = IDS_OF_CODES
    return table.tobytes()


_COMPLEMENT = _complement_table()
_IDS = _id_table()
