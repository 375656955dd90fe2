"""`make gpu`: what it does without a card, where a part fails, and that every part runs."""

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import PARTS, Part


def test_without_a_card_it_says_so_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    said = capsys.readouterr().err.strip()
    assert "finds no CUDA GPU here" in said
    assert "\n" not in said


def test_a_part_that_hangs_is_ended_and_leaves_a_row(monkeypatch):
    monkeypatch.setitem(PARTS, "environment", Part(PARTS["environment"].run, 0))
    (row,) = gpu.run_part("environment", smoke=True)
    assert row == ("environment", "failed", None, "", "not finished within 0 s")


def test_the_parts_take_ten_minutes_at_most():
    assert sum(part.seconds for part in PARTS.values()) <= 600


def test_a_part_that_fails_keeps_the_rows_before():
    said = '["a", 1.0, "s", ""]\nsome warning\n["b", 2.0, "s", ""]\n["cut'
    assert gpu._rows("x", said) == [("x", "a", 1.0, "s", ""), ("x", "b", 2.0, "s", "")]


@pytest.mark.slow
def test_a_part_that_fails_leaves_the_others(capsys):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a card")
    (row,) = gpu.run_part("parity", smoke=False)
    assert row[:2] == ("parity", "failed")
    assert "CUDA" in row[4]
    assert gpu.run_part("environment", smoke=False) != []


@pytest.mark.slow
def test_every_part_runs_through_on_a_cpu(capsys):
    assert gpu.main(["--smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split("|")[1].strip() for line in lines if line.startswith("| ")} >= set(PARTS)
    (failed,) = [line for line in lines if line.startswith("- failed parts")]
    assert failed == "- failed parts: none"
