"""Files that are complete or absent: written under a temporary name and renamed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dnamdlm.data.genome.fasta_writer import check_writable
from dnamdlm.errors import ConfigError, DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place if the block ends without an error.

    Raises:
        DataError: if the target cannot be written; nothing half-written stays.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); choose another out=FILE"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def check_target(path: Path, endings: tuple[str, ...], inputs: tuple[str | None, ...]) -> str:
    """Check the file that a command is to write, before anything is computed.

    Args:
        path: the target.
        endings: allowed ends of its name, longer ones first.
        inputs: files that the command reads.

    Returns:
        The ending.

    Raises:
        ConfigError: for another ending, or if the target is one of the inputs.
        DataError: if it cannot be written.
    """
    ending = next((ending for ending in endings if path.name.endswith(ending)), None)
    if ending is None:
        raise ConfigError(f"out={path} must end in {', '.join(endings)}")
    check_writable(path)
    for name in inputs:
        if name is not None and Path(name).exists() and path.exists() and path.samefile(name):
            raise ConfigError(f"out={path} is an input of the command; choose another out=FILE")
    return ending
