"""Extraction of zip and tar archives that may be hostile: all of it or nothing.

Refused are names that lead out of the target, links, devices, sparse files, names that are there
twice (also when case is ignored), archives that unpack to more than was allowed, whatever their
headers say, and extended tar headers that are large, many or made of long numbers: Python's tarfile
holds them in memory, and before 3.11.10 and 3.12.6 takes the square of their size (CVE-2024-6232).
"""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from data_prep.download import check_room
from dnamdlm.errors import DataError

_PIECE_BYTES = 1 << 20
_EXTENDED_TYPES = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_SPARSE_TYPES = (tarfile.GNUTYPE_SPARSE,)
_MAX_HEADER_BYTES = 1 << 13
_MAX_HEADERS_BYTES = 1 << 22
# of the directory of a zip file, with names of some hundred letters.
_MEAN_ENTRY_BYTES = 1 << 9
# times and sizes have twenty digits.
_LONG_NUMBER = re.compile(rb"[0-9]{40}")
# RuntimeError is what an encrypted member, or one packed in an unknown way, raises.
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError,
    RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes:
        max_bytes: sum of all unpacked files.
        max_members: files and folders.
    """

    max_bytes: int
    max_members: int = 10_000


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_folder: bool
    is_file: bool
    source: zipfile.ZipInfo | tarfile.TarInfo


def extract_archive(archive: Path, target: Path, limits: ArchiveLimits) -> list[Path]:
    """Unpack a zip or tar archive (plain, gzip, bzip2 or xz) into a new folder.

    Args:
        archive: the file.
        target: folder to be made; it must not exist, and appears when everything is unpacked.
        limits: size and number of members.

    Returns:
        The files, sorted.

    Raises:
        DataError: if the archive is refused or damaged, or the target is there already.
    """
    if target.exists():
        raise DataError(f"{target}: exists already; give a folder that is not there")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with _opened(archive, limits) as opened:
            members = _checked(archive, opened, limits)
            check_room(target, sum(member.size for member in members))
            left = limits.max_bytes
            for member in members:
                left -= _unpack(archive, opened, member, temporary, left)
        temporary.chmod(0o755)
        temporary.rename(target)
    except _DAMAGE as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); fetch it again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path for path in target.rglob("*") if path.is_file())


@contextmanager
def _opened(archive: Path, limits: ArchiveLimits) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if zipfile.is_zipfile(archive):
        _check_directory(archive, limits)
        with zipfile.ZipFile(archive) as opened:
            yield opened
    else:
        with tarfile.open(archive, tarinfo=_ModestHeader) as opened:
            yield opened


def _check_directory(archive: Path, limits: ArchiveLimits) -> None:
    """Refuse a zip file of millions of members before `zipfile` makes a list of them.

    The number of members that such a file states is not what `zipfile` goes by; the size of the
    directory is.
    """
    with archive.open("rb") as file:
        end = zipfile._EndRecData(file)  # pyright: ignore[reportAttributeAccessIssue]
    size = end[zipfile._ECD_SIZE] if end else 0  # pyright: ignore[reportAttributeAccessIssue]
    if size > limits.max_members * _MEAN_ENTRY_BYTES:
        raise _too_large(archive, limits)


class _ModestHeader(tarfile.TarInfo):
    """The header of a member, refused before tarfile does much work for it."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Overridden as the comments of tarfile provide for; called for every header."""
        if self.size < 0:
            raise _unsound(archive, "a header with a negative size")
        if self.type in _SPARSE_TYPES:
            raise _unsound(archive, "a sparse file")
        if self.type in _EXTENDED_TYPES:
            read = getattr(archive, "extended_bytes", 0) + self.size
            if self.size > _MAX_HEADER_BYTES or read > _MAX_HEADERS_BYTES:
                raise _unsound(archive, f"an extended header of {self.size} bytes")
            archive.extended_bytes = read  # pyright: ignore[reportAttributeAccessIssue]
            stream = archive.fileobj
            assert stream is not None
            place = stream.tell()
            content = stream.read(self.size)
            stream.seek(place)
            if _LONG_NUMBER.search(content):
                raise _unsound(archive, "an extended header with a number of many digits")
            if b"GNU.sparse." in content:
                raise _unsound(archive, "a sparse file")
        return super()._proc_member(archive)  # pyright: ignore[reportAttributeAccessIssue]


def _unsound(archive: tarfile.TarFile, found: str) -> DataError:
    return DataError(f"{archive.name}: {found}; the archive is refused")


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[_Member]:
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            is_plain = kind in (0, stat.S_IFREG)
            yield _Member(info.filename, info.file_size, info.is_dir(), is_plain, info)
    else:
        # one header at a time: the list of a hostile archive may not fit into memory.
        for info in opened:
            yield _Member(info.name, info.size, info.isdir(), info.isreg(), info)


def _checked(
    archive: Path, opened: zipfile.ZipFile | tarfile.TarFile, limits: ArchiveLimits
) -> list[_Member]:
    members: list[_Member] = []
    seen: set[str] = set()
    total = 0
    for member in _members(opened):
        path = PurePosixPath(member.name)
        found = None
        if path.is_absolute() or ".." in path.parts or set(member.name) & set("\\:"):
            found = "leads out of the target folder"
        elif "\0" in member.name or not path.parts:
            found = "is not a file name"
        elif not member.is_folder and not member.is_file:
            found = "is a link or a device"
        elif member.size < 0:
            found = "has a negative size"
        elif not member.is_folder and path.as_posix().casefold() in seen:
            found = "is there twice"
        if found:
            raise DataError(f"{archive}: {member.name[:80]!r} {found}; the archive is refused")
        seen.add(path.as_posix().casefold())
        members.append(member)
        total += member.size
        if total > limits.max_bytes or len(members) > limits.max_members:
            raise _too_large(archive, limits)
    return members


def _unpack(
    archive: Path,
    opened: zipfile.ZipFile | tarfile.TarFile,
    member: _Member,
    folder: Path,
    max_bytes: int,
) -> int:
    """Write one member; returns its bytes, which are counted and not believed."""
    path = folder / PurePosixPath(member.name)
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with _stream(opened, member) as source, path.open("xb") as out:
        while piece := source.read(_PIECE_BYTES):
            written += len(piece)
            if written > min(max_bytes, member.size):
                raise DataError(
                    f"{archive}: {member.name[:80]!r} unpacks to more than its {member.size} "
                    "bytes; the archive is refused"
                )
            out.write(piece)
    return written


def _stream(opened: zipfile.ZipFile | tarfile.TarFile, member: _Member) -> IO[bytes]:
    if isinstance(opened, zipfile.ZipFile):
        assert isinstance(member.source, zipfile.ZipInfo)
        return opened.open(member.source)
    assert isinstance(member.source, tarfile.TarInfo)
    found = opened.extractfile(member.source)
    assert found is not None
    return found


def _too_large(archive: Path, limits: ArchiveLimits) -> DataError:
    return DataError(
        f"{archive}: unpacks to more than {limits.max_bytes} bytes or {limits.max_members} "
        "members; the archive is refused"
    )
