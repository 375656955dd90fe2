"""Every file of golden numbers is whole, and a test compares something with it."""

import hashlib
import json
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.parity
def test_every_golden_file_is_whole(shared):
    folder = shared / "parity"
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert digest == entry["sha256"], name


@pytest.mark.parity
def test_every_golden_file_is_named_by_a_test(shared):
    sources = [path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    readers = "\n".join(source for source in sources if '"parity"' in source)
    names = {
        path.name.split(".")[0]
        for path in (shared / "parity").iterdir()
        if path.name not in {"README.md", "manifest.json"}
    }
    # a name in quotes of its own, or followed by the rest of a file name.
    unread = {name for name in names if not re.search(rf"""["']{name}["'.]""", readers)}
    assert unread == set()
