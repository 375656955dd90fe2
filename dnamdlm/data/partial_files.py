"""Temporary files named `.NAME.partial-PID`: made, locked, and removed whatever ends the writer.

An error, SIGINT, SIGTERM and SIGHUP remove the file. What a killed process left is removed by the
next one that writes the same name in the same folder.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_MARK = ".partial-"
# a file name may have 255 bytes, and the temporary one is longer than that of the target.
_NAME_BYTES = 220
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
# temporary files that this process is writing.
_in_use: set[Path] = set()
_log = logging.getLogger(__name__)


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM or SIGHUP; its exit code is 128 plus the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@contextmanager
def partial_file(folder: Path, name: str, *, mode: int = 0o666) -> Iterator[Path]:
    """An empty file in `folder` that is gone after the block, unless it was renamed in it.

    Args:
        folder: where it is made.
        name: of the file that it is to become.
        mode: permissions, of which the umask takes some away.

    Raises:
        OSError: if the file cannot be made.
    """
    prefix = f".{os.fsdecode(os.fsencode(name)[:_NAME_BYTES])}{_MARK}"
    partial = folder / f"{prefix}{os.getpid()}"
    with unwinding_on_signals(name):
        _remove_leftovers(folder, prefix)
        with _created(partial, mode):
            yield partial


@contextmanager
def _created(partial: Path, mode: int) -> Iterator[None]:
    if partial in _in_use:
        raise FileExistsError(errno.EEXIST, "this process is writing it already")
    owner, descriptor = os.getpid(), None
    if partial.exists():
        raise FileExistsError(errno.EEXIST, f"another process writes it as {partial.name}")
    # a signal may come at any instant, also when the file is there and the call has not returned.
    try:
        _in_use.add(partial)
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode)
        # other machines and containers see the lock; where the file system has none, the number of
        # the process has to do.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
        # a child process that leaves the block must not take the file away from its parent.
        if os.getpid() == owner:
            partial.unlink(missing_ok=True)
        _in_use.discard(partial)


def _remove_leftovers(folder: Path, prefix: str) -> None:
    """Remove temporary files of the same name whose processes are gone."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)")
    with suppress(OSError):
        for path in folder.iterdir():
            found = pattern.fullmatch(path.name)
            if found and _is_abandoned(path, int(found[1])):
                with suppress(OSError):
                    path.unlink()


def remove_left_folders(folder: Path, prefix: str) -> None:
    """Remove folders named by a prefix and the number of a process that is gone, or is this one."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)")
    with suppress(OSError):
        for path in folder.iterdir():
            found = pattern.fullmatch(path.name)
            if found and not _runs(int(found[1])):
                shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    """Whether another process of this number may be at work here."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _is_abandoned(partial: Path, process: int) -> bool:
    """Whether no process writes a temporary file any more."""
    if process == os.getpid():
        # numbers of processes are used again, in containers after every start.
        return partial not in _in_use and not _is_locked(partial)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return not _is_locked(partial)
    except OSError:
        return False
    return False


def _is_locked(partial: Path) -> bool:
    """Whether a process holds a file, perhaps on another machine or in another container."""
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


@contextmanager
def unwinding_on_signals(name: str) -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Terminated`, where nothing else is set up for them.

    Args:
        name: of the file that is written, for the message.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _: FrameType | None) -> None:
        # a second signal must not interrupt the removal of what is half-written.
        for other in taken:
            signal.signal(other, signal.SIG_IGN)
        raise Terminated(number)

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    except Terminated as ended:
        if taken:
            _log.error("stopped by %s while %s was written", ended.name, name)
        raise
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
