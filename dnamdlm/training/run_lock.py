"""The lock of a run folder: one process trains in it at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from dnamdlm.data.file_locks import acquired, soft_lock_of
from dnamdlm.data.files import complete_or_absent
from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import remove_partial
from dnamdlm.training.run_folder import LOCK

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
        try:
            lock = acquired(run_dir / LOCK, timeout=0)
        except Timeout:
            if not _owner_is_dead(run_dir):
                raise
            lock = acquired(run_dir / LOCK, timeout=_WORKERS_LEAVE_S)
        with complete_or_absent(run_dir / _OWNER) as partial:
            partial.write_text(_own_mark(), encoding="utf-8")
    except Timeout as error:
        soft = soft_lock_of(run_dir / LOCK)
        remedy = f", delete {soft} if it is gone," if soft.exists() else ""
        raise ConfigError(
            f"run_dir={run_dir} is in use by {_owner(run_dir)}; wait for it{remedy} or choose "
            "another folder"
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
        with suppress(OSError, ValueError):
            # the folder may be another one by now.
            if (run_dir / _OWNER).read_text(encoding="utf-8") == _own_mark():
                (run_dir / _OWNER).unlink()
        with suppress(OSError):
            lock.release()


def _own_mark() -> str:
    return f"{os.getpid()} {socket.gethostname()}\n"


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
