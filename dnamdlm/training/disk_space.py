"""Whether the checkpoints of a run fit on the disk; checked before its first step."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import list_checkpoints


def check_space(run_dir: Path, lm: nn.Module, keep: int) -> None:
    """Refuse a run whose checkpoints do not fit on the disk, before its first step.

    A checkpoint holds weights, their average and two moments, and there are `keep` + 1 of them
    while the newest is written. Earlier checkpoints need no further space.

    Raises:
        ConfigError: with the space that is needed and the space that is free.
    """
    size, needed = _sizes(run_dir, lm, keep)
    place = run_dir
    while not place.exists():
        place = place.parent
    try:
        disk = shutil.disk_usage(place)
    except OSError:
        # where the system gives no size, only trying shows it, when the folder is claimed.
        return
    if disk.total and disk.free < needed:
        raise ConfigError(
            f"run_dir={run_dir} has {disk.free / 1e6:,.1f} MB free, and {keep} checkpoints of "
            f"{size / 1e6:,.1f} MB and the space to write the next need {needed / 1e6:,.1f} MB; "
            "free some, lower trainer.keep_checkpoints or choose another folder"
        )


def try_space(run_dir: Path, lm: nn.Module, keep: int) -> None:
    """Reserve the space for the checkpoints for a moment, which quotas and limits refuse as well.

    Only a reason that would also stop a save counts; not every file system can reserve space.

    Raises:
        ConfigError: with the space that is needed and the reason of the system.
    """
    size, needed = _sizes(run_dir, lm, keep)
    # the largest file of a checkpoint is that of the moments.
    largest = size // 2
    try:
        with ExitStack() as files:
            for start in range(0, needed, largest):
                # without a name, so that nothing of it stays if this process is killed.
                file = files.enter_context(tempfile.TemporaryFile(dir=run_dir))
                _allocate(file.fileno(), min(largest, needed - start))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return
        raise ConfigError(
            f"run_dir={run_dir} cannot take {needed / 1e6:,.1f} MB ({error.strerror}), which "
            f"{keep} checkpoints of {size / 1e6:,.1f} MB and the space to write the next need; "
            "lower trainer.keep_checkpoints, choose another folder, or have quota and limits raised"
        ) from error


def _sizes(run_dir: Path, lm: nn.Module, keep: int) -> tuple[int, int]:
    """Bytes of one checkpoint, and of all that are still to be written at the same time."""
    size = 4 * sum(tensor.numel() * tensor.element_size() for tensor in lm.state_dict().values())
    size += 1 << 16
    return size, size * max(1, keep + 1 - len(list_checkpoints(run_dir / "checkpoints")))


def _allocate(descriptor: int, num_bytes: int) -> None:
    """Let the file system reserve bytes for a file, if it can, without writing them."""
    # not os.posix_fallocate, which writes into every block where the file system cannot do it.
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(descriptor, 0, 0, num_bytes) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
