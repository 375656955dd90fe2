"""The lock of a run folder: one process trains in it at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import remove_partial
from dnamdlm.training.run_folder import write_text

_LOCK = ".lock"
_OWNER = ".owner"
# loader workers hold the lock of a killed trainer until they notice its death, every five seconds.
_WORKERS_LEAVE_S = 30.0


@contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Lock the run folder for this process; the lock of a dead process does not count.

    Raises:
        ConfigError: if the folder cannot be written or another process trains in it.
    """
    try:
        if run_dir.is_symlink() and not run_dir.exists():
            raise ConfigError(f"run_dir={run_dir} is a broken link; choose another folder")
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run_dir / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not _owner_is_dead(run_dir):
                raise
            lock.acquire(timeout=_WORKERS_LEAVE_S)
        write_text(run_dir / _OWNER, f"{os.getpid()} {socket.gethostname()}\n")
    except Timeout as error:
        raise ConfigError(
            f"run_dir={run_dir} is in use by {_owner(run_dir)}; wait for it or choose another "
            "folder"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"run_dir={run_dir} cannot be written ({error.strerror}); choose a folder where you "
            "may write"
        ) from error
    try:
        remove_partial(run_dir / "checkpoints")
        yield
    finally:
        # a failure here must not hide how the run ended; the file is of use to others only.
        with suppress(OSError):
            (run_dir / _OWNER).unlink(missing_ok=True)
        lock.release()


def _owner(run_dir: Path) -> str:
    try:
        number, host = (run_dir / _OWNER).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return "another training process"
    return f"another training process (number {number} on {host})"


def _owner_is_dead(run_dir: Path) -> bool:
    """Whether the process that claimed the folder ran on this machine and is gone."""
    try:
        number, host = (run_dir / _OWNER).read_text(encoding="utf-8").split()
        if host != socket.gethostname():
            return False
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False
