"""Nearest stretches of a small genome, and copies that are flagged."""

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.evaluation.samples.nearest import is_memorised, minimizers, nearest_stretches
from dnamdlm.tokens.nucleotide import reverse_complement


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nearest")
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("ACGT"), 20_000))
    path = folder / "genome.fa"
    path.write_text(f">a\n{text[:12_000]}\n>b\n{text[12_000:]}\n")
    return prepare_genome(path, cache_dir=folder / "cache")


def everywhere(store):
    return [Interval(name, 0, size) for name, size in store.lengths.items()]


def changed(codes, every):
    other = codes.copy()
    other[::every] = (other[::every] + 1) % 4
    return other


def test_an_exact_copy_has_identity_one_at_its_place(store):
    codes = store.fetch(Interval("b", 3000, 3300)).copy()
    (near,) = nearest_stretches([codes], store, everywhere(store))
    assert (near.identity, near.chrom, near.strand) == (1.0, "b", "+")
    assert near.start == 3000 - 32


def test_a_copy_of_the_other_strand_is_found(store):
    codes = reverse_complement(store.fetch(Interval("a", 500, 800)).copy())
    (near,) = nearest_stretches([codes], store, everywhere(store))
    assert (near.identity, near.chrom, near.strand) == (1.0, "a", "-")


def test_identity_counts_exchanged_and_lost_bases(store):
    codes = changed(store.fetch(Interval("a", 4000, 4400)).copy(), 40)
    (near,) = nearest_stretches([codes], store, everywhere(store))
    assert near.identity == pytest.approx(1 - 10 / 400)
    shorter = np.delete(store.fetch(Interval("a", 4000, 4400)).copy(), [100, 300])
    (near,) = nearest_stretches([shorter], store, everywhere(store))
    assert near.identity == pytest.approx(1 - 2 / 398)


def test_a_stranger_has_no_nearest_stretch(store):
    codes = np.random.default_rng(9).integers(0, 4, 300).astype(np.uint8)
    (near,) = nearest_stretches([codes], store, everywhere(store))
    assert (near.identity, near.chrom) == (0.0, "")


def test_only_the_intervals_are_searched(store):
    codes = store.fetch(Interval("b", 3000, 3300)).copy()
    (near,) = nearest_stretches([codes], store, [Interval("a", 0, 12_000)])
    assert near.identity == 0.0


def test_short_sequence_has_no_minimizer():
    assert len(minimizers(np.zeros(10, np.uint8))) == 0


@pytest.mark.parametrize(
    ("identity", "match", "expected"),
    [(0.95, 20, True), (0.5, 150, True), (0.5, 149, False), (0.0, 0, False)],
)
def test_identity_or_a_long_match_make_a_copy(identity, match, expected):
    assert is_memorised(identity, match, 300) is expected
