"""Fitting a Markov chain to the splits of a genome, and keeping it in a checkpoint folder.

The file holds the training sequence, two bits a base, and the pseudo-counts. The words are counted
again when it is opened: 3 MB for yeast, where the counts would take 700 MB.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import CheckpointError, DataError
from dnamdlm.lm.contexts import chunks_with_context
from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.markov_chain import ChainFit, MarkovChain, chain_orders, fit_chain

CHAIN_FILE = "markov_chain.safetensors"
"""Name of the file of a chain in a checkpoint folder."""

_FORMAT = {"format": "dnamdlm.markov_chain", "format_version": "1"}


def fit_markov_chain(
    store: GenomeStore,
    train: Sequence[Interval],
    valid: Sequence[Interval],
    orders: Sequence[int] | None = None,
) -> ChainFit:
    """Fit a chain on both strands of `train`; choose its pseudo-counts on `valid`.

    With orders 0 to 10 its model is that of `fit_markov` with smoothing "interpolated".

    Args:
        store: genome store.
        train: intervals of the training split.
        valid: intervals of the validation split, whose first bases have the context before them.
        orders: increasing from 0, at most 24; None is `chain_orders(20)`.

    Raises:
        DataError: if a split has no A, C, G or T, or the words would not fit memory.
    """
    orders = chain_orders(20) if orders is None else orders
    codes, _ = joined_codes(store, train)
    valid_codes, is_scored = joined_codes(store, valid, context=max(orders))
    for split, found in (("training", codes), ("validation", valid_codes[is_scored])):
        if not (found & CODE_MASK < N_CODE).any():
            raise DataError(
                f"the {split} split holds no A, C, G or T; choose intervals with sequence"
            )
    return fit_chain(codes, valid_codes, is_scored, orders)


def joined_codes(
    store: GenomeStore, intervals: Iterable[Interval], *, context: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The bases of intervals in one array, with an N between them.

    Args:
        store: genome store.
        intervals: disjoint intervals.
        context: bases before each interval that are put before it, as far as the chromosome goes.

    Returns:
        uint8 (n,) without soft mask, and bool (n,), False at context and between intervals.
    """
    gap, not_scored = np.full(1, N_CODE, np.uint8), np.zeros(1, np.bool_)
    codes, scored = [np.zeros(0, np.uint8)], [np.zeros(0, np.bool_)]
    for interval in intervals:
        chunks = chunks_with_context(store, interval, context, beyond_interval=True)
        for number, (part, before) in enumerate(chunks):
            # the context of a later chunk of an interval is there already.
            new = part[before:] if number else part
            codes.append(new & CODE_MASK)
            scored.append(np.arange(len(new)) >= (0 if number else before))
        codes.append(gap)
        scored.append(not_scored)
    return np.concatenate(codes), np.concatenate(scored)


def save_chain(path: Path, chain: MarkovChain) -> None:
    """Write a chain to a file, for instance as a writer of `checkpoint.write_folder`."""
    is_base = (chain.codes & CODE_MASK) < N_CODE
    edges = np.flatnonzero(np.diff(is_base, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    digits = chain.codes[is_base] & 3
    digits = np.concatenate([digits, np.zeros(-len(digits) % 4, np.uint8)]).reshape(-1, 4)
    packed = digits @ np.array([64, 16, 4, 1], np.uint8)
    metadata = {
        **_FORMAT,
        "orders": json.dumps(chain.orders),
        "pseudo_counts": json.dumps(chain.pseudo_counts),
    }
    save_file({"bases": packed, "runs": runs.astype(np.int64)}, path, metadata)


def load_chain(path: Path) -> MarkovChain:
    """Read a chain, and count its words again.

    Raises:
        CheckpointError: if the file is missing, damaged or of another format.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            packed, runs = file.get_tensor("bases"), file.get_tensor("runs")
        if {key: metadata.get(key) for key in _FORMAT} != _FORMAT:
            raise CheckpointError(f"{path}: not a Markov chain of version 1; save it again")
        orders, pseudo_counts = (
            tuple(json.loads(metadata[key])) for key in ("orders", "pseudo_counts")
        )
        return MarkovChain.of_codes(_unpacked(packed, runs), orders, pseudo_counts)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not a readable Markov chain; save it again") from error


def _unpacked(packed: NDArray[np.uint8], runs: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Codes with an N after each run of bases."""
    if packed.dtype != np.uint8 or runs.dtype != np.int64 or (runs < 1).any():
        raise ValueError("runs of bases must be positive integers")
    num_bases = int(runs.sum())
    if -(-num_bases // 4) != len(packed):
        raise ValueError("the runs are not those of the bases")
    digits = (packed[:, None] >> np.array([6, 4, 2, 0], np.uint8)) & 3
    codes = np.full(num_bases + len(runs), N_CODE, np.uint8)
    is_base = np.ones(len(codes), np.bool_)
    is_base[np.cumsum(runs + 1) - 1] = False
    codes[is_base] = digits.reshape(-1)[:num_bases]
    return codes
