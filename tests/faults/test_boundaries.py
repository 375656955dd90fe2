"""Coordinates past 2^32, checkpoints of another format, and names that a spreadsheet would run."""

import json
import shutil

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.textfile import plain_cell
from dnamdlm.errors import CheckpointError, DataError
from dnamdlm.lm.checkpoint import newest_valid, verify_folder, write_folder

GIGA = 5_000_000_000


@pytest.fixture
def large(tmp_path):
    """A store of two records, the first of 5 Gb, whose file has holes in place of A."""
    marks = {2**31 - 1: 1, 2**31: 2, 2**32 - 1: 3, 2**32: 1, 2**32 + 1: 2, GIGA - 1: 3, GIGA: 2}
    with (tmp_path / "codes.bin").open("wb") as out:
        out.truncate(GIGA + 100)
        for place, code in marks.items():
            out.seek(place)
            out.write(bytes([code]))
    runs = np.array([[2**31 + 10, 2**31 + 20], [2**32 + 10, 2**32 + 30]], dtype=np.int64)
    np.save(tmp_path / "n_runs.npy", runs)
    records = [{"name": "a", "length": GIGA, "offset": 0},
               {"name": "b", "length": 100, "offset": GIGA}]  # fmt: skip
    manifest = {"format_version": 1, "sha256": "", "records": records, "n_run_count": 2}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return GenomeStore.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "start", "bases"),
    [
        ("a", 2**31 - 2, [0, 1, 2, 0]),
        ("a", 2**32 - 2, [0, 3, 1, 2, 0]),
        ("a", GIGA - 2, [0, 3]),
        ("b", 0, [2, 0]),
    ],
)
def test_bases_past_two_to_the_32_are_where_they_belong(large, name, start, bases):
    assert large.fetch(Interval(name, start, start + len(bases))).tolist() == bases
    with pytest.raises(DataError, match="ends at"):
        large.fetch(Interval("a", GIGA - 1, GIGA + 1))


def test_n_past_two_to_the_32_is_counted(large):
    starts = np.array([0, 2**31 + 15, 2**32, 2**32 + 29])
    ends = np.array([GIGA, 2**32 + 11, 2**32 + 10, 2**32 + 31])
    assert large.count_n(starts, ends).tolist() == [30, 6, 0, 1]


def test_a_checkpoint_of_another_format_is_refused_with_both_numbers(tmp_path):
    old = write_folder(tmp_path / "step_000000001", {"a.json": lambda path: path.write_text("{}")})
    new = shutil.copytree(old, tmp_path / "step_000000002")
    manifest = json.loads((new / "manifest.json").read_text()) | {"format_version": 2}
    (new / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="format 2, this version reads 1"):
        verify_folder(new)
    assert newest_valid(tmp_path) == old


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("chr1", "chr1"), ("=1+1", "=1+1"), ("+x", "+x"), ("-2", "-2"), ("@SUM(1)", "@SUM(1)"),
        ("a\x1b[31mb\x07", r"a\x1b[31mb\x07"), ("a\x9bb", r"a\x9bb"),
        ("\u00fc\u4e2d", "\u00fc\u4e2d"),
        ("a\tb\nc\rd", "a b c d"), ("", ""),
    ],
)  # fmt: skip
def test_a_name_stays_as_it_is_except_for_what_ends_a_cell_or_steers_a_terminal(name, cell):
    assert plain_cell(name) == cell
