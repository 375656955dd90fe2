"""Files that are complete or absent.

A file is written under the temporary name `.NAME.partial-PID` in the folder of its target, flushed
to the disk and renamed when it is complete. An error, SIGINT, SIGTERM and SIGHUP remove the
temporary file; what a killed process left is removed by the next one that writes the same target.

Links are followed: the file that a link points to is replaced, the link stays. A file that is
replaced passes its permissions on. What is not a plain file (a pipe, a terminal, /dev/null, `-` for
standard output) is never replaced: the content is collected in a temporary file and copied into it
when it is complete.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from dnamdlm.data.output_streams import STANDARD_OUTPUT, copy_into, release_readers, stream_of
from dnamdlm.data.partial_files import partial_file, remove_left_folders
from dnamdlm.errors import DataError, ReaderLeft


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path whose file takes the place of `path` if the block ends without an error.

    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "words.txt") as partial:
    ...     _ = partial.write_text("ACGT")
    ...     (folder / "words.txt").exists()
    False
    >>> (folder / "words.txt").read_text()
    'ACGT'

    Raises:
        DataError: if the target cannot be written; nothing half-written stays.
        ReaderLeft: if it is a pipe that is not read to its end.
    """
    is_foreign = False
    try:
        with complete_or_absent(path) as partial:
            try:
                yield partial
            except OSError as error:
                # a file that the block reads may fail as well.
                is_foreign = not _is_about(partial, error)
                raise
    except OSError as error:
        if is_foreign:
            raise
        where = "standard output" if str(path) == STANDARD_OUTPUT else path
        if isinstance(error, BrokenPipeError):
            raise ReaderLeft(f"{where} is no longer read, and not all was written") from error
        raise _not_written(where, error) from error


@contextmanager
def complete_or_absent(path: str | Path) -> Iterator[Path]:
    """As `replacing`, for callers that handle the errors of the system themselves.

    Raises:
        OSError: if the target cannot be written; nothing half-written stays.
    """
    stream = stream_of(path)
    if stream is not None:
        with _collecting(stream, Path(path).name) as partial:
            yield partial
        return
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    with partial_file(target.parent, target.name) as partial:
        yield partial
        sync_to_disk(partial)
        if mode is not None:
            partial.chmod(mode)
        partial.replace(target)
        sync_to_disk(target.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file as UTF-8, so that readers see the old content or the new.

    Raises:
        DataError: if it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file, so that readers see the old content or the new.

    Raises:
        DataError: if it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


def keep_aside(path: Path) -> Path:
    """Rename a file to `NAME.1`, or the first number that is free.

    Returns:
        The new name.

    Raises:
        DataError: if it cannot be renamed.
    """
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.{number}")):
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise DataError(
            f"{path} cannot be renamed to {aside.name} ({error.strerror}); move it elsewhere"
        ) from error
    return aside


def write_together(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write several files, none of which appears or changes before all are complete.

    Args:
        writers: target -> function that writes a file at the path that it gets.

    Raises:
        DataError: if one of them cannot be written; all are as they were then.
    """
    with ExitStack() as stack:
        partials = [stack.enter_context(replacing(path)) for path in writers]
        for partial, (path, write) in zip(partials, writers.items(), strict=True):
            try:
                write(partial)
            except OSError as error:
                raise _not_written(path, error) from error


def text_file(text: str) -> Callable[[Path], object]:
    """A function that writes a text as UTF-8, for `write_together`."""
    return lambda path: path.write_bytes(text.encode("utf-8"))


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A new folder under a temporary name, which gets its own once the block has filled it.

    What a killed process left under such a name is removed.

    Raises:
        DataError: if it cannot be written; nothing stays of it.
    """
    prefix = f".partial-{out.name}-"
    partial = out.parent / f"{prefix}{os.getpid()}"
    try:
        remove_left_folders(out.parent, prefix)
        partial.mkdir(parents=True)
        yield partial
        partial.rename(out)
    except OSError as error:
        raise DataError(
            f"out={out} cannot be written ({error.strerror}); check its folder and the free space"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        DataError: if that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be made ({error.strerror}); choose another place"
        ) from error


def gzip_stream(raw: IO[bytes], *, level: int = 9) -> gzip.GzipFile:
    """Compress what is written into `raw`, without a time stamp: equal content, equal bytes."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=level)


@contextmanager
def _collecting(stream: int | Path, name: str) -> Iterator[Path]:
    """A temporary file that is copied into a stream if the block ends without an error."""
    is_complete = False
    try:
        with partial_file(Path(tempfile.gettempdir()), name, mode=0o600) as partial:
            yield partial
            copy_into(stream, partial)
            is_complete = True
    finally:
        if not is_complete:
            release_readers(stream)


def _not_written(where: str | Path, error: OSError) -> DataError:
    return DataError(
        f"{where} cannot be written ({error.strerror or error}); check its folder and the free "
        "space, or choose another file"
    )


def _is_about(partial: Path, error: OSError) -> bool:
    """Whether an error of the system is one of writing a temporary file, or names no file."""
    if not isinstance(error.filename, str | bytes):
        return True
    name = os.fsdecode(error.filename)
    return name.startswith(str(partial)) or Path(name) == partial.parent


def _mode_of(target: Path) -> int | None:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


def sync_to_disk(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
