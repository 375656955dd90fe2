"""Published checksum lists, hashes of files, and the manifest of what was fetched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnamdlm.data.files import write_text
from dnamdlm.errors import DataError

MANIFEST = "manifest.json"


def published_md5(path: Path, name: str) -> str:
    """The MD5 of one file from a list with lines `<md5>  ./<name>`.

    Raises:
        DataError: if the list does not name the file.
    """
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{32})\s+\*?(?:\./)?(\S+)", line.strip())
        if match and match[2] == name:
            return match[1].lower()
    raise DataError(f"{path}: no MD5 of {name} is published there; check base_url")


def file_digest(path: Path, algorithm: str) -> str:
    """The hash of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def is_intact(path: Path, md5: str) -> bool:
    """Whether a file is there and has this MD5."""
    return path.is_file() and file_digest(path, "md5") == md5


def read_manifest(folder: Path) -> dict[str, Any]:
    """What earlier runs recorded; empty where there is nothing, or nothing that can be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def record(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Add or replace one entry of the manifest of a folder."""
    content = read_manifest(folder) | {name: dict(facts)}
    write_text(folder / MANIFEST, json.dumps(content, indent=1, sort_keys=True) + "\n")
