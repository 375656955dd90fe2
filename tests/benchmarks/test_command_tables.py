"""How the tables of whole commands are made of runs."""

import time

import pytest

from benchmarks.command_times import Times, busy_neighbours, busy_seconds, seconds_of
from benchmarks.speed.contention import Run, rows_of, settings_of
from benchmarks.speed.reading import rows_of as rows_of_reading
from benchmarks.speed.reading import write_fasta
from benchmarks.speed.versions import rows_of as rows_of_versions
from dnamdlm.data.genome.store import prepare_genome


def test_a_ratio_is_taken_within_its_round():
    runs = [
        # the second round is three times as slow for both
        Run("idle", "train", "defaults", 0, Times(10.0, 9.0, 0.0)),
        Run("idle", "train", "1 thread", 0, Times(8.0, 7.0, 0.1)),
        Run("idle", "train", "1 thread", 1, Times(24.0, 8.0, 0.3)),
        Run("idle", "train", "defaults", 1, Times(27.0, 11.0, 0.2)),
        Run("1 busy", "train", "defaults", 0, Times(20.0, 9.0, 0.0)),
    ]
    assert rows_of(runs) == [
        ("idle", "train", "defaults", 18.5, 10.0, pytest.approx((10 / 8 + 27 / 24) / 2), 0.1),
        ("idle", "train", "1 thread", 16.0, 7.5, 1.0, 0.2),
        ("1 busy", "train", "defaults", 20.0, 9.0, 1.0, 0.0),
    ]


def test_versions_are_compared_pair_by_pair():
    # the second pair was taken on a machine three times as slow.
    pairs = [
        (Times(10.0, 8.0, 0.0), Times(9.0, 10.0, 0.25)),
        (Times(30.0, 8.0, 0.5), Times(33.0, 12.0, 0.0)),
    ]
    assert rows_of_versions({("train", "defaults"): pairs}) == [
        ("train", "defaults", 20.0, 21.0, 1.0, "0.90 to 1.10", 1.375, 0.375)
    ]


def test_the_settings_name_the_processors():
    assert [setting.name for setting in settings_of(4)] == [
        "defaults", "defaults, 1 process", "1 thread", "4 threads", "4 threads that spin",
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


def test_reading_is_compared_pair_by_pair():
    pairs = [
        ([1.0, 2.0, 4.0, 1.0, 8.0, 200.0, 9.0], [2.0, 1.0, 1.0, 1.0, 5.0, 210.0, 9.0]),
        ([3.0, 2.0, 8.0, 1.0, 14.0, 200.0, 9.0], [3.0, 1.0, 1.0, 2.0, 7.0, 190.0, 9.0]),
    ]
    rows = rows_of_reading({7: pairs})
    assert rows[0] == (7, "build the store", 2.0, 2.5, 1.5, "1.00 to 2.00", 2)
    assert rows[2] == (7, "splits and windows", 6.0, 1.0, 0.1875, "0.12 to 0.25", 2)
    assert rows[-2] == (7, "peak until the windows, MB", 200.0, 200.0, 1.0, "0.95 to 1.05", 2)


def test_the_simulated_genome_has_equal_records(tmp_path):
    write_fasta(tmp_path / "g.fa", 7, 1000)
    store = prepare_genome(tmp_path / "g.fa", cache_dir=tmp_path)
    assert list(store.lengths.values()) == [1000 // 7] * 7
    assert store.manifest["num_soft_masked"] == 7 * 14
