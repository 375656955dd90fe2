"""Classes of bases from genes, features around a base, and Matthews' coefficient."""

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from benchmarks.gene_labels import CLASSES, CONFLICT, REST, base_classes
from benchmarks.quality.gene_finding import (
    LabelledWindows,
    bases_around,
    confusion,
    fit_bases,
    judged,
    matthews,
    recalls,
    words_by_phase,
)
from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import DataError

NUMBER = {name: number for number, name in enumerate(CLASSES)}


def cds(start, end, strand="+"):
    return Feature("CDS", Interval("a", start, end, strand))


def gene(start, end, strand="+"):
    return Feature("gene", Interval("a", start, end, strand))


def test_introns_lie_between_the_coding_parts_of_one_gene():
    features = [gene(10, 100), cds(10, 20), cds(60, 100), gene(150, 170), cds(150, 170)]
    found = base_classes(features, {"a": 200})["a"]
    expected = np.full(200, REST)
    expected[10:20] = expected[60:100] = expected[150:170] = NUMBER["exon +"]
    expected[20:60] = NUMBER["intron +"]
    expected[20], expected[59] = NUMBER["donor +"], NUMBER["acceptor +"]
    assert found.tolist() == expected.tolist()


def test_a_gene_of_the_other_strand_is_read_the_other_way():
    found = base_classes([gene(0, 90, "-"), cds(0, 10, "-"), cds(50, 90, "-")], {"a": 90})["a"]
    assert [CLASSES[found[place]] for place in (9, 10, 11, 49, 50)] == [
        "exon -", "acceptor -", "intron -", "donor -", "exon -"
    ]  # fmt: skip


def test_frameshifts_are_no_introns_and_two_answers_are_none():
    shifted = base_classes([gene(0, 60), cds(0, 20), cds(21, 60)], {"a": 60})["a"]
    assert CLASSES[shifted[20]] == "rest"
    both = base_classes([cds(0, 30), cds(20, 40, "-"), cds(25, 30)], {"a": 50})["a"]
    assert both[19] == NUMBER["exon +"]
    assert (both[20:30] == CONFLICT).all()
    assert both[30] == NUMBER["exon -"]


def test_the_coefficient_is_that_of_scikit_learn_and_of_a_constant_zero():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 9, 500).astype(np.uint8)
    found = np.where(rng.random(500) < 0.4, targets, rng.integers(0, 9, 500)).astype(np.uint8)
    ours = float(matthews(confusion(targets, found).ravel()))
    assert ours == pytest.approx(matthews_corrcoef(targets, found), abs=1e-12)
    assert float(matthews(confusion(targets, found * 0).ravel())) == 0
    assert float(matthews(confusion(targets, targets).ravel())) == 1


def test_bases_of_two_genes_are_not_judged():
    targets = np.array([0, 8, CONFLICT], np.uint8)
    assert confusion(targets, np.array([0, 8, 3], np.uint8)).sum() == 2


def test_features_are_of_the_middle_half_and_of_the_places_around_each_base():
    codes = np.random.default_rng(1).integers(0, 4, (2, 40)).astype(np.uint8)
    found = bases_around(codes).reshape(2, 20, 25, 4)
    for row, base, place in ((0, 0, 3), (1, 7, 24), (0, 19, 12)):
        at = 10 + base + place - 12
        assert found[row, base, place].sum() == (0 <= at < 40)
        if 0 <= at < 40:
            assert found[row, base, place, codes[row, at]] == 1
    words = words_by_phase(codes).reshape(2, 20, 3, 64)
    # the base at 15 of the window sees the words that begin at -33 to 62, of which 38 exist.
    assert words[0, 5].sum() == 38
    start = 15 + 6
    word = int(codes[0, start] * 16 + codes[0, start + 1] * 4 + codes[0, start + 2])
    begins = [at for at in range(38) if (at - 15) % 3 == 0]
    same = sum(
        int(codes[0, at] * 16 + codes[0, at + 1] * 4 + codes[0, at + 2]) == word for at in begins
    )
    assert words[0, 5, 0, word] == same


@pytest.fixture
def windows(tmp_path):
    """Genes of C and G in a genome of A and T."""
    rng = np.random.default_rng(2)
    parts, features = {}, []
    for name in "abc":
        letters = rng.choice(list("AT"), 1200)
        for begin in range(0, 1200, 200):
            letters[begin : begin + 80] = rng.choice(list("CG"), 80)
            place = Interval(name, begin, begin + 80, "+")
            features.append(Feature("CDS", place))
        parts[name] = "".join(letters)
    path = tmp_path / "g.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in parts.items()))
    genome = GenomeData(
        fasta=str(path), cache_dir=str(tmp_path), length=40, train=["a"], valid=["b"], test=["c"]
    ).open()
    classes = base_classes(features, genome.store.lengths)
    return [
        LabelledWindows.drawn(genome, classes, split, 30, 0) for split in ("train", "valid", "test")
    ], genome, classes  # fmt: skip


def test_a_probe_finds_genes_that_their_bases_give_away_and_not_flipped_ones(windows):
    (train, valid, test), _, _ = windows
    found = fit_bases(bases_around, train, valid, bases=300, seed=0)(test)
    assert judged(test, found, 0).value > 0.8
    assert recalls(test, found)[[0, REST]].min() > 0.8
    # the classes of the test windows exchanged on purpose.
    flipped = LabelledWindows(test.codes, np.where(test.classes == 0, REST, 0).astype(np.uint8))
    assert judged(flipped, found, 0).value < -0.8
    mixed = np.random.default_rng(0).permutation(found.ravel()).reshape(found.shape)
    # 600 bases: the coefficient of a random order has a standard deviation of 1 / sqrt(600).
    assert abs(judged(test, mixed, 0).value) < 4 / 600**0.5
    assert judged(test, np.full_like(found, REST), 0).value == 0


def test_a_split_without_windows_is_a_sentence(windows):
    _, genome, classes = windows
    object.__setattr__(genome.splits, "test", ())
    with pytest.raises(DataError, match="the test split of the model has no window of 40 bases"):
        LabelledWindows.drawn(genome, classes, "test", 5, 0)
