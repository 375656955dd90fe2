"""How the table of contention is made of runs."""

import time

import pytest

from benchmarks.speed.contention import (
    Run,
    busy_neighbours,
    busy_seconds,
    rows_of,
    seconds_of,
    settings_of,
)


def test_a_ratio_is_taken_within_its_round():
    runs = [
        # the second round is three times as slow for both
        Run("idle", "train", "defaults", 0, 10.0, 9.0, 0.0),
        Run("idle", "train", "1 thread", 0, 8.0, 7.0, 0.1),
        Run("idle", "train", "1 thread", 1, 24.0, 8.0, 0.3),
        Run("idle", "train", "defaults", 1, 27.0, 11.0, 0.2),
        Run("1 busy", "train", "defaults", 0, 20.0, 9.0, 0.0),
    ]
    assert rows_of(runs) == [
        ("idle", "train", "defaults", 18.5, 10.0, pytest.approx((10 / 8 + 27 / 24) / 2), 0.1),
        ("idle", "train", "1 thread", 16.0, 7.5, 1.0, 0.2),
        ("1 busy", "train", "defaults", 20.0, 9.0, 1.0, 0.0),
    ]


def test_the_settings_name_the_processors():
    assert [setting.name for setting in settings_of(4)] == [
        "defaults", "1 thread", "4 threads", "4 threads that spin",
    ]  # fmt: skip


def test_a_neighbour_works_and_is_gone_afterwards():
    before = busy_seconds()
    with busy_neighbours(1) as (neighbour,):
        deadline = time.monotonic() + 60
        while seconds_of(neighbour) < 0.3 and time.monotonic() < deadline:
            time.sleep(0.01)
        used = seconds_of(neighbour)
    assert used >= 0.3
    # clock ticks of a hundredth of a second
    assert busy_seconds() - before >= used - 0.05
    assert neighbour.poll() is not None
