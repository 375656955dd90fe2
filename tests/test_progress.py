"""What is shown while a command works: a bar on a terminal, lines elsewhere."""

import io
import sys

import pytest

from dnamdlm.progress import Progress, watched


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    def install():
        stream = _Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")
        return stream

    return install


def test_there_is_one_line_every_ten_seconds_with_rate_and_time_left(caplog):
    clock = _Clock()
    with caplog.at_level("INFO"), Progress("sampling", 1_000, "bases", clock=clock) as progress:
        for second in range(1, 26):
            clock.now = float(second)
            progress.advance(20)
    assert caplog.messages == [
        "sampling: 200 of 1,000 bases  20 bases/s  40 s left",
        "sampling: 400 of 1,000 bases  20 bases/s  30 s left",
    ]


def test_a_short_run_logs_nothing_and_reopened_tokens_count_back(caplog):
    clock = _Clock()
    with caplog.at_level("INFO"), Progress("sampling", 10, "tokens", clock=clock) as progress:
        progress.advance(10)
        assert not caplog.records
        clock.now = 20.0
        progress.advance(-10)
    assert caplog.messages == ["sampling: 0 of 10 tokens  0 tokens/s  time unknown"]


def test_what_was_done_before_does_not_count_for_the_rate(caplog):
    clock = _Clock()
    with caplog.at_level("INFO"):
        progress = Progress("training", 100, "steps", first=50, clock=clock)
        clock.now = 10.0
        progress.move_to(60)
    assert caplog.messages == ["training: 60 of 100 steps  1 steps/s  40 s left"]


def test_a_slow_rate_and_a_long_time_are_in_figures_that_can_be_read(caplog):
    clock = _Clock()
    with caplog.at_level("INFO"):
        progress = Progress("training", 10_000, "steps", clock=clock)
        clock.now = 20.0
        progress.move_to(5)
    assert caplog.messages == ["training: 5 of 10,000 steps  0.25 steps/s  11 h left"]


def test_a_line_stays_above_the_bar(on_terminal, caplog):
    terminal = on_terminal()
    with caplog.at_level("INFO"), Progress("training", 10, "steps") as progress:
        progress.say("[a] line/1 of 10 h")
    assert "[a] line/1 of 10 h" in terminal.getvalue()
    assert not caplog.records


def test_a_line_is_logged_where_there_is_no_bar(caplog):
    with caplog.at_level("INFO"), Progress("training", 10, "steps") as progress:
        progress.say("[a] line/1 of 10 h")
    assert caplog.messages == ["[a] line/1 of 10 h"]


def test_a_report_is_logged_at_once_and_delays_the_next_line(caplog):
    clock = _Clock()
    with caplog.at_level("INFO"):
        progress = Progress("training", 100, "steps", clock=clock)
        clock.now = 9.0
        progress.report("loss 1", "step 9  loss 1")
        clock.now = 18.0
        progress.move_to(18)
        clock.now = 19.0
        progress.move_to(19)
    assert caplog.messages == [
        "step 9  loss 1",
        "training: 19 of 100 steps  1 steps/s  81 s left",
    ]


def test_a_terminal_gets_a_bar_and_no_log_lines(on_terminal, caplog):
    terminal = on_terminal()
    with caplog.at_level("INFO"), Progress("scoring", 1_000, "variants") as progress:
        progress.advance(600)
        progress.advance(-100)
        progress.report("llr 0.5", "a line")
    shown = terminal.getvalue()
    assert "scoring" in shown
    assert "500/1,000 variants" in shown
    assert "llr 0.5" in shown
    assert not caplog.records


def test_a_rank_whose_log_is_hidden_shows_no_bar(on_terminal, caplog):
    terminal = on_terminal()
    with caplog.at_level("ERROR", logger="dnamdlm.progress"), Progress("x", 2, "windows") as one:
        one.advance()
    assert terminal.getvalue() == ""


def test_code_that_counts_by_itself_gets_a_display_for_each_total(on_terminal):
    terminal = on_terminal()
    with watched("scoring", "windows") as watch:
        for total in (3, 5):
            for done in range(1, total + 1):
                watch(done, total)
    shown = terminal.getvalue()
    assert "3/3 windows" in shown
    assert "5/5 windows" in shown


def test_the_terminal_is_released_after_an_error(on_terminal):
    terminal = on_terminal()

    def fail():
        with watched("scoring", "windows") as watch:
            watch(1, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    hide, show = "\x1b[?25l", "\x1b[?25h"
    shown = terminal.getvalue()
    assert shown.count(hide) == shown.count(show) == 1
