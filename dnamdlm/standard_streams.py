"""Standard output and error as a command finds them: closed, or with a reader that leaves.

What a command says about its work never decides whether the work succeeds. A process may be started
without these streams, as daemons are, and `2>&1 | head -1` reads one line of many.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_IN, _OUT, _ERROR = 0, 1, 2


def prepare_standard_streams() -> None:
    """Let standard output and error take all that is written, whatever becomes of them.

    Streams that the process was started without are opened on the null device, so that no file of
    the command gets their numbers. Standard output remains None for Python then, since a command
    that should write a result to it has to refuse. Calling it again changes nothing.
    """
    for descriptor in (_IN, _OUT, _ERROR):
        _open_if_closed(descriptor)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.dup(_ERROR), "w", encoding="utf-8", errors="replace")
    sys.stdout = _enduring(sys.stdout, sys.__stdout__, _OUT)
    sys.stderr = _enduring(sys.stderr, sys.__stderr__, _ERROR)


class EnduringStream(io.RawIOBase):
    """A descriptor that takes everything; once nobody reads it, or its disk is full, it is lost."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self.descriptor)

    def write(self, content: ReadableBuffer, /) -> int | None:
        """Write, or count as written what nothing takes."""
        try:
            return os.write(self.descriptor, content)
        except BlockingIOError:
            return None
        except OSError as error:
            self._give_up()
            if error.errno != errno.EPIPE and self.descriptor == _OUT:
                sys.stderr.write(
                    f"dnamdlm: standard output cannot be written ({error.strerror}), and what was "
                    "to be printed is lost\n"
                )
            return len(memoryview(content))

    def _give_up(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError):
            os.dup2(null, self.descriptor)
        os.close(null)


def _enduring(stream: TextIO, original: TextIO | None, descriptor: int) -> TextIO:
    """The stream itself, unless it is the one that Python has opened for the descriptor."""
    if stream is None or stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    with suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(EnduringStream(descriptor)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
        write_through=descriptor == _ERROR,
    )


def _open_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        # the system gives the lowest number that is free.
        opened = os.open(os.devnull, os.O_RDONLY if descriptor == _IN else os.O_WRONLY)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)
