"""Reads files of generated text as `dnamdlm.sample` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dnamdlm.data.json_files import read_json_text
from dnamdlm.errors import DataError

ENDINGS = (".txt", ".jsonl")
"""Endings of files of text."""

_HEADING = re.compile(r"^----- sample \d+\n", re.MULTILINE)


def read_text_records(path: Path) -> list[dict[str, Any]]:
    """Records with the key `text`, and whatever else a .jsonl file has; texts may be empty.

    A .txt file has a heading before each sample; one without headings is one text.

    Raises:
        DataError: if it cannot be read, has another ending or contains no text.
    """
    if path.suffix not in ENDINGS:
        raise DataError(
            f"samples={path} must end in {' or '.join(ENDINGS)} to be text; give a file that "
            "dnamdlm.sample wrote with a model of text"
        )
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(
            f"samples={path} cannot be read ({reason}); give a .txt or .jsonl file that "
            "dnamdlm.sample wrote"
        ) from error
    if path.suffix == ".jsonl":
        lines = enumerate(content.split("\n"), start=1)
        records = [_record(path, number, line) for number, line in lines if line.strip()]
    else:
        before, *texts = _HEADING.split(content)
        if before.strip() and texts:
            raise DataError(f"samples={path} has text before its first sample; fix the file")
        records = [{"text": text.removesuffix("\n")} for text in texts or [before]]
    if not any(record["text"].strip() for record in records):
        raise DataError(f"samples={path} contains no text; sample some first")
    return records


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = read_json_text(line)
    except ValueError as error:
        raise DataError(f"samples={path}, line {number} is not JSON ({error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise DataError(f"samples={path}, line {number} has no text under 'text'; fix the file")
    return record
