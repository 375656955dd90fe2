"""JSON from files, with one kind of error for whatever is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonError(ValueError):
    """Text that is not JSON or cannot be read; the message says why in a few words."""


def read_json_file(path: Path) -> Any:
    """The value that a file in UTF-8 holds.

    Raises:
        FileNotFoundError: if there is no such file.
        NotADirectoryError: if a file stands where a folder of the path should be.
        JsonError: for everything else.
    """
    try:
        return read_json_text(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise JsonError(f"byte {error.start + 1} is not UTF-8") from error
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise JsonError(error.strerror or "it cannot be opened") from error


def read_json_text(text: str) -> Any:
    """The value of a text.

    >>> read_json_text('{"a": 1}')
    {'a': 1}

    Raises:
        JsonError: if it is not JSON, or is nested too deeply, or has a number of thousands of
            digits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise JsonError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise JsonError("brackets are nested too deeply") from error
    except ValueError as error:
        raise JsonError("a number has thousands of digits") from error
