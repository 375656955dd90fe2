"""The batch of a step and the sweep of an evaluation, on rows of plain numbers."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.data.batch import Batch
from dnamdlm.data.stream import Sweep, TrainingStream
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError


def batch_of(tokens, keys, rows, size):
    tokens = torch.from_numpy(tokens)[:, None]
    present = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(
        tokens, present, present, None, torch.from_numpy(keys), torch.from_numpy(rows), size,
        start=tokens[:, 0],
    )  # fmt: skip


@dataclass
class Positions:
    """A row shows its position; positions that were asked for are kept."""

    asked: list = field(default_factory=list)

    def at(self, positions, rows, size):
        self.asked += positions.tolist()
        return batch_of(positions, positions, rows, size)


@dataclass(frozen=True)
class Numbers:
    """Window i shows i."""

    count: int
    length: int = 1

    def __len__(self):
        return self.count

    def batch(self, items, keys, rows, size):
        return batch_of(items, keys, rows, size)


@given(
    step=st.integers(0, 10**12), ranks=st.integers(1, 4), micro=st.integers(1, 4),
    share=st.integers(1, 5),
)  # fmt: skip
def test_each_position_is_read_once_by_one_rank_in_one_micro_step(step, ranks, micro, share):
    size = ranks * micro * share
    stream = TrainingStream(Positions(), size)
    parts = [
        stream.batch(step, rank=r, world_size=ranks, micro_step=m, num_micro_steps=micro)
        for r in range(ranks)
        for m in range(micro)
    ]
    assert stream.source.asked == list(range(step * size, (step + 1) * size))
    assert torch.cat([part.row for part in parts]).tolist() == list(range(size))
    assert {part.global_size for part in parts} == {size}


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ConfigError, match=r"a global batch of 10 .* use a multiple of 4"):
        TrainingStream(Positions(), 10).batch(0, world_size=2, num_micro_steps=2)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        TrainingStream(Positions(), 0)


@given(count=st.integers(1, 60), limit=st.integers(1, 80), batch_size=st.integers(1, 70))
def test_a_sweep_reads_evenly_spread_windows_in_order(count, limit, batch_size):
    sweep = Sweep.over(Numbers(count), seed=3, limit=limit)
    batches = list(sweep.batches(batch_size))
    used = min(count, limit)
    items = [i * count // used for i in range(used)]
    assert torch.cat([batch.tokens[:, 0] for batch in batches]).tolist() == items
    assert torch.cat([batch.key for batch in batches]).tolist() == (
        row_keys(3, torch.tensor(items)).tolist()
    )
    assert sorted(torch.cat([batch.row for batch in batches]).tolist()) == list(range(used))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(sweep) == used


def test_joined_sweeps_keep_their_keys_and_share_the_row_numbers():
    sweeps = [Sweep.over(Numbers(5), seed=1), Sweep.over(Numbers(9), seed=2, limit=4)]
    joined = Sweep.joined(sweeps, [0, 100], seed=7)
    batches = list(joined.batches(3))
    # no batch holds windows of both.
    assert [len(batch) for batch in batches] == [3, 2, 3, 1]
    alone = [batch for sweep in sweeps for batch in sweep.batches(3)]
    for name in ("tokens", "key"):
        together = torch.cat([getattr(batch, name) for batch in batches])
        assert torch.equal(together, torch.cat([getattr(batch, name) for batch in alone]))
    starts = torch.cat([batch.start for batch in batches]).tolist()
    assert starts == [0, 1, 2, 3, 4, 100, 102, 104, 106]
    assert sorted(torch.cat([batch.row for batch in batches]).tolist()) == list(range(9))
    assert {batch.global_size for batch in batches} == {9} == {len(joined)}


def test_row_numbers_are_not_in_the_order_of_the_genome():
    rows = next(Sweep.over(Numbers(1000), seed=0).batches(1000)).row.numpy()
    # a random permutation has a rank correlation of 0 with a deviation of 1 / sqrt(999).
    assert abs(np.corrcoef(rows, np.arange(1000))[0, 1]) < 4 / 999**0.5


@pytest.mark.parametrize(("limit", "batch_size"), [(0, 1), (None, 0)])
def test_impossible_sizes_are_refused(limit, batch_size):
    with pytest.raises(ConfigError, match="must be at least 1, got 0"):
        next(Sweep.over(Numbers(3), limit=limit).batches(batch_size))


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=3), size=st.integers(1, 4),
    chosen=st.sets(st.integers(0, 20)),
)  # fmt: skip
def test_chosen_batches_of_a_sweep_are_those_of_all(counts, size, chosen):
    parts = [Sweep.over(Numbers(count), seed=number) for number, count in enumerate(counts)]
    sweep = Sweep.joined(parts, [100 * number for number in range(len(counts))], 5)
    every = list(sweep.batches(size))
    assert sweep.num_batches(size) == len(every)
    found = list(sweep.batches(size, chosen=chosen))
    expected = [batch for number, batch in enumerate(every) if number in chosen]
    assert len(found) == len(expected)
    for own, batch in zip(found, expected, strict=True):
        for name in ("tokens", "start", "key", "row"):
            assert torch.equal(getattr(own, name), getattr(batch, name))
