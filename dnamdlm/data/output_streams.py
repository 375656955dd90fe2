"""Targets that are not plain files: standard output, pipes, terminals, /dev/null.

They are written into and never replaced.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

STANDARD_OUTPUT = "-"
"""As the name of a target: standard output."""

_OUT, _ERROR = 1, 2
_log = logging.getLogger(__name__)


def stream_of(path: str | Path) -> int | Path | None:
    """Where to write for a target that is not a plain file: an open descriptor, or the path itself.

    None for a plain file, and for a path at which there is nothing.

    Raises:
        OSError: if the path cannot be looked up.
    """
    # what a process was started without may be any file of its own by now.
    is_open = {_OUT: sys.stdout is not None, _ERROR: sys.stderr is not None}
    if str(path) == STANDARD_OUTPUT:
        if not is_open[_OUT]:
            raise OSError(errno.EBADF, "it is closed")
        return _OUT
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # /dev/stdout is a link to whatever a shell has opened as such, which may be a plain file.
    for descriptor in (number for number, is_used in is_open.items() if is_used):
        with suppress(OSError):
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
    return None if stat.S_ISREG(found.st_mode) else Path(path)


def message_stream(path: str | Path) -> TextIO:
    """Where to say that `path` was written: standard error if the path is standard output."""
    try:
        is_output = stream_of(path) == _OUT
    except OSError:
        is_output = False
    return sys.stderr if is_output else sys.stdout


def copy_into(stream: int | Path, source: Path) -> None:
    """Copy a file into a stream; a named pipe is waited for until somebody reads it.

    Raises:
        OSError: if the stream does not take it.
    """
    if isinstance(stream, int):
        for buffered in filter(None, (sys.stdout, sys.stderr)):
            buffered.flush()
    descriptor = os.dup(stream) if isinstance(stream, int) else _opened(stream)
    with open(descriptor, "wb") as out, source.open("rb") as content:  # noqa: PTH123
        shutil.copyfileobj(content, out)


def release_readers(stream: int | Path) -> None:
    """Let whoever waits for a named pipe to be opened see its end."""
    if isinstance(stream, Path):
        with suppress(OSError):
            os.close(os.open(stream, os.O_WRONLY | os.O_NONBLOCK))


def _opened(stream: Path) -> int:
    try:
        descriptor = os.open(stream, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        _log.info("%s is a pipe that no process reads yet; waiting for one", stream)
        return os.open(stream, os.O_WRONLY)
    os.set_blocking(descriptor, True)
    return descriptor
