"""Prepared text: token ids in memory-mapped shards, with a manifest of what made them.

A folder holds `manifest.json`, `tokenizer/` (the files of the tokenizer, if it has any) and, for
each shard, `SPLIT_00000.bin` (ids, uint16 or uint32, little-endian) and `SPLIT_00000.ends.npy`
(int64, where each document ends in the shard). Documents follow each other without gaps; where the
tokenizer has an end mark, each document ends with it.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.files import write_bytes
from dnamdlm.data.json_files import read_json_file
from dnamdlm.data.path_kinds import what_it_is
from dnamdlm.errors import DataError

FORMAT, FORMAT_VERSION = "dnamdlm.corpus", 1
MANIFEST, TOKENIZER = "manifest.json", "tokenizer"


def dtype_for(num_ids: int) -> np.dtype[Any]:
    """The narrowest of uint16 and uint32 that holds every id."""
    return np.dtype("<u2" if num_ids <= 1 << 16 else "<u4")


def write_shard(
    folder: Path, stem: str, documents: Sequence[NDArray[np.int64]], dtype: np.dtype[Any]
) -> dict[str, Any]:
    """Write the ids of documents; returns the entry of the manifest."""
    ids = np.concatenate([np.zeros(0, dtype=np.int64), *documents]).astype(dtype)
    ends = np.cumsum([len(document) for document in documents], dtype=np.int64)
    raw, packed = ids.tobytes(), io.BytesIO()
    np.save(packed, ends)
    write_bytes(folder / f"{stem}.bin", raw)
    write_bytes(folder / f"{stem}.ends.npy", packed.getvalue())
    return {
        "stem": stem,
        "num_tokens": len(ids),
        "num_documents": len(documents),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }


def is_intact(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether the files of a shard are there and hold what its entry says."""
    try:
        with (folder / f"{entry['stem']}.bin").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        read_ends(folder, entry)
    except (OSError, DataError):
        return False
    return digest == entry["sha256"]


def read_ends(folder: Path, entry: Mapping[str, Any]) -> NDArray[np.int64]:
    """Where the documents of a shard end, within it.

    Raises:
        DataError: if the file is missing or does not fit the entry.
    """
    path = folder / f"{entry['stem']}.ends.npy"
    try:
        ends: NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}); prepare the corpus again") from error
    last = int(ends[-1]) if ends.size else 0
    if (len(ends), last) != (entry["num_documents"], entry["num_tokens"]):
        raise DataError(f"{path} does not fit the manifest; prepare the corpus again")
    return ends


def read_manifest(folder: Path, download_command: str | None = None) -> dict[str, Any]:
    """The manifest of a prepared corpus.

    Args:
        folder: where it lies.
        download_command: prepares it, for the message.

    Raises:
        DataError: if it is missing, damaged or of another version.
    """
    path = folder / MANIFEST
    command = f"python -m data_prep.text files=[FILE,...] tokenizer=NAME out={folder}"
    remedy = f"prepare it with {command}"
    if download_command is not None:
        remedy = f"the config names the command that prepares it: {download_command!r}"
    try:
        manifest = read_json_file(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if folder.exists() and (found := what_it_is("data.corpus", folder, "corpus")):
            raise DataError(found) from error
        raise DataError(
            f"data.corpus={folder} is not a prepared corpus (there is no {path}); {remedy}"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); {remedy}") from error
    found = isinstance(manifest, dict) and (manifest.get("format"), manifest.get("version"))
    if found != (FORMAT, FORMAT_VERSION):
        if (kind := what_it_is("data.corpus", folder, "corpus")) is not None:
            raise DataError(kind)
        raise DataError(
            f"{path} is not the manifest of a corpus of version {FORMAT_VERSION}; {remedy}"
        )
    return manifest


@dataclass(frozen=True)
class CorpusSplit:
    """The documents of one split as one long row of ids.

    Attributes:
        folder: where the shards lie.
        entry: what the manifest says of this split.
        dtype: of the ids on disk.
    """

    folder: Path
    entry: Mapping[str, Any]
    dtype: np.dtype[Any]

    @property
    def num_tokens(self) -> int:
        """Ids in all."""
        return int(self._starts[-1])

    @property
    def num_documents(self) -> int:
        """Documents in all."""
        return sum(int(shard["num_documents"]) for shard in self.entry["shards"])

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        counts = [int(shard["num_tokens"]) for shard in self.entry["shards"]]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    @functools.cached_property
    def _shards(self) -> list[NDArray[Any]]:
        return [self._map(shard) for shard in self.entry["shards"]]

    def _map(self, shard: Mapping[str, Any]) -> NDArray[Any]:
        path, size = self.folder / f"{shard['stem']}.bin", int(shard["num_tokens"])
        try:
            found = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path} is missing; prepare the corpus again") from error
        if found != size * self.dtype.itemsize:
            raise DataError(
                f"{path} has {found:,} bytes, but the manifest says "
                f"{size * self.dtype.itemsize:,}; prepare the corpus again"
            )
        if not size:
            return np.zeros(0, dtype=self.dtype)
        return np.memmap(path, dtype=self.dtype, mode="r", shape=(size,))

    @functools.cached_property
    def document_ends(self) -> NDArray[np.int64]:
        """Where each document ends, shape (documents,)."""
        ends = [
            read_ends(self.folder, shard) + start
            for shard, start in zip(self.entry["shards"], self._starts[:-1], strict=True)
        ]
        return np.concatenate([np.zeros(0, dtype=np.int64), *ends])

    def check(self) -> None:
        """Check that all shards are there, with as many ids and documents as the manifest says.

        Raises:
            DataError: naming the first that is missing or does not fit.
        """
        _ = self._shards, self.document_ends

    def read(self, start: int, end: int) -> NDArray[np.int64]:
        """The ids at start <= i < end, copied, across shards."""
        parts: list[NDArray[Any]] = []
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < end:
            first, last = int(self._starts[shard]), int(self._starts[shard + 1])
            stop = min(end, last)
            parts.append(self._shards[shard][start - first : stop - first])
            start, shard = stop, shard + 1
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts]).astype(np.int64)
