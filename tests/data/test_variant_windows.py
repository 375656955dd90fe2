"""Windows of both alleles: what they hold, how they are aligned, what happens at the ends."""

import numpy as np
import pytest

from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_windows import change_of, windows_of_change
from dnamdlm.tokens.nucleotide import NucleotideTokenizer

SEQUENCE = "ACGTTGCAAGCTTAGGCCTAGATCCGATATTTGCACCGTGAAACTGTCTTCAGGGATCAAT"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(f">pad\nAC\n>a\n{SEQUENCE}\n>short\nACGTA\n")
    return prepare_genome(folder / "g.fa", cache_dir=folder / "cache")


def text(ids):
    return NucleotideTokenizer().decode(ids)


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("A", "C", (0, "A", "C")),
        ("AC", "AT", (1, "C", "T")),
        ("AC", "TC", (0, "A", "T")),
        ("A", "AGG", (1, "", "GG")),
        ("CAA", "CA", (1, "A", "")),
        ("ACG", "TCT", (0, "ACG", "TCT")),
    ],
)
def test_common_ends_are_cut_off(ref, alt, expected):
    change = change_of(ref, alt)
    assert (change.offset, change.ref, change.alt) == expected
    assert change.is_snv == (len(expected[1]) == len(expected[2]) == 1)


@pytest.mark.parametrize("start", [0, 1, 7, 30, 52, 58, 59])
@pytest.mark.parametrize(("removed", "alt"), [(1, "N"), (1, "GATTA"), (4, ""), (5, "CC"), (0, "T")])
def test_both_windows_are_pieces_of_the_two_sequences_of_one_length(store, start, removed, alt):
    ref = SEQUENCE[start : start + removed]
    change = change_of(ref, alt)
    pair = windows_of_change(store, "a", start, change, 16)
    changed = SEQUENCE[:start] + alt + SEQUENCE[start + len(ref) :]
    assert text(pair.reference) in SEQUENCE
    assert text(pair.alternative) in changed
    assert len(pair.reference) == len(pair.alternative) == len(pair.slots) == 16
    assert len(set(pair.slots.tolist())) == 16
    assert pair.start == 2 + start + change.offset
    if change.is_snv:
        assert text(pair.alternative)[pair.site] == alt
        assert text(pair.reference)[pair.site] == ref
    # bases of the genome have the address of the reference window, wherever they stand.
    first = SEQUENCE.index(text(pair.reference))
    genomic = SEQUENCE[:start] + "." * len(ref) + SEQUENCE[start + len(ref) :] + "." * 10
    for letter, slot in zip(text(pair.alternative), pair.slots, strict=True):
        assert slot >= 32 or genomic[first + slot] in (letter, ".")


@pytest.mark.parametrize("start", [0, 1, 7, 30, 52, 58, 59])
@pytest.mark.parametrize(("removed", "alt"), [(1, "N"), (1, "GATTA"), (4, ""), (5, "CC"), (0, "T")])
@pytest.mark.parametrize("length", [16, 60, 100])
def test_a_circular_record_has_no_ends(store, start, removed, alt, length):
    circle, size = store.with_circular(["a"]), len(SEQUENCE)
    turned = SEQUENCE[start:] + SEQUENCE[:start]
    change = change_of(turned[:removed], alt)
    pair = windows_of_change(circle, "a", start, change, length)
    # the same variant in the middle of the same circle, cut open elsewhere.
    place = start + change.offset
    cut = place + len(change.ref) // 2 - size // 2
    opened = "".join(SEQUENCE[(cut + i) % size] for i in range(size))
    at = place - cut
    changed = opened[:at] + change.alt + opened[at + len(change.ref) :]
    assert text(pair.reference) in opened
    assert text(pair.alternative) in changed
    assert len(pair.reference) == min(length, size)
    assert pair.start == 2 + place % size
    if length == 16:
        assert len(pair.alternative) == 16
        # both sides of the variant are seen, wherever the record begins.
        assert opened.index(text(pair.reference)) == at + len(change.ref) // 2 - 8
    if change.is_snv:
        assert text(pair.alternative)[pair.site] == alt


def test_far_from_the_origin_a_circle_changes_nothing(store):
    circle = store.with_circular(["a"])
    for ref, alt in (("C", "A"), ("C", "CTT"), (SEQUENCE[30:33], SEQUENCE[30])):
        one, other = (
            windows_of_change(item, "a", 30, change_of(ref, alt), 16) for item in (store, circle)
        )
        assert (one.start, one.site) == (other.start, other.site)
        for name in ("reference", "alternative", "slots"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_base_in_the_middle_of_a_record_stands_in_the_middle_of_its_window(store):
    pair = windows_of_change(store, "a", 30, change_of("C", "A"), 16)
    assert pair.site == 8
    assert text(pair.reference) == SEQUENCE[22:38]
    np.testing.assert_array_equal(pair.slots, np.arange(16))


def test_addresses_follow_the_genome_past_an_insertion_and_a_deletion(store):
    longer = windows_of_change(store, "a", 30, change_of("C", "CTT"), 8)
    assert text(longer.alternative) == SEQUENCE[27:31] + "TT" + SEQUENCE[31:33]
    assert longer.slots.tolist() == [0, 1, 2, 3, 16, 17, 4, 5]
    shorter = windows_of_change(store, "a", 30, change_of(SEQUENCE[30:33], SEQUENCE[30]), 8)
    assert text(shorter.reference) == SEQUENCE[28:36]
    assert text(shorter.alternative) == SEQUENCE[28:31] + SEQUENCE[33:38]
    assert shorter.slots.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]


def test_a_short_record_is_read_whole_and_large_changes_are_not_read(store):
    pair = windows_of_change(store, "short", 1, change_of("C", "T"), 16)
    assert (text(pair.reference), text(pair.alternative)) == ("ACGTA", "ATGTA")
    pair = windows_of_change(store, "short", 1, change_of("C", "CGG"), 16)
    assert text(pair.alternative) == "ACGGGTA"
    assert windows_of_change(store, "a", 5, change_of("G", "G" + "A" * 9), 16) is None
    assert windows_of_change(store, "a", 5, change_of("G", "G" + "A" * 8), 16) is not None
