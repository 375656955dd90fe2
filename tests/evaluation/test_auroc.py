"""The area under the ROC curve against every pair of rows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.evaluation.auroc import auroc

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=20)


@given(rows=ROWS)
def test_the_area_is_the_share_of_pairs_in_order(rows):
    positive = [score for is_positive, score in rows if is_positive]
    negative = [score for is_positive, score in rows if not is_positive]
    found = auroc(np.array([flag for flag, _ in rows]), np.array([score for _, score in rows]))
    pairs = [(a > b) + (a == b) / 2 for a in positive for b in negative]
    if pairs:
        assert found == pytest.approx(sum(pairs) / len(pairs))
    else:
        assert math.isnan(found)
