"""The overlap of splits against planted copies and a brute-force search."""

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.evaluation import genome_pieces
from dnamdlm.evaluation import split_overlap as overlap
from dnamdlm.evaluation.split_overlap import OverlapSettings, overlap_report
from dnamdlm.words.minimizers import is_minimizer, kmer_hashes

TURNED = str.maketrans("ACGTN", "TGCAN")


def random_text(rng, size):
    return "".join(rng.choice(list("ACGT"), size))


def make_store(tmp_path, **records):
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    return prepare_genome(path, cache_dir=tmp_path / "cache")


def whole(store, *names):
    return tuple(Interval(name, 0, store.lengths[name]) for name in names)


@pytest.fixture
def planted(tmp_path):
    """Test windows of 100 bases: unrelated, copy at a shift, reverse copy, near copy, with N."""
    rng = np.random.default_rng(0)
    train = random_text(rng, 3000)
    near = list(train[1501:1601])
    near[50] = "A" if near[50] != "A" else "C"
    test = [
        random_text(rng, 100),
        train[208:308].lower(),
        train[777:877].translate(TURNED)[::-1],
        "".join(near),
        train[2000:2040] + "N" + train[2041:2100],
        random_text(rng, 30),
    ]
    return make_store(tmp_path, train=train, test="".join(test), valid=random_text(rng, 250))


@pytest.mark.parametrize("chunk", [1 << 21, 37])
def test_planted_copies_are_found_at_any_shift(planted, monkeypatch, chunk):
    monkeypatch.setattr(genome_pieces, "CHUNK_BASES", chunk)
    monkeypatch.setattr(overlap, "_BASES_AT_ONCE", chunk)
    splits = {name: whole(planted, name) for name in ("train", "valid", "test")}
    report = overlap_report(planted, splits, 100)
    assert [(pair.split, pair.held_out) for pair in report.pairs] == [
        ("train", "valid"), ("train", "test"), ("valid", "test"),
    ]  # fmt: skip
    valid, test, other = report.pairs
    assert (test.bases, test.shared_bases, test.windows, test.compared_windows) == (530, 0, 6, 4)
    assert (test.copies, test.reverse_copies) == (1, 1)
    # the copy, the reverse copy, the near copy and the one with N; not the two unrelated ones.
    assert (test.near_windows, test.near_bases) == (4, 400)
    for pair in (valid, other):
        assert (pair.copies, pair.reverse_copies, pair.near_windows) == (0, 0, 0)
        assert pair.minimizers_found == 0 < pair.minimizers
    assert (
        "test in train: 0 shared bases; of 4 windows 1 copies and 1 reverse"
        in (report.sentences()[1])
    )


def test_copies_and_minimizers_equal_a_brute_force_search(tmp_path):
    rng = np.random.default_rng(1)
    # few different words, so that there are many copies.
    parts = [random_text(rng, 7) for _ in range(3)]
    train, test = ("".join(rng.choice(parts, size)) for size in (60, 30))
    store = make_store(tmp_path, train=train, test=test)
    splits = {"train": whole(store, "train"), "test": whole(store, "test")}
    pair = overlap_report(store, splits, 20, OverlapSettings(kmer=15, window=4)).pairs[0]
    windows = [test[i : i + 20] for i in range(0, len(test) - 19, 20)]
    assert pair.compared_windows == len(windows)
    assert pair.copies == sum(window in train for window in windows) > 0
    assert pair.reverse_copies == sum(w.translate(TURNED)[::-1] in train for w in windows)

    def canonical(text):
        kmers = [text[i : i + 15] for i in range(len(text) - 14)]
        return [min(kmer, kmer.translate(TURNED)[::-1]) for kmer in kmers]

    start = store.span(splits["test"][0])[0]
    is_kept = is_minimizer(kmer_hashes(store.codes[start:], 15), 4)
    minimizers = [kmer for kmer, kept in zip(canonical(test), is_kept, strict=True) if kept]
    assert pair.minimizers == len(minimizers)
    assert pair.minimizers_found == sum(kmer in canonical(train) for kmer in minimizers)


def test_shared_positions_are_counted(planted):
    rows = {"train": [Interval("train", 0, 1000), Interval("train", 500, 2000)]}
    rows["test"] = [Interval("train", 1900, 2100)]
    pair = overlap_report(planted, rows, 100).pairs[0]
    assert (pair.bases, pair.shared_bases, pair.copies) == (200, 100, 1)


def test_sampling_keeps_the_share_and_bounds_the_number(tmp_path):
    rng = np.random.default_rng(3)
    common = random_text(rng, 30_000)
    store = make_store(tmp_path, train=common, test=common[:15_000] + random_text(rng, 15_000))
    splits = {"train": whole(store, "train"), "test": whole(store, "test")}
    every = overlap_report(store, splits, 1000).pairs[0]
    some = overlap_report(store, splits, 1000, OverlapSettings(max_minimizers=1000)).pairs[0]
    assert every.kept_share == 1.0
    assert 800 < some.minimizers < 1200
    assert every.minimizers == pytest.approx(2 / 12 * 30_000, rel=0.05)
    # a half is shared; binomial of 1000 kept ones has a standard deviation of 0.016.
    assert some.minimizers_found / some.minimizers == pytest.approx(0.5, abs=0.07)
    assert some.near_windows == every.near_windows == 15


def test_splits_that_are_empty_or_shorter_than_a_kmer_are_no_fault(tmp_path):
    store = make_store(tmp_path, train="ACGT" * 20, test="ACGTACGT")
    splits = {"train": whole(store, "train"), "valid": (), "test": whole(store, "test")}
    report = overlap_report(store, splits, 100)
    (pair,) = report.pairs
    assert (pair.windows, pair.compared_windows, pair.minimizers, pair.judged_windows) == (
        1, 0, 0, 0,
    )  # fmt: skip
    assert "none of minimizers found" in report.sentences()[0]
    assert report.to_json()["settings"]["kmer"] == 21


@pytest.mark.parametrize("wrong", [{"kmer": 14}, {"kmer": 32}, {"window": 0}, {"threshold": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        OverlapSettings(**wrong)
