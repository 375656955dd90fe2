"""The prepared genome: one byte per base in a memory-mapped file, built once and keyed by content.

A byte holds the code in its low three bits (A 0, C 1, G 2, T 3, N 4) and the soft mask in 0x80. The
records of the file lie one after the other; an offset counts bases from the first record. A
store is built in a temporary folder next to its place, flushed, and renamed under a lock, so that a
half-written store is never seen.

A store's name comes from the hash of its file, so a file is hashed before it is read. Only a large
file that can have no store yet, since none was made from a file of its size, is hashed while it
is read; its store gets its name at the end.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.file_locks import locked
from dnamdlm.data.files import sync_to_disk
from dnamdlm.data.genome.fasta import IupacPolicy
from dnamdlm.data.genome.intervals import Interval, check_inside, unknown_record
from dnamdlm.data.genome.store_building import (
    CODES,
    FORMAT_VERSION,
    MANIFEST,
    N_RUNS,
    build_store,
    changed,
)
from dnamdlm.data.json_files import read_json_file
from dnamdlm.data.piped_files import on_disk
from dnamdlm.errors import DataError

# smaller files are hashed fast enough.
_LARGE_BYTES = 1 << 26
# the size of the source stands before the records, of which there may be many.
_MANIFEST_HEAD = 4096
_SOURCE_BYTES = re.compile(r'"source": \{[^}]*"bytes": (\d+)')
_log = logging.getLogger(__name__)


class _DamagedStore(DataError):
    """A store that `prepare_genome` should build again."""


@dataclass(frozen=True)
class GenomeStore:
    """Read access to a prepared genome. Cheap to copy to other processes: only the folder travels.

    Attributes:
        folder: where the store lies.
        lengths: bases of each record, in file order.
        offsets: first offset of each record.
        codes: one byte per base, memory-mapped, read-only; shape (total,).
        n_runs: runs of N as offsets [start, end), sorted, shape (runs, 2).
        sha256: content hash, of the bytes of all bases in file order, soft mask included.
        manifest: everything that is recorded about the store.
        circular: names of the records that are circular.
    """

    folder: Path
    lengths: Mapping[str, int]
    offsets: Mapping[str, int]
    codes: NDArray[np.uint8] = field(repr=False, compare=False)
    n_runs: NDArray[np.int64] = field(repr=False, compare=False)
    sha256: str
    manifest: Mapping[str, Any] = field(repr=False, compare=False)
    circular: frozenset[str] = frozenset()

    @classmethod
    def open(cls, folder: str | Path, circular: frozenset[str] = frozenset()) -> GenomeStore:
        """Open a prepared store.

        Args:
            folder: where it lies.
            circular: names of the records that are circular.

        Raises:
            DataError: if the folder is not a complete store of this format.
        """
        folder = Path(folder)
        try:
            manifest = read_json_file(folder / MANIFEST)
            if manifest["format_version"] != FORMAT_VERSION:
                raise _DamagedStore(
                    f"{folder}: store format {manifest['format_version']}, this version reads "
                    f"{FORMAT_VERSION}; prepare the genome again"
                )
            names = [record["name"] for record in manifest["records"]]
            sizes = [int(record["length"]) for record in manifest["records"]]
            total, sha256 = sum(sizes), str(manifest["sha256"])
            found = (folder / CODES).stat().st_size
            if not names or total != found:
                raise _DamagedStore(
                    f"{folder}: {CODES} has {found} bytes, {total} are recorded; "
                    "delete the folder and prepare the genome again"
                )
            n_runs = np.load(folder / N_RUNS, allow_pickle=False)
            if n_runs.shape != (manifest["n_run_count"], 2) or n_runs.dtype != np.int64:
                raise _DamagedStore(f"{folder}: {N_RUNS} is damaged; prepare the genome again")
            codes = np.asarray(np.memmap(folder / CODES, dtype=np.uint8, mode="r"))
        except (OSError, EOFError, KeyError, TypeError, AttributeError) as error:
            raise _DamagedStore(
                f"{folder}: not a complete genome store ({type(error).__name__}: {error}); "
                "prepare the genome again"
            ) from error
        except _DamagedStore:
            raise
        except ValueError as error:
            raise _DamagedStore(
                f"{folder}: damaged genome store ({error}); prepare the genome again"
            ) from error
        starts = np.cumsum([0, *sizes])[:-1].tolist()
        return cls(
            folder=folder,
            lengths=MappingProxyType(dict(zip(names, sizes, strict=True))),
            offsets=MappingProxyType(dict(zip(names, starts, strict=True))),
            codes=codes,
            n_runs=n_runs,
            sha256=sha256,
            manifest=MappingProxyType(manifest),
            circular=circular,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (GenomeStore.open, (self.folder, self.circular))

    def with_circular(self, names: Collection[str]) -> GenomeStore:
        """The same genome with these circular records.

        Raises:
            DataError: if it has no record of one of these names.
        """
        for name in names:
            if name not in self.lengths:
                raise DataError(f"data.circular: {unknown_record(name, self.lengths)}")
        return replace(self, circular=frozenset(names))

    @property
    def names(self) -> tuple[str, ...]:
        """Record names in file order."""
        return tuple(self.lengths)

    @property
    def num_bases(self) -> int:
        """Bases of all records, N included."""
        return self.codes.size

    def fetch(self, interval: Interval) -> NDArray[np.uint8]:
        """Bytes of an interval (code and soft mask), a read-only view of shape (length,).

        The strand is not applied.

        Raises:
            DataError: if the record is unknown or the interval ends past it.
        """
        start, end = self.span(interval)
        return self.codes[start:end]

    def stretch(self, record: str, start: int, end: int) -> NDArray[np.uint8]:
        """Bytes of positions start <= x < end of a record, shape (end - start,).

        Of a circular record positions before 0 and past the end go round; of another one they are
        a mistake of the caller.
        """
        offset, size = self.offsets[record], self.lengths[record]
        if record in self.circular and not 0 <= start <= end <= size:
            return self.codes[offset + np.arange(start, end) % size]
        assert 0 <= start <= end <= size
        return self.codes[offset + start : offset + end]

    def span(self, interval: Interval) -> tuple[int, int]:
        """Offsets [start, end) of an interval.

        Raises:
            DataError: if the record is unknown or the interval ends past it.
        """
        check_inside(interval, self.lengths)
        offset = self.offsets[interval.chrom]
        return offset + interval.start, offset + interval.end

    def count_n(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of N in each [start, end), computed from the runs without touching the bases."""
        return self._n_before(ends) - self._n_before(starts)

    def verify(self) -> None:
        """Read every base and compare with the recorded hash.

        Raises:
            DataError: if the bases differ from what was prepared.
        """
        with (self.folder / CODES).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            raise DataError(
                f"{self.folder}: the bases have changed on disk since they were prepared; "
                "delete the folder and prepare the genome again"
            )

    @functools.cached_property
    def _n_totals(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.n_runs[:, 1] - self.n_runs[:, 0])])

    def _n_before(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(self.n_runs):
            return np.zeros_like(position)
        run = np.searchsorted(self.n_runs[:, 0], position, side="right") - 1
        start, end = self.n_runs[run, 0], self.n_runs[run, 1]
        inside = np.minimum(position, end) - start
        return np.where(run < 0, 0, self._n_totals[run] + inside)


def default_cache_dir() -> Path:
    """$DNAMDLM_CACHE_DIR, else $XDG_CACHE_HOME/dnamdlm/genomes, else ~/.cache/dnamdlm/genomes."""
    if chosen := os.environ.get("DNAMDLM_CACHE_DIR"):
        return Path(chosen)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "dnamdlm" / "genomes"
    return Path.home() / ".cache" / "dnamdlm" / "genomes"


def prepare_genome(
    fasta: str | Path,
    *,
    cache_dir: str | Path | None = None,
    iupac: IupacPolicy = "n",
    rna: bool = False,
    expected_sha256: str | None = None,
) -> GenomeStore:
    """Open the store of a FASTA or .2bit file, building it on first use.

    The file is hashed at every call, so that a changed file gets a store of its own.

    Args:
        fasta: a plain, gzip or bgzip FASTA file, or a .2bit file, by its content.
        cache_dir: folder of the stores; None takes `default_cache_dir()`.
        iupac: "n" reads ambiguity codes as N, "random" as a base of their set, "error" refuses
            them.
        rna: read U as T.
        expected_sha256: hash that the file must have, in hexadecimal.

    Raises:
        DataError: if the file has a fault, all bases are N, or the cache cannot be written.
    """
    fasta = on_disk(fasta)
    cache = default_cache_dir() if cache_dir is None else Path(cache_dir)
    policy = {"iupac": iupac, "rna": rna}
    if expected_sha256 is None and _can_have_no_store(fasta, cache):
        size = fasta.stat().st_size
        with _writable(cache), locked(cache / f"new-{size}.lock"):
            # another process may have built it meanwhile.
            if _can_have_no_store(fasta, cache):
                return _build_unhashed(fasta, cache, policy)
    source_sha256 = _file_sha256(fasta)
    if expected_sha256 is not None and source_sha256 != expected_sha256:
        raise DataError(
            f"{fasta}: SHA-256 is {source_sha256[:12]}..., {expected_sha256[:12]}... is expected; "
            "the file is damaged: install the package again or download the file again"
        )
    key = _key(source_sha256, policy)
    folder = cache / key
    if (folder / MANIFEST).is_file():
        try:
            return GenomeStore.open(folder)
        except _DamagedStore as error:
            _log.warning("building a damaged genome store again: %s", error)
    with _writable(cache), locked(cache / f"{key}.lock"):
        return _open_or_build(fasta, folder, source_sha256, policy)


def _key(source_sha256: str, policy: dict[str, Any]) -> str:
    """Name of the store of a file."""
    text = json.dumps([FORMAT_VERSION, source_sha256, policy], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _can_have_no_store(fasta: Path, cache: Path) -> bool:
    """Whether a file is large, and no store was made from a file of its size."""
    try:
        size = fasta.stat().st_size
        if size < _LARGE_BYTES:
            return False
        for manifest in cache.glob(f"[!.]*/{MANIFEST}"):
            with manifest.open(encoding="utf-8") as file:
                recorded = _SOURCE_BYTES.search(file.read(_MANIFEST_HEAD))
            if recorded is None or int(recorded[1]) == size:
                return False
    except (OSError, ValueError):
        # whatever is wrong is reported where the file is hashed.
        return False
    return True


@contextmanager
def _writable(cache: Path) -> Iterator[None]:
    """Make the folder of stores, and say what to do where it cannot be written."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            found = f"no space is left in the genome cache {cache}"
        else:
            found = f"the genome cache {cache} cannot be written ({error.strerror or error})"
        raise DataError(
            f"{found}; set data.cache_dir or the environment variable DNAMDLM_CACHE_DIR "
            "to a folder with enough space that you may write to"
        ) from error


def _build_unhashed(fasta: Path, cache: Path, policy: dict[str, Any]) -> GenomeStore:
    """Build a store in one pass; the caller holds the lock of the file's size."""
    before = fasta.stat()
    name = f"new-{before.st_size}"
    with _temporary(cache, name) as temporary:
        source_sha256 = build_store(fasta, temporary, None, policy)
        after = fasta.stat()
        if (before.st_ino, before.st_size, before.st_mtime_ns) != (
            after.st_ino, after.st_size, after.st_mtime_ns
        ):  # fmt: skip
            raise changed(fasta)
        folder = cache / _key(source_sha256, policy)
        with locked(cache / f"{folder.name}.lock"):
            # a process that hashed the file first may have been faster.
            if folder.exists():
                try:
                    return GenomeStore.open(folder)
                except _DamagedStore:
                    shutil.rmtree(folder)
            _publish(temporary, folder)
    return GenomeStore.open(folder)


def _open_or_build(
    fasta: Path, folder: Path, source_sha256: str, policy: dict[str, Any]
) -> GenomeStore:
    """Build the store unless another process did so meanwhile; the caller holds the lock."""
    if folder.exists():
        try:
            return GenomeStore.open(folder)
        except _DamagedStore:
            shutil.rmtree(folder)
    with _temporary(folder.parent, folder.name) as temporary:
        build_store(fasta, temporary, source_sha256, policy)
        _publish(temporary, folder)
    return GenomeStore.open(folder)


@contextmanager
def _temporary(cache: Path, name: str) -> Iterator[Path]:
    """A folder to build in, gone afterwards, as are those of killed processes with that name."""
    for stale in cache.glob(f".{name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".tmp", dir=cache))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folder: Path) -> None:
    """Let a finished store appear under its name."""
    temporary.chmod(0o755)
    temporary.rename(folder)
    sync_to_disk(folder.parent)


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check data.fasta") from error
    except IsADirectoryError as error:
        raise DataError(
            f"{path}: this is a folder; data.fasta needs a FASTA file, name the file in it"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check data.fasta") from error
