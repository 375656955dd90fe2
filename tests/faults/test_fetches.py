"""Fetches by forked and spawned processes and by threads are those of the text in memory."""

from pathlib import Path

import pytest

from benchmarks.fetches import check, count_all, oracle
from tests.faults.harness import ROOT

YEAST = next((ROOT / "dnamdlm" / "data" / "genome" / "embedded").glob("*.fa.gz"))


def write(path: Path) -> Path:
    """A small genome of two records, 40 kb."""
    texts = ["ACGTTGCANN" * 3000, "TTTACAGACC" * 1000]
    path.write_text("".join(f">r{i}\n{text}\n" for i, text in enumerate(texts)))
    return path


def test_a_wrong_letter_is_counted(tmp_path):
    texts = oracle(write(tmp_path / "a.fa"))

    def shifted(name, start, end):
        return texts[name][start + 1 : end + 1]

    right, wrong, failed = check(shifted, texts, 500, seed=0)
    assert wrong > 400
    assert right + wrong == 500
    assert failed == 0


def test_six_thousand_fetches_are_right(tmp_path):
    counts = count_all(write(tmp_path / "a.fa"), tmp_path / "cache", 6000, workers=2)
    assert counts == dict.fromkeys(counts, (2000, 0, 0))
    assert len(counts) == 3


@pytest.mark.faults
def test_a_million_fetches_are_right(tmp_path):
    counts = count_all(YEAST, tmp_path, 1_000_000)
    assert sum(sum(found) for found in counts.values()) >= 1_000_000
    assert all(wrong == failed == 0 for _, wrong, failed in counts.values())
