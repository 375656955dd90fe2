"""Locks between processes, also on file systems that have none.

A lock of the system ends with its process. Where the file system has none, as some network file
systems, a file `NAME.soft` stands for the lock; what a dead process of this machine left of it does
not count.
"""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
_log = logging.getLogger(__name__)


def soft_lock_of(path: Path) -> Path:
    """The file that stands for a lock where the file system has none."""
    return path.with_name(f"{path.name}.soft")


def acquired(path: Path, *, timeout: float = -1) -> BaseFileLock:
    """A lock that this process holds until it is released.

    Args:
        path: the lock file, which stays.
        timeout: seconds to wait for another process; negative waits without end.

    Raises:
        Timeout: if another process holds it for longer.
        OSError: if the file cannot be written.
    """
    lock = FileLock(path)
    try:
        with warnings.catch_warnings():
            # filelock may take another kind of lock by itself, and warns.
            warnings.simplefilter("ignore")
            lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _WITHOUT_LOCKS:
            raise
        soft = soft_lock_of(path)
        _log.info("%s has no locks of the file system; %s takes their place", path.parent, soft)
        lock = SoftFileLock(soft)
        lock.acquire(timeout=timeout)
    return lock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock within the block; other processes wait.

    Raises:
        OSError: if the file cannot be written.
    """
    lock = acquired(path)
    try:
        yield
    finally:
        lock.release()
