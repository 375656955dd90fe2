"""`variants=all`: every substitution within intervals, once, in order."""

import pytest

from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.all_substitutions import AllSubstitutions
from dnamdlm.data.variants.variant_places import Places, check_variants
from dnamdlm.errors import DataError


@pytest.fixture
def store(tmp_path):
    (tmp_path / "g.fa").write_text(f">b\nACgNTRA\n>a\n{'ACGT' * 2000}\n")
    return prepare_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")


def substitutions(tmp_path, store, text):
    (tmp_path / "i.bed").write_text(text)
    return AllSubstitutions(tmp_path / "i.bed", store)


def test_each_base_has_a_row_with_the_three_others(tmp_path, store):
    found = substitutions(tmp_path, store, "b\t1\t6\tx\t0\t-\n")
    assert [(row.chrom, row.start, row.ref, row.alts) for row in found.rows()] == [
        ("b", 1, "C", ("A", "G", "T")),
        ("b", 2, "G", ("A", "C", "T")),
        # N and R are no bases that could be exchanged.
        ("b", 4, "T", ("A", "C", "G")),
    ]
    counts = check_variants(found, Places(store))
    assert (counts.rows, counts.alleles, dict(counts.reasons)) == (3, 9, {})
    assert [row.fields[1] for row in found.rows()] == ["2", "3", "5"]


def test_intervals_are_joined_in_the_order_of_the_genome(tmp_path, store):
    found = substitutions(tmp_path, store, "a\t3\t6\na\t0\t2\na\t5\t9000\nb\t0\t1\n".replace(
        "9000", "8000"))  # fmt: skip
    places = [(row.chrom, row.start) for row in found.rows()]
    assert places == [("b", 0), ("a", 0), ("a", 1), *(("a", place) for place in range(3, 8000))]
    other = substitutions(tmp_path, store, "b\t0\t1\na\t0\t2\na\t3\t8000\n")
    assert found.digest() == other.digest()


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\t0\t8001\n", "8001"), ("c\t0\t5\n", "'c'"), ("# nothing\n", "interval")],
)
def test_intervals_that_are_refused(tmp_path, store, text, message):
    with pytest.raises(DataError, match=message):
        substitutions(tmp_path, store, text)
