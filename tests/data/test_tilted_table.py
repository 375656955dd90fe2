"""Tables of samples with rewards: the weight of each row, what is validated on, what is refused."""

import logging
import math

import numpy as np
import pytest

from dnamdlm.data.tasks.tilted_table import TiltedTable, mean_one
from dnamdlm.errors import ConfigError, DataError
from tests.data.test_measured_table import _shown, _write

RNG = np.random.default_rng(7)
# sixty sequences of eight bases, all different.
SEQUENCES = [
    "".join("ACGT"[number // 4**k % 4] for k in range(8)) for number in range(0, 60000, 1000)
]
REWARDS = RNG.normal(size=60).tolist()
RATIOS = RNG.normal(size=60).tolist()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    columns = {"name": [f"s{i}" for i in range(60)], "sequence": SEQUENCES,
               "reward": list(map(repr, REWARDS)), "ratio": list(map(repr, RATIOS))}  # fmt: skip
    return _write(tmp_path_factory.mktemp("samples") / "samples.tsv", columns)


def _settings(table, **changes):
    settings = {"reward": "reward", "temperature": 0.5, "length": 8, "valid_fraction": 0.4}
    return TiltedTable(str(table), cache_dir=str(table.parent / "cache"), **settings | changes)


def _expected(opened, split, *, with_ratio=False):
    """Sequence -> weight with mean 1 in its split, computed from the lists of this file."""
    rows = [int(item.chrom[4:]) - 1 for item in opened.splits[split]]
    weights = [math.exp(REWARDS[row] / 0.5 + with_ratio * RATIOS[row]) for row in rows]
    mean = sum(weights) / len(weights)
    return {SEQUENCES[row]: weight / mean for row, weight in zip(rows, weights, strict=True)}


@pytest.mark.parametrize("with_ratio", [False, True])
def test_each_training_row_has_the_weight_of_its_reward(table, with_ratio):
    opened = _settings(table, log_ratio="ratio" if with_ratio else None).open()
    expected = _expected(opened, "train", with_ratio=with_ratio)
    batch = opened.training_stream(0, len(expected)).batch(0)
    assert batch.label is None
    assert sorted(_shown(batch)) == sorted(expected)
    for text, row in zip(_shown(batch), batch.weight.tolist(), strict=True):
        # float32, and the same at each position.
        assert row == pytest.approx([expected[text]] * 8, rel=1e-6)
    assert batch.weight.mean().item() == pytest.approx(1.0, rel=1e-6)
    weights = np.array(list(expected.values()))
    size = weights.sum() ** 2 / (weights**2).sum()
    assert opened.effective_size == pytest.approx(size, rel=1e-12)
    assert opened.describe()["effective_size"] == opened.effective_size


def test_validation_rows_are_resampled_by_their_weights(table):
    opened = _settings(table).open()
    expected = _expected(opened, "valid")
    shown = [text for batch in opened.evaluation_windows("valid").batches(5)
             for text in _shown(batch)]  # fmt: skip
    assert len(shown) == len(expected)
    for text, weight in expected.items():
        # weights of mean 1 are expected numbers of copies.
        assert math.floor(weight - 1e-9) <= shown.count(text) <= math.ceil(weight + 1e-9)


def test_temperature_rewards_and_ratios_decide_the_fingerprint(table):
    prints = {_settings(table, **changes).open().fingerprint()
              for changes in ({}, {"temperature": 1.0}, {"log_ratio": "ratio"}, {"reward": "ratio"})
              }  # fmt: skip
    assert len(prints) == 4


def test_few_effective_samples_are_warned_of(table, caplog):
    with caplog.at_level(logging.WARNING):
        _settings(table, temperature=0.01).open()
    assert "leaves the weight to few samples (worth 1." in caplog.text


def test_weights_do_not_overflow():
    found = mean_one(np.array([1e4, 1e4 - math.log(2), -1e4]))
    np.testing.assert_allclose(found, [2.0, 1.0, 0.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"temperature": 0.0}, ConfigError, "data.temperature=0.0 must be above 0"),
        ({"temperature": math.inf}, ConfigError, "must be above 0"),
        ({"temperature": 1e-320}, ConfigError, r"makes reward / temperature infinite for row 1"),
        (
            {"reward": "rewrd"},
            DataError,
            r"data.reward: there is no column 'rewrd' .*did you mean reward",
        ),
        ({"log_ratio": "rati"}, DataError, r"data.log_ratio: there is no column 'rati'"),
        ({"reward": "name"}, DataError, "data.reward: row 1 of .* as 'name'; give a number"),
        ({"length": 6}, DataError, r"use data\.length=8"),
    ],
)
def test_what_cannot_weigh_is_one_sentence(table, changes, error, message):
    with pytest.raises(error, match=message) as found:
        _settings(table, **changes).open()
    assert "\n" not in str(found.value)


def test_a_sample_without_a_reward_is_refused(tmp_path):
    path = _write(tmp_path / "x.tsv", {"sequence": ["ACGT", "GGCC"], "reward": ["1", ""]})
    with pytest.raises(DataError, match=r"row 2 of .* has no reward"):
        TiltedTable(str(path), "reward", 1.0, 4, cache_dir=str(tmp_path)).open()
