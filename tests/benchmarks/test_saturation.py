"""Scores of every exchange of an element: influences of elements that are longer than a window."""

import numpy as np
import pytest

from benchmarks.labelled_variants import LabelledVariants
from benchmarks.quality.saturation import correlations, influences
from dnamdlm.assembly.interpret.interpret_settings import HowToInterpret
from dnamdlm.assembly.interpreting import interpret_places
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from tests.helpers.scored_models import random_model


def exchanges(*rows):
    chrom, pos, ref, alt = map(np.array, zip(*rows, strict=True))
    return LabelledVariants(chrom, pos, ref, alt, pos > 0, None, None, {})


def test_an_exchange_has_the_influence_that_interpret_gives_in_its_piece(tmp_path):
    loaded = random_model("config=tiny", "data.length=16")
    short, long = "ACGTTGCAGT", "GATTACAGGCATCCGTTAGACTACG"
    (tmp_path / "e.fa").write_text(f">short\n{short}\n>long\n{long}\n")
    store = prepare_genome(tmp_path / "e.fa", cache_dir=tmp_path / "cache")
    rows = exchanges(
        ("long", 1, "G", "C"), ("short", 10, "T", "A"), ("long", 13, "C", "T"),
        ("long", 25, "G", "A"), ("short", 2, "C", "G"),
    )  # fmt: skip
    found = influences(rows, loaded, store, stride=4)
    how = HowToInterpret(parts=("dependency",), stride=4)
    pieces = [Interval("short", 0, 10), Interval("long", 0, 12), Interval("long", 12, 25)]
    maps = [
        done.dependency.influences
        for done in interpret_places(loaded, store, pieces, how)
        if done.dependency is not None
    ]
    expected = [maps[1][0, 1], maps[0][9, 0], maps[2][0, 3], maps[2][12, 0], maps[0][1, 2]]
    assert found.tolist() == expected
    assert min(found) > 0
    assert len(set(found)) == 5
    assert influences(rows, loaded, store, stride=16)[0] != pytest.approx(found[0], rel=1e-6)


def test_a_constant_has_no_correlation_and_a_score_has_that_of_its_ranks():
    elements = np.array(["b", "a", "a", "a", "b", "b"])
    effects = np.array([1.0, 1.0, 2.0, 4.0, 2.0, 3.0])
    scores = {"falling": -(effects**3), "constant": np.zeros(6)}
    first, second, mean = correlations(elements, effects, scores)
    assert first == ("a", 3, "-1.000", "-")
    assert second == ("b", 3, "-1.000", "-")
    assert mean == ("mean", 6, "-1.000 (-1.000 to -1.000)", "-")
