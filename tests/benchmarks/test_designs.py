"""Rows in halves, and mutation that stays within what natural sequences are."""

import numpy as np
import pytest

from benchmarks.design_rows import NaturalReward, climbed, read_halves
from benchmarks.measured_rows import RowSettings
from benchmarks.quality.designs import table_rows
from dnamdlm.errors import DataError
from dnamdlm.rewards import CountedReward, FunctionReward
from dnamdlm.rewards.mutation import mutated

PARENTS = ["ACGTACGTAC", "AAAAAAAAAA", "TTTTTTTTTT", "CCAATTAATT"]


def strong(texts):
    return [float(text.count("G") + text.count("C")) for text in texts]


def bits(texts):
    """Above 1 where more than half of the bases are C."""
    return np.array([text.count("C") / (len(text) / 2) for text in texts])


def test_rows_are_halved_by_regions_without_near_copies(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 44)) for _ in range(260)]
    # the copy of row 0 lies in the other half.
    texts[1] = texts[0][:4] + texts[0][4:-1] + "ACGT"[("ACGT".index(texts[0][-1]) + 1) % 4]
    lines = [f"{text}\t{row - 5}\t{row * 50}" for row, text in enumerate(texts)]
    lines += ["ACGT\t1\t0", f"{texts[5]}\t9\t.", f"{texts[4]}\t1\t0"]
    path = tmp_path / "t.tsv"
    path.write_text("\n".join(["sequence\tvalue\tstart", *lines]) + "\n")
    settings = RowSettings("value", 4, 40, 44, log=True, place="start", region=50)
    found = read_halves(path, settings)
    assert found.design.texts == [text[4:] for text in texts[::2]]
    assert found.audit.texts == [text[4:] for text in texts[3::2]]
    np.testing.assert_allclose(
        found.audit.values, np.log1p(np.maximum(np.arange(3, 260, 2) - 5, 0)), rtol=1e-12
    )
    assert list(found.left_out.values()) == [1, 1, 1, 1]
    with pytest.raises(DataError, match="has no column other"):
        read_halves(path, RowSettings("other", 0, 44, 44))
    with pytest.raises(DataError, match="each half needs 100"):
        read_halves(path, RowSettings("value", 0, 30, 30))


def test_mutation_within_naturalness_is_mutation_without_what_is_refused():
    def refusing(texts):
        return np.where(bits(texts) <= 1, strong(texts), -1e9)

    within = NaturalReward(FunctionReward(strong, "n"), bits, 1.0, len(PARENTS))
    found = mutated(PARENTS, within, calls=400, seed=2)[0]
    expected = mutated(PARENTS, FunctionReward(refusing, "n"), calls=400, seed=2)[0]
    assert found == expected
    assert (bits(found) <= 1).all()
    assert np.mean(strong(found)) > np.mean(strong(PARENTS)) + 3
    # most children are worse than what is kept, and their bits do not count.
    assert within.asked < 200


def test_lines_climb_by_themselves_and_stay_natural():
    counted = CountedReward(FunctionReward(strong, "n"))
    found = climbed(PARENTS, counted, bits, 1.0, calls=402, seed=2)
    assert found.rewards == counted.sequences == 400
    assert (bits(found.texts) <= 1).all()
    assert (np.array(strong(found.texts)) >= strong(PARENTS)).all()
    assert np.mean(strong(found.texts)) > np.mean(strong(PARENTS)) + 3
    assert 0 < found.asked < 400


def test_a_cell_is_the_mean_and_the_deviation_over_seeds():
    seeds = [
        {"rows": [{"name": "way", "reward_mean": value, "network_calls": 10, "seconds": value}]}
        for value in (1.0, 2.0, 3.0)
    ]
    (row,) = table_rows(seeds)
    assert row[:2] == ("way", "2.000 +- 1.000")
    assert row[-3:] == ("10", None, "2")
    assert row[2] is None
