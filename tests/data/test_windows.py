"""Windows: brute-force arithmetic, invariance to the way a batch is shared out, and coverage."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnamdlm.data.genome.genome_rows import GenomeRows
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.genome.windows import SplitWindows, WindowSet
from dnamdlm.data.stream import Sweep, TrainingStream
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError, DataError

IDS = {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}


def training_stream(windows, *, global_batch_size, **settings):
    return TrainingStream(GenomeRows(windows, **settings), global_batch_size)


def evaluation_windows(store, intervals, length, *, seed=0, limit=None):
    return Sweep.over(SplitWindows(store, intervals, length), seed=seed, limit=limit)


def random_records(seed=0):
    rng = np.random.default_rng(seed)
    records = {
        name: "".join(rng.choice(list("ACGTacgt"), size))
        for name, size in (("a", 400), ("b", 130), ("c", 9))
    }
    records["a"] = records["a"][:100] + "N" * 60 + records["a"][160:]
    return records


@pytest.fixture(scope="module")
def records():
    return random_records()


@pytest.fixture(scope="module")
def store(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    path = folder / "genome.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    return prepare_genome(path, cache_dir=folder / "cache")


@pytest.fixture(scope="module")
def whole(records):
    return "".join(records.values())


INTERVALS = (
    Interval("a", 5, 400),
    Interval("b", 0, 97),
    Interval("b", 100, 130),
    Interval("c", 0, 9),
)


def assert_equal_batches(first, second):
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


def concatenate(batches):
    names = ("tokens", "present", "valid", "weight", "key", "row", "start")
    return {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}


def test_the_grid_covers_every_interval_that_is_long_enough(store):
    windows = WindowSet(store, INTERVALS, 32, max_n_fraction=0.99)
    starts = windows.starts(np.arange(len(windows)))
    expected = []
    for interval in INTERVALS[:2]:
        low, high = store.span(interval)
        tiles = list(range(low, high - 31, 32))
        expected += tiles if tiles[-1] + 32 == high else [*tiles, high - 32]
    is_n = (store.codes & 7) == 4
    kept = [s for s in expected if is_n[s : s + 32].sum() <= int(0.99 * 32)]
    assert starts.tolist() == kept
    assert windows.num_too_short == 2
    assert windows.num_rich_in_n == len(expected) - len(kept) > 0


def test_windows_longer_than_every_interval_are_refused_with_both_numbers(store):
    with pytest.raises(DataError, match=r"data.length=500 is longer .* has 395 bp"):
        WindowSet(store, INTERVALS, 500)


def test_a_split_of_n_only_is_refused(store):
    only_n = (Interval("a", 110, 150),)
    with pytest.raises(DataError, match="all 2 windows of 20 bp have more than 50% N"):
        WindowSet(store, only_n, 20)
    with pytest.raises(DataError, match="has no A, C, G or T"):
        evaluation_windows(store, only_n, 20)


def test_a_training_row_is_the_stretch_of_the_genome_that_it_names(store, whole):
    stream = training_stream(WindowSet(store, INTERVALS, 32), seed=4, global_batch_size=64)
    turned = 0
    for step in range(5):
        batch = stream.batch(step)
        for row in range(64):
            start = int(batch.start[row])
            text = whole[start : start + 32].upper()
            forward = [IDS[s] for s in text]
            reverse = [IDS[COMPLEMENT[s]] for s in reversed(text)]
            tokens = batch.tokens[row].tolist()
            assert tokens in (forward, reverse)
            turned += tokens == reverse
            assert batch.valid[row].tolist() == [token != IDS["N"] for token in tokens]
        assert batch.present.all()
        assert batch.weight is None
        assert batch.global_size == 64
        assert batch.row.tolist() == list(range(64))
        assert torch.equal(batch.key, row_keys(4, torch.arange(64) + 64 * step))
    # 320 fair coins.
    assert 110 < turned < 210


def test_without_augmentation_an_epoch_is_the_grid(store):
    windows = WindowSet(store, INTERVALS, 32)
    stream = training_stream(
        windows, seed=4, global_batch_size=len(windows), jitter=False, reverse_complement=False
    )
    for step in (0, 3):
        starts = sorted(stream.batch(step).start.tolist())
        assert starts == windows.starts(np.arange(len(windows))).tolist()


@pytest.mark.parametrize("length", [1, 2, 31, 32])
def test_jitter_stays_in_its_interval_and_keeps_the_n_policy(store, length):
    windows = WindowSet(store, INTERVALS, length, max_n_fraction=0.25)
    stream = training_stream(windows, seed=1, global_batch_size=500)
    spans = [store.span(interval) for interval in INTERVALS]
    is_n = (store.codes & 7) == 4
    seen = set()
    for step in range(4):
        for start in stream.batch(step).start.tolist():
            assert any(low <= start and start + length <= high for low, high in spans)
            assert is_n[start : start + length].sum() <= 0.25 * length
            seen.add(start)
    if length > 1:
        assert len(seen) > len(windows)


def test_jitter_reaches_every_position(store):
    stream = training_stream(
        WindowSet(store, (Interval("b", 0, 97),), 16), seed=1, global_batch_size=999
    )
    low, high = store.span(Interval("b", 0, 97))
    seen = {start for step in range(4) for start in stream.batch(step).start.tolist()}
    assert seen == set(range(low, high - 15))


def test_shifts_are_uniform_centred_and_unrelated_to_the_strand(tmp_path):
    text = "".join(np.random.default_rng(3).choice(list("ACGT"), 1600))
    (tmp_path / "genome.fa").write_text(f">a\n{text}\n")
    store = prepare_genome(tmp_path / "genome.fa", cache_dir=tmp_path / "cache")
    windows = WindowSet(store, (Interval("a", 0, 1600),), 16)
    size = 40 * len(windows)
    moved = TrainingStream(GenomeRows(windows, seed=5), size).batch(0)
    grid = TrainingStream(GenomeRows(windows, seed=5, jitter=False), size).batch(0)
    # the shifts of the first and of the last window are cut off at the ends of the interval.
    inside = (grid.start > 0) & (grid.start < 1600 - 16)
    shift = (moved.start - grid.start)[inside]
    ids = torch.tensor([IDS[base] for base in text]).unfold(0, 16, 1)
    is_forward = (moved.tokens == ids[moved.start]).all(dim=1)[inside]
    count = len(shift)
    observed = torch.bincount(shift + 8, minlength=17).double()
    assert len(observed) == 17
    # 16 degrees of freedom: 39.3 is the 0.999 quantile.
    assert ((observed - count / 17) ** 2 / (count / 17)).sum() < 39.3
    # 4 standard errors; 17 equally likely shifts have the variance (17^2 - 1) / 12 = 24.
    assert abs(shift.double().mean()) < 4 * (24 / count) ** 0.5
    correlation = torch.corrcoef(torch.stack([shift.double(), is_forward.double()]))[0, 1]
    assert abs(correlation) < 4 / count**0.5


@pytest.mark.parametrize("max_n_fraction", [0.0, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("length", [1, 2, 31, 60])
def test_every_training_row_has_a_base_to_predict_and_no_n_is_one(store, length, max_n_fraction):
    windows = WindowSet(store, INTERVALS, length, max_n_fraction=max_n_fraction)
    stream = training_stream(windows, seed=2, global_batch_size=300, soft_mask_weight=0.1)
    for step in range(3):
        batch = stream.batch(step)
        assert batch.valid.any(dim=1).all()
        assert not batch.valid[batch.tokens == IDS["N"]].any()
        # a batch of repeats alone still has targets.
        assert (batch.weight > 0).all()


def test_jitter_is_the_same_whenever_it_is_drawn(store):
    def starts(step):
        windows = WindowSet(store, INTERVALS, 16)
        return training_stream(windows, seed=3, global_batch_size=50).batch(step).start.tolist()

    assert starts(7) == starts(7) != starts(8)


@pytest.mark.parametrize(("world_size", "num_micro_steps"), [(2, 1), (1, 4), (3, 2), (6, 4)])
def test_sharing_out_a_batch_changes_nothing(store, world_size, num_micro_steps):
    stream = training_stream(
        WindowSet(store, INTERVALS, 32), seed=4, global_batch_size=24, soft_mask_weight=0.1
    )
    parts = [
        stream.batch(
            7,
            rank=rank,
            world_size=world_size,
            micro_step=micro_step,
            num_micro_steps=num_micro_steps,
        )
        for rank in range(world_size)
        for micro_step in range(num_micro_steps)
    ]
    together, alone = concatenate(parts), concatenate([stream.batch(7)])
    for name, tensor in alone.items():
        assert torch.equal(tensor, together[name]), name


def test_a_new_stream_gives_the_same_batch_at_any_step(store):
    def stream():
        return training_stream(WindowSet(store, INTERVALS, 32), seed=4, global_batch_size=16)

    first = stream()
    for step in range(9):
        first.batch(step)
    assert_equal_batches(first.batch(9), stream().batch(9))


@pytest.mark.parametrize("global_batch_size", [24, 5000])
def test_a_row_depends_on_its_position_only(store, global_batch_size):
    windows = WindowSet(store, INTERVALS, 32)
    together = training_stream(windows, seed=4, global_batch_size=global_batch_size)
    alone = training_stream(windows, seed=4, global_batch_size=1)
    for position in (0, 4095, 4096, 12_287, 12_288, 100_000, 3):
        step, row = divmod(position, global_batch_size)
        batch, single = together.batch(step), alone.batch(position)
        for name in ("tokens", "valid", "key", "start"):
            assert torch.equal(getattr(batch, name)[row], getattr(single, name)[0]), name


def test_a_batch_that_cannot_be_shared_is_refused(store):
    stream = training_stream(WindowSet(store, INTERVALS, 32), seed=4, global_batch_size=10)
    with pytest.raises(ConfigError, match=r"a global batch of 10 .* use a multiple of 4"):
        stream.batch(0, world_size=2, num_micro_steps=2)
    with pytest.raises(ConfigError, match="at least 1"):
        training_stream(WindowSet(store, INTERVALS, 32), seed=4, global_batch_size=0)


def test_soft_masked_bases_have_the_weight_that_was_set(store, whole):
    stream = training_stream(
        WindowSet(store, INTERVALS, 32), seed=4, global_batch_size=64, soft_mask_weight=0.25
    )
    batch = stream.batch(0)
    for row in range(64):
        start = int(batch.start[row])
        text = whole[start : start + 32]
        weights = [0.25 if s.islower() else 1.0 for s in text]
        is_forward = batch.tokens[row].tolist() == [IDS[s.upper()] for s in text]
        assert batch.weight[row].tolist() == (weights if is_forward else weights[::-1])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(length=st.integers(1, 500), batch_size=st.integers(1, 40))
def test_evaluation_sees_every_scorable_base_exactly_once(store, whole, length, batch_size):
    windows = evaluation_windows(store, INTERVALS, length, seed=3)
    counts = np.zeros(len(whole), dtype=int)
    num_rows = 0
    for batch in windows.batches(batch_size):
        num_rows += len(batch)
        assert batch.length == length
        assert len(batch) <= batch_size
        for row in range(len(batch)):
            size = int(batch.present[row].sum())
            start = int(batch.start[row])
            text = whole[start : start + size].upper()
            assert batch.tokens[row, :size].tolist() == [IDS[s] for s in text]
            assert (batch.tokens[row, size:] == 4).all()
            assert not batch.valid[row, size:].any()
            assert batch.present[row, :size].all()
            counts[start : start + size] += batch.valid[row, :size].numpy()
    expected = np.zeros(len(whole), dtype=int)
    for interval in INTERVALS:
        low, high = store.span(interval)
        expected[low:high] = [s not in "Nn" for s in whole[low:high]]
    assert counts.tolist() == expected.tolist()
    assert num_rows == len(windows)


def test_evaluation_rows_do_not_depend_on_the_batch_size(store):
    windows = evaluation_windows(store, INTERVALS, 32, seed=3)

    def rows(batch_size):
        return [
            (int(b.key[i]), int(b.row[i]), int(b.start[i]), b.tokens[i].tolist())
            for b in windows.batches(batch_size)
            for i in range(len(b))
        ]

    assert rows(1) == rows(5) == rows(1000)
    assert sorted(row for _, row, _, _ in rows(4)) == list(range(len(windows)))
    assert {b.global_size for b in windows.batches(4)} == {len(windows)}


def test_a_limit_takes_windows_spread_evenly_with_the_same_keys(store):
    every = next(evaluation_windows(store, INTERVALS, 16, seed=3).batches(1000))
    some = next(evaluation_windows(store, INTERVALS, 16, seed=3, limit=5).batches(1000))
    places = [every.start.tolist().index(start) for start in some.start.tolist()]
    assert places == [i * len(every) // 5 for i in range(5)]
    assert some.key.tolist() == [int(every.key[place]) for place in places]
    assert some.global_size == 5
    with pytest.raises(ConfigError, match="at least 1"):
        evaluation_windows(store, INTERVALS, 16, limit=0)
    with pytest.raises(ConfigError, match="batch size"):
        next(evaluation_windows(store, INTERVALS, 16).batches(0))


CIRCULAR = (Interval("a", 0, 400), Interval("b", 0, 130), Interval("c", 0, 9))


@pytest.mark.parametrize("length", [7, 32, 130])
def test_windows_go_round_the_origin_of_a_circular_record(store, records, length):
    circle = store.with_circular(["b"])
    windows = WindowSet(circle, CIRCULAR, length)
    low, high = circle.span(CIRCULAR[1])
    grid = [
        start for start in windows.starts(np.arange(len(windows))).tolist() if low <= start < high
    ]
    # no tile is moved back, since the last one goes on with the first bases.
    assert grid == list(range(low, high, length))
    stream = training_stream(windows, seed=3, global_batch_size=500)
    doubled = (records["b"] * 3).upper()
    seen = set()
    # some twenty draws for each of the 130 places.
    for step in range(20):
        batch = stream.batch(step)
        for row, start in enumerate(batch.start.tolist()):
            if low <= start < high:
                text = doubled[start - low : start - low + length]
                forward = [IDS[s] for s in text]
                reverse = [IDS[COMPLEMENT[s]] for s in reversed(text)]
                assert batch.tokens[row].tolist() in (forward, reverse)
                seen.add(start - low)
            else:
                # other records have ends still.
                first, last = circle.span(CIRCULAR[0] if start < low else CIRCULAR[2])
                assert first <= start <= last - length
    assert seen == set(range(130))


def test_n_count_round_the_origin(tmp_path):
    (tmp_path / "n.fa").write_text(">x\nACGTACGTAC\n>m\nNNNNNGTACGTACGTACNNNN\n")
    circle = prepare_genome(tmp_path / "n.fa", cache_dir=tmp_path / "cache").with_circular(["m"])
    windows = WindowSet(circle, [Interval("m", 0, 21)], 6, max_n_fraction=0.5)
    text = "NNNNNGTACGTACGTACNNNN" * 2
    expected = [10 + s for s in range(0, 21, 6) if text[s : s + 6].count("N") <= 3]
    assert windows.starts(np.arange(len(windows))).tolist() == expected
    starts = np.arange(10, 31)
    allowed = windows.allowed(starts, starts + 6)
    assert allowed.tolist() == [text[s : s + 6].count("N") <= 3 for s in range(21)]


def test_a_circular_record_without_its_origin_is_cut_like_others(store):
    circle = store.with_circular(["b"])
    parts = (Interval("b", 0, 97), Interval("b", 100, 130))
    ours, theirs = WindowSet(circle, parts, 32), WindowSet(store, parts, 32)
    items = np.arange(len(theirs))
    np.testing.assert_array_equal(ours.starts(items, items * 7), theirs.starts(items, items * 7))


def test_evaluation_scores_each_base_of_a_circle_once(store):
    circle = store.with_circular(["b"])
    for ours, theirs in zip(
        evaluation_windows(circle, CIRCULAR, 32).batches(9),
        evaluation_windows(store, CIRCULAR, 32).batches(9),
        strict=True,
    ):
        assert_equal_batches(ours, theirs)
