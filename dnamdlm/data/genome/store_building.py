"""Building the files of a genome store in one pass over a FASTA or .2bit file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.files import sync_to_disk
from dnamdlm.data.genome.fasta import FastaChunk, FastaReader
from dnamdlm.data.genome.twobit import TwoBitReader, is_twobit
from dnamdlm.errors import DataError
from dnamdlm.words.codes import CODE_MASK, N_CODE, SOFT_MASK

FORMAT_VERSION = 1
CODES, N_RUNS, MANIFEST = "codes.bin", "n_runs.npy", "manifest.json"
# records of a few bases are handled together, since each step has a cost of its own.
_BASES_TOGETHER = 1 << 16
_log = logging.getLogger(__name__)


def build_store(
    fasta: Path, folder: Path, expected_sha256: str | None, policy: Mapping[str, Any]
) -> str:
    """Write the files of a store in one pass over its source.

    Args:
        fasta: a FASTA or .2bit file.
        folder: empty, and not yet where stores are looked for.
        expected_sha256: hash that the file had before, or None.
        policy: `iupac` and `rna`, as `prepare_genome` has them.

    Returns:
        The SHA-256 of the source.

    Raises:
        DataError: if the file has a fault, all bases are N, or it has changed.
    """
    source_hash = hashlib.sha256()
    reader = (
        TwoBitReader(fasta, on_raw=source_hash.update)
        if is_twobit(fasta)
        else FastaReader(fasta, on_raw=source_hash.update, **policy)
    )
    totals, n_runs = _write_codes(folder / CODES, reader)
    source_sha256 = source_hash.hexdigest()
    if expected_sha256 not in (None, source_sha256):
        raise changed(fasta)
    if totals["num_n"] == totals["num_bases"]:
        raise DataError(
            f"{fasta}: all {totals['num_bases']} bases are N; a genome with A, C, G and T is needed"
        )
    for clause in reader.counts.irregularities():
        _log.warning("%s: %s", fasta, clause)
    with (folder / N_RUNS).open("wb") as out:
        np.save(out, n_runs)
    lengths = reader.counts.lengths
    starts = np.cumsum([0, *lengths.values()]).tolist()
    manifest = {
        "format_version": FORMAT_VERSION,
        "sha256": totals["sha256"],
        "source": {"name": fasta.name, "bytes": fasta.stat().st_size, "sha256": source_sha256},
        "policy": dict(policy),
        "records": [
            {"name": name, "length": length, "offset": start}
            for (name, length), start in zip(lengths.items(), starts, strict=False)
        ],
        "empty_records": reader.counts.empty_records,
        "num_bases": totals["num_bases"],
        "num_n": totals["num_n"],
        "n_run_count": len(n_runs),
        "num_iupac": dict(sorted(reader.counts.iupac.items())),
        "num_soft_masked": totals["num_soft_masked"],
    }
    # indented JSON is written by Python code, which takes seconds for many records.
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    for name in (CODES, N_RUNS, MANIFEST):
        sync_to_disk(folder / name)
    sync_to_disk(folder)
    return source_sha256


def _write_codes(
    path: Path, reader: FastaReader | TwoBitReader
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Write all bases; gives their hash and counts, and the runs of N, shape (runs, 2)."""
    content_hash, runs = hashlib.sha256(), _RunCollector()
    soft_masked = position = 0
    with path.open("wb") as out:
        for codes in _together(reader):
            out.write(codes.data)
            content_hash.update(codes.data)
            runs.add(position, (codes & CODE_MASK) == N_CODE)
            soft_masked += int(np.count_nonzero(codes & SOFT_MASK))
            position += codes.size
    n_runs = runs.finish()
    totals = {
        "sha256": content_hash.hexdigest(),
        "num_bases": position,
        "num_n": int((n_runs[:, 1] - n_runs[:, 0]).sum()),
        "num_soft_masked": soft_masked,
    }
    return totals, n_runs


def _together(chunks: Iterable[FastaChunk]) -> Iterator[NDArray[np.uint8]]:
    """The codes of all chunks in order, those of short chunks joined."""
    held: list[NDArray[np.uint8]] = []
    num_bases = 0
    for chunk in chunks:
        if held and num_bases + chunk.codes.size > _BASES_TOGETHER:
            yield np.concatenate(held)
            held, num_bases = [], 0
        if chunk.codes.size >= _BASES_TOGETHER:
            yield chunk.codes
        else:
            held.append(chunk.codes)
            num_bases += chunk.codes.size
    if held:
        yield np.concatenate(held)


class _RunCollector:
    """Gathers runs of True from consecutive pieces of a mask; runs may cross pieces."""

    def __init__(self) -> None:
        self._edges: list[NDArray[np.int64]] = []
        self._is_open = False
        self._position = 0

    def add(self, position: int, mask: NDArray[np.bool_]) -> None:
        self._position = position + mask.size
        if not self._is_open and not mask.any():
            return
        previous = np.empty_like(mask)
        previous[0], previous[1:] = self._is_open, mask[:-1]
        self._edges.append(np.flatnonzero(mask != previous) + position)
        self._is_open = bool(mask[-1])

    def finish(self) -> NDArray[np.int64]:
        edges = [*self._edges, np.array([self._position] * self._is_open, dtype=np.int64)]
        return np.concatenate(edges).astype(np.int64).reshape(-1, 2)


def changed(fasta: Path) -> DataError:
    """The error for a file that another process writes."""
    return DataError(f"{fasta}: the file changed while it was read; try again")
