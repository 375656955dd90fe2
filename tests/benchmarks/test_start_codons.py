"""Windows around starts, and the figures of dependency maps of start codons."""

import numpy as np
import pytest

from benchmarks.start_maps import (
    COLUMNS,
    ORIGIN,
    StartMaps,
    dependency_of_pair,
    dependency_on_region,
    influence_of_codons,
    table_rows,
)
from benchmarks.start_picture import drawn_maps
from benchmarks.start_windows import (
    LENGTH,
    REACH,
    START,
    read_gene_starts,
    start_windows,
    text_of_window,
)
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import DataError

OPPOSITE = str.maketrans("ACGT", "TGCA")
SIZE = 2 * ORIGIN


def planted(genes, length=25_000):
    """Random bases with a first codon at the start of each gene."""
    letters = np.random.default_rng(3).choice(list("ACGT"), length)
    for start, end, strand, codon in genes:
        if strand == "-":
            letters[end - 3 : end] = list(codon.translate(OPPOSITE)[::-1])
        else:
            letters[start : start + 3] = list(codon)
    return "".join(letters)


@pytest.fixture
def made(tmp_path):
    """A function from genes to a store and the genes as they are read from a file."""

    def make(genes):
        fasta, bed = tmp_path / "a.fa", tmp_path / "genes.bed"
        fasta.write_text(f">a\n{planted(genes)}\n")
        rows = [f"other\t{start}\t{end}\tg\t0\t{strand}\n" for start, end, strand, _ in genes]
        bed.write_text("# genes\n" + "".join(rows))
        store = prepare_genome(fasta, cache_dir=tmp_path / "cache")
        return store, read_gene_starts(bed, store)

    return make


def test_windows_hold_the_start_in_the_direction_of_the_gene(made):
    store, genes = made(
        [(500, 700, "+", "ATG"), (900, 1200, "-", "ATG"), (12_000, 12_400, "-", "GTG"),
         (15_000, 15_300, "+", "TTG")]
    )  # fmt: skip
    windows = start_windows(store, genes, 0)
    held = [text_of_window(store, window) for window in windows.held]
    assert [(len(text), text[START : START + 3]) for text in held] == [(LENGTH, "ATG")] * 2
    assert windows.held[1] == Interval("a", 1200 - LENGTH + START, 1200 + START, "-")
    assert len(windows.train) == 8
    places = set()
    for window in windows.train:
        text = text_of_window(store, window)
        place = window.end - 12_400 if window.strand == "-" else 15_000 - window.start
        assert text[place : place + 3] == ("GTG" if window.strand == "-" else "TTG")
        assert abs(place - START) <= REACH
        places.add(place)
    assert len(places) > 4
    assert start_windows(store, genes, 0) == windows
    assert start_windows(store, genes, 1) != windows


def test_no_training_window_overlaps_a_held_out_one(made):
    # the second and the fourth gene begin in a stretch that is not held out; all windows of the
    # fourth reach into that of the first.
    store, genes = made([(9_990, 10_400, "+", "ATG"), (10_010, 10_180, "-", "ATG"),
                         (9_700, 9_990, "-", "ATG"), (10_000, 10_300, "+", "ATG")])  # fmt: skip
    windows = start_windows(store, genes, 0)
    assert len(windows.held) == 2
    assert not any(one.overlaps(other) for one in windows.train for other in windows.held)
    assert windows.left_out["training windows that overlap a held-out one"] == 4
    assert len(windows.train) + sum(windows.left_out.values()) == 8


def test_what_is_left_out_is_counted(made):
    store, genes = made(
        [(300, 440, "+", "ATG"), (600, 800, ".", "ATG"), (1000, 1300, "+", "CCC"),
         (2000, 2300, "+", "GTG"), (10, 400, "+", "ATG"), (12_000, 12_300, "+", "ATG")]
    )  # fmt: skip
    left = start_windows(store, genes, 0).left_out
    assert left == {
        "genes of less than 150 bases or without a strand": 2,
        "genes with another first codon": 1,
        "held-out genes that do not begin with ATG": 1,
        "windows past the record or with other letters": 1,
        "training windows that overlap a held-out one": 0,
    }


def test_a_genome_of_several_records_is_refused(tmp_path):
    fasta, bed = tmp_path / "a.fa", tmp_path / "genes.bed"
    fasta.write_text(f">a\n{'ACGT' * 99}\n>b\n{'ACGT' * 99}\n")
    bed.write_text("a\t0\t9\nb\t0\t9\n")
    store = prepare_genome(fasta, cache_dir=tmp_path / "cache")
    with pytest.raises(DataError, match="2 records; give one of a single"):
        read_gene_starts(bed, store)
    fasta.write_text(f">a\n{'ACGT' * 99}\n")
    with pytest.raises(DataError, match="genes of 2 records"):
        read_gene_starts(bed, prepare_genome(fasta, cache_dir=tmp_path / "cache"))


def made_maps(number=4):
    """Maps in which the start codon alone is strong; the first stretch has another ATG."""
    texts = ["C" * ORIGIN + "ATG" + "C" * (ORIGIN - 3)] * number
    texts[0] = "CATG" + texts[0][4:]
    norms, influences = np.zeros((number, SIZE, SIZE)), np.zeros((number, SIZE))
    codon = slice(ORIGIN, ORIGIN + 3)
    norms[:, codon, codon] = 2.0
    influences[:, codon] = 3.0
    return StartMaps(tuple(texts), norms, influences)


def test_start_codons_that_alone_are_strong_have_a_share_of_one_and_a_floor_of_zero():
    maps = made_maps()
    influence = influence_of_codons(maps, "start codon", maps.starts())
    assert (influence.values == 3).all()
    assert (influence.floors == 0).all()
    for pair, chance in {"A-T": 2 / 55, "T-G": 2 / 55, "A-G": 2 / 54}.items():
        found = dependency_of_pair(maps, "start codon", maps.starts(), pair)
        assert (found.values == 2).all()
        assert (found.floors == 0).all()
        assert np.asarray(found.is_strongest).tolist() == [True] * 4
        assert found.chance == pytest.approx(chance)


def test_another_atg_is_a_control_with_the_start_codon_out_of_its_floor():
    maps = made_maps()
    assert maps.other_triplets() == [(0, 1)]
    maps.norms[0, 10, 11] = maps.norms[0, 11, 10] = 0.5
    found = dependency_of_pair(maps, "other ATG", maps.other_triplets(), "A-T")
    assert found.values.tolist() == [0.0]
    # 55 pairs of neighbours without two of the start codon and two of the triplet.
    assert found.floors.tolist() == [pytest.approx(0.5 / 51)]
    assert np.asarray(found.is_strongest).tolist() == [False]


def test_the_floor_of_a_region_is_that_of_the_same_distances():
    maps = made_maps()
    first, second = np.indices((SIZE, SIZE))
    maps.norms[:] = np.abs(first - second)
    found = dependency_on_region(maps, "start codon", maps.starts())
    # the mean of 12 to 7 before the first, second and third base.
    assert found.values.tolist() == found.floors.tolist() == [10.5] * 4
    maps.norms[:, ORIGIN - 12 : ORIGIN - 6, ORIGIN : ORIGIN + 3] += 4
    found = dependency_on_region(maps, "start codon", maps.starts())
    assert found.values.tolist() == [14.5] * 4
    assert found.floors.tolist() == [10.5] * 4


def test_rows_resample_genes():
    maps = made_maps()
    maps.influences[:, ORIGIN : ORIGIN + 3] = np.array([1.0, 2.0, 3.0, 6.0])[:, None]
    maps.influences[:, :5] = 0.51
    rows = table_rows(maps, 0)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert [row[:3] for row in rows[:3]] == [
        ("influence of an exchange", "start codon", 4),
        ("influence of an exchange", "bases -12 to -7", 4),
        ("influence of an exchange", "other ATG", 1),
    ]
    mean, low, high = (float(word) for word in str(rows[0][3]).strip(")").replace("(", "").split()
                       if word != "to")  # fmt: skip
    assert mean == 3.0
    assert 1.0 <= low < 3.0 < high <= 6.0
    # 56 positions without three of the start codon and six before it.
    assert str(rows[0][4]).startswith(f"{5 * 0.51 / 47:.3f} ")
    # Wilson's interval of four of four is 4 / (4 + 1.96^2) to 1.
    assert rows[3][6] == "1.00 (0.51 to 1.00)"


def test_the_picture_marks_both_regions():
    figure = drawn_maps(made_maps())
    above, below = figure.axes[:2]
    # first column and row, columns and rows of each box.
    boxes = [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in above.patches]
    assert boxes == [(-0.5, -0.5, 3, 3), (-12.5, -12.5, 6, 6), (-0.5, -12.5, 3, 6)]
    names = [text.get_text() for text in above.texts]
    assert names[:2] == ["start codon", "Shine-Dalgarno region"]
    assert below.get_legend_handles_labels()[1] == [
        "other positions", "start codon", "Shine-Dalgarno region"
    ]  # fmt: skip
