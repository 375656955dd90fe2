"""Copies and near copies of training rows among test rows."""

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.tasks import leaks as leaks_module
from dnamdlm.data.tasks.genomic_benchmarks import SUITE, read_interval_list
from dnamdlm.data.tasks.leaks import find_leaks, overlap_shares
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

COMPLEMENT = np.array(NUCLEOTIDE_VOCABULARY.complement, dtype=np.uint8)


def random_sequences(count, length, seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(7, 11, size=length).astype(np.uint8) for _ in range(count)]


def as_set(arrays):
    return SequenceSet.of([f"s{i}" for i in range(len(arrays))], arrays)


def test_each_kind_of_copy_is_found_and_nothing_else():
    train = random_sequences(50, 200, 1)
    changed = train[3].copy()
    changed[100] = 7 + (changed[100] - 6) % 4
    shifted = np.concatenate([train[4][60:], random_sequences(1, 60, 3)[0]])
    barely = np.concatenate([train[5][150:], random_sequences(1, 150, 4)[0]])
    mirrored = COMPLEMENT[changed[::-1]]
    new = random_sequences(1, 200, 5)[0]
    test = [train[0], COMPLEMENT[train[1][::-1]], changed, shifted, barely, mirrored, new]
    leaks = find_leaks(as_set(train), as_set(test), NUCLEOTIDE_VOCABULARY)
    assert leaks.exact.tolist() == [True, *[False] * 6]
    assert leaks.reverse.tolist() == [False, True, *[False] * 5]
    assert leaks.near.tolist() == [True, True, True, True, False, True, False]
    assert leaks.counts() == {
        "rows": 7, "exact": 1, "reverse_complement": 1, "near": 5, "any": 5,
    }  # fmt: skip


def test_a_repeat_in_very_many_rows_is_not_a_near_copy():
    repeat = random_sequences(1, 60, 1)[0]
    train = [np.concatenate([repeat, own]) for own in random_sequences(300, 40, 2)]
    test = [np.concatenate([repeat, own]) for own in random_sequences(3, 40, 3)]
    assert not find_leaks(as_set(train), as_set(test), NUCLEOTIDE_VOCABULARY).any.any()


def test_a_sample_of_the_words_finds_the_same_copies(monkeypatch):
    train = random_sequences(60, 400, 1)
    test = [*random_sequences(20, 400, 2), *(sequence[:300] for sequence in train[:20])]
    monkeypatch.setattr(leaks_module, "_MAX_WORDS", 8000)
    monkeypatch.setattr(leaks_module, "_BLOCK_TOKENS", 1000)
    leaks = find_leaks(as_set(train), as_set(test), NUCLEOTIDE_VOCABULARY)
    assert leaks.near.tolist() == [False] * 20 + [True] * 20


def test_short_sequences_and_n_are_only_compared_whole():
    short = np.array([7, 8, 9], dtype=np.uint8)
    unknown = np.full(100, 11, dtype=np.uint8)
    leaks = find_leaks(
        as_set([short, unknown]), as_set([short, unknown[:90]]), NUCLEOTIDE_VOCABULARY
    )
    assert leaks.exact.tolist() == [True, False]
    assert not leaks.near.any()


def test_no_word_is_read_across_the_border_of_two_sequences():
    # four halves are shorter than a word; joined in pairs they hold nine words of 24 each.
    first, second, third, fourth = random_sequences(4, 16, 1)
    halves, joined = [first, second], [np.concatenate([first, second])]
    assert not find_leaks(as_set(halves), as_set(joined), NUCLEOTIDE_VOCABULARY).any.any()
    assert not find_leaks(as_set(joined), as_set(halves), NUCLEOTIDE_VOCABULARY).near.any()
    both = find_leaks(as_set(joined), as_set([*joined, third, fourth]), NUCLEOTIDE_VOCABULARY)
    assert both.near.tolist() == [True, False, False]


def test_overlap_is_the_best_share_that_one_interval_covers():
    train = [
        Interval("a", 0, 10),
        Interval("a", 5, 8),
        Interval("a", 100, 300),
        Interval("b", 0, 9),
    ]
    test = [Interval("a", 8, 12), Interval("a", 10, 12), Interval("a", 290, 310, "-"),
            Interval("c", 0, 5), Interval("b", 2, 4)]  # fmt: skip
    assert overlap_shares(train, test).tolist() == [0.5, 0.0, 0.5, 0.0, 1.0]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("task", "touched", "half"),
    [
        ("dummy_mouse_enhancers_ensembl", 0.4, 0.0),
        ("human_enhancers_cohn", 0.7, 0.3),
        ("human_nontata_promoters", 49.3, 47.5),
        pytest.param("human_ocr_ensembl", 1.5, 0.8, marks=pytest.mark.slow),
    ],
)
def test_overlaps_of_the_published_splits_are_reproduced(shared, task, touched, half):
    folder = shared / "data/tasks/genomic_benchmarks_intervals" / task
    parts = {
        split: [
            interval
            for name in SUITE[task].classes
            for interval in read_interval_list(folder / split / f"{name}.csv.gz")[1]
        ]
        for split in ("train", "test")
    }
    assert len(parts["train"]) == SUITE[task].num_train
    assert len(parts["test"]) == SUITE[task].num_test
    shares = overlap_shares(parts["train"], parts["test"])
    # the reference gives one digit.
    assert 100 * (shares > 0).mean() == pytest.approx(touched, abs=0.06)
    assert 100 * (shares >= 0.5).mean() == pytest.approx(half, abs=0.06)


@pytest.mark.parity
def test_three_quarters_of_the_ensembl_enhancers_of_chr20_are_copies(shared):
    from dnamdlm.data.tasks.families import Table

    folder = shared / "data/tasks/genomic_benchmarks_chr20/human_enhancers_ensembl"
    task = Table(str(folder / "train.csv"), test=str(folder / "test.csv")).open(None)
    leaks = find_leaks(task.train.sequences, task.test.sequences, NUCLEOTIDE_VOCABULARY)
    positive = task.test.targets == 1
    # 75.5 % of the whole set's positives; no negative is a copy.
    assert leaks.exact[positive].mean() == pytest.approx(0.755, abs=0.03)
    assert leaks.exact[~positive].sum() == 0
