"""What a run writes and logs of a step."""

import logging

import pytest

from dnamdlm.training.metrics import OF_BASES, OF_LABELS, OF_TOKENS, read_rows
from dnamdlm.training.run_log import RunLog, row_text

ROW = {"train_bits_per_base": 1.5}


@pytest.fixture
def opened(tmp_path):
    def open_log(names=OF_BASES, first_step=0):
        log = RunLog(
            tmp_path / "metrics.csv", names,
            positions_per_step=100, max_steps=10, first_step=first_step,
        )  # fmt: skip
        log.open(is_writer=True)
        return log

    return open_log


def test_a_step_without_a_rate_is_logged_without_rate_and_time(opened, caplog):
    caplog.set_level(logging.INFO)
    opened().write(5, ROW, [])
    assert caplog.messages == ["step 5/10  train 1.5000 bits/base"]


def test_a_step_with_a_rate_is_logged_with_the_time_left(opened, caplog):
    caplog.set_level(logging.INFO)
    opened().write(5, ROW | {"bases_per_second": 50.0}, [])
    assert caplog.messages == ["step 5/10  train 1.5000 bits/base  50 bases/s  10 s left"]


def test_a_run_on_text_counts_tokens(opened, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    log = opened(OF_TOKENS)
    log.write(5, {"valid_bits_per_token": 3.0, "tokens_per_second": 50.0}, [])
    assert caplog.messages == ["step 5/10  valid 3.0000 bits/token  50 tokens/s  10 s left"]
    (row,) = read_rows(tmp_path / "metrics.csv")
    assert (row["tokens"], row["valid_bits_per_token"]) == ("500", "3")


def test_a_pause_does_not_count_for_the_rate(opened, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dnamdlm.training.run_log.time.monotonic", lambda: now[0])
    log = opened()
    now[0] = 2.0
    with log.paused():
        now[0] = 10.0
    row = log.training_row(2, 1.5, {"learning_rate": 0.1})
    assert row == {"train_bits_per_base": 1.5, "bases_per_second": 100.0, "learning_rate": 0.1}
    now[0] = 11.0
    assert log.training_row(3, float("nan"), {}) == {"bases_per_second": 100.0}


def test_two_steps_after_the_first_are_timed_without_what_paused_them(
    tmp_path, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    now = [0.0]
    monkeypatch.setattr("dnamdlm.training.run_log.time.monotonic", lambda: now[0])
    log = RunLog(
        tmp_path / "metrics.csv", OF_BASES, positions_per_step=100, max_steps=10, first_step=4,
        time_needed=lambda seconds: f"{seconds:g} s per step",
    )  # fmt: skip
    log.open(is_writer=True)
    # the first step compiles, and the second is followed by a validation of 5 s.
    for step, moment, validation in ((5, 60.0, 0.0), (6, 62.0, 5.0), (7, 69.0, 0.0), (8, 71.0, 0)):
        now[0] = moment
        with log.paused():
            now[0] += validation
        log.advance(step)
    shown = [line for line in caplog.messages if line.endswith("per step")]
    assert shown == ["2 s per step"]


def test_a_rank_that_does_not_write_measures_and_leaves_the_file_alone(tmp_path):
    log = RunLog(
        tmp_path / "metrics.csv", OF_BASES, positions_per_step=100, max_steps=10, first_step=0
    )
    log.open(is_writer=False)
    assert "bases_per_second" in log.training_row(1, 1.0, {})
    log.write(1, ROW, [])
    log.advance(1)
    log.close()
    assert not (tmp_path / "metrics.csv").exists()


def test_the_text_of_a_row_names_the_unit_of_the_loss():
    assert row_text({"train_bits_per_base": 1.5}, OF_BASES) == "train 1.5000 bits/base"
    both = {"valid_bits_per_label": 0.25, "train_bits_per_label": 1.0}
    assert row_text(both, OF_LABELS) == "train 1.0000 valid 0.2500 bits/label"
    assert row_text({"step": 3}, OF_BASES) == ""
