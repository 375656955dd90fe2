"""The lead of one predictor over another on the same rows."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from benchmarks.paired_predictions import lead
from dnamdlm.errors import DataError


def split(folder, name, targets, values):
    path = folder / name
    path.mkdir()
    lines = [f"row_{n}\t{t}\t0\t{v}" for n, (t, v) in enumerate(zip(targets, values, strict=True))]
    text = "\n".join(["name\ttarget\tin_train\tvalue_activity", *lines])
    (path / "predictions.tsv").write_text(text + "\n")
    return path


def test_the_lead_is_the_difference_of_correlations_with_a_paired_interval(tmp_path):
    rng = np.random.default_rng(0)
    targets = rng.normal(size=500)
    noise = rng.normal(size=500)
    good, worse = targets + noise, targets + 1.2 * noise
    first, second = (split(tmp_path, n, targets, v) for n, v in (("a", good), ("b", worse)))
    ahead = lead(first, second, "activity")
    wanted = pearsonr(targets, good)[0] - pearsonr(targets, worse)[0]
    assert ahead.value == pytest.approx(wanted, abs=1e-12)
    # both err alike, so that the difference is known far better than either correlation.
    assert 0 < ahead.low < ahead.value < ahead.high
    assert ahead.high - ahead.low < 0.05
    other = lead(second, first, "activity")
    assert other.value == pytest.approx(-ahead.value, abs=1e-12)
    assert lead(first, first, "activity").high == 0
    short = split(tmp_path, "c", targets[1:], good[1:])
    with pytest.raises(DataError, match="other test rows"):
        lead(first, short, "activity")
