"""Alignments compared with a search that looks at every place of both strands."""

import numpy as np
import pytest

from dnamdlm.errors import DataError
from dnamdlm.words import sorted_words
from dnamdlm.words.codes import N_CODE
from dnamdlm.words.seeds import HISTORY, SeedIndex

MOST_PLACES = 8


def searched(train, read, length, reach):
    """Position -> (predicted base, mismatches, run), by trying every address."""
    train = np.append(train, N_CODE)
    other = np.where(train < N_CODE, 3 - train, N_CODE)[::-1]
    both = [*train.tolist(), *other.tolist()]
    size = len(train)
    read = read.tolist()

    def agreement(position, address):
        found = []
        for step in range(1, HISTORY + 1):
            i, j = position - step, address - step
            inside = i >= 0 and 0 <= j < len(both)
            found.append(inside and read[i] < N_CODE and read[i] == both[j])
        return found

    starts = {}
    for position in range(length, len(read)):
        seed = read[position - length : position]
        if max(seed) >= N_CODE:
            continue
        places = []
        for strand in (range(length, size + 1), range(size + length, 2 * size + 1)):
            found = [a for a in strand if both[a - length : a] == seed]
            if strand.start > size:
                # the other strand is met in the order of the forward one.
                found = found[::-1]
            if len(found) > MOST_PLACES:
                found = [found[k * len(found) // MOST_PLACES] for k in range(MOST_PLACES)]
            places += found
        if places:
            # the first of the best.
            starts[position] = max(places, key=lambda a, p=position: sum(agreement(p, a)))
    result = {}
    for position in range(len(read)):
        earlier = [p for p in starts if p <= position]
        if not earlier or position - earlier[-1] > reach:
            continue
        address = starts[earlier[-1]] + position - earlier[-1]
        if address < len(both) and both[address] < N_CODE:
            agrees = agreement(position, address)
            run = agrees.index(False) if False in agrees else HISTORY
            result[position] = (both[address], HISTORY - sum(agrees), run)
    return result


def copied(rng, train, length):
    """Stretches of both strands of a sequence, with substitutions and N."""
    pieces = []
    while sum(map(len, pieces)) < length:
        start, size = rng.integers(0, len(train) - 60), rng.integers(5, 60)
        piece = train[start : start + size].copy()
        if rng.random() < 0.5:
            piece = np.where(piece < N_CODE, 3 - piece, piece)[::-1].astype(np.uint8)
        changed = rng.random(size) < 0.06
        piece[changed] = rng.integers(0, 5, changed.sum())
        pieces.append(piece)
    return np.concatenate(pieces)[:length]


@pytest.mark.parametrize(
    ("length", "reach", "seed"), [(4, 0, 1), (4, 7, 2), (6, 20, 3), (9, 40, 4)]
)
def test_alignments_are_those_of_a_search_over_both_strands(length, reach, seed):
    rng = np.random.default_rng(seed)
    train = rng.integers(0, 4, 400).astype(np.uint8)
    train[150] = N_CODE
    train[200:260] = train[50:110]
    read = copied(rng, train, 300)
    found = SeedIndex.of_codes(train, length).aligned(read, reach)
    expected = searched(train, read, length, reach)
    assert found.positions.tolist() == sorted(expected)
    got = zip(found.predicted.tolist(), found.mismatches.tolist(), found.run.tolist(), strict=True)
    assert list(got) == [expected[position] for position in sorted(expected)]
    assert len(expected) > 30


def test_an_alignment_depends_on_a_bounded_number_of_bases_before():
    rng = np.random.default_rng(5)
    train = rng.integers(0, 4, 5000).astype(np.uint8)
    index, reach = SeedIndex.of_codes(train, 8), 30
    read = copied(rng, train, 2000)
    whole = index.aligned(read, reach)
    cut = 1000
    part = index.aligned(read[cut - HISTORY - reach :], reach)
    rows, mine = whole.positions >= cut, part.positions >= HISTORY + reach
    assert (part.positions[mine] + cut - HISTORY - reach).tolist() == whole.positions[rows].tolist()
    for name in ("predicted", "mismatches", "run"):
        assert getattr(part, name)[mine].tolist() == getattr(whole, name)[rows].tolist()


def test_pieces_of_an_index_are_joined_without_losing_a_seed(monkeypatch):
    train = np.random.default_rng(6).integers(0, 4, 300).astype(np.uint8)
    whole = SeedIndex.of_codes(train, 6)
    monkeypatch.setattr("dnamdlm.words.seeds._CHUNK_BASES", 64)
    parts = SeedIndex.of_codes(train, 6)
    assert parts.seeds.tolist() == whole.seeds.tolist()
    assert parts.ends.tolist() == whole.ends.tolist()
    assert len(whole.seeds) == 295


def test_nothing_is_aligned_without_a_seed_or_without_bases():
    index = SeedIndex.of_codes(np.array([0, 1, 2, 3, 0, 1], np.uint8), 4)
    assert len(index.aligned(np.full(40, N_CODE, np.uint8), 10).positions) == 0
    assert len(index.aligned(np.zeros(0, np.uint8), 10).positions) == 0
    assert len(SeedIndex.of_codes(np.zeros(0, np.uint8), 4).seeds) == 0


@pytest.mark.parametrize("length", [3, 32])
def test_a_seed_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="4 to 31 bases"):
        SeedIndex.of_codes(np.zeros(50, np.uint8), length)


def test_a_sequence_that_does_not_fit_memory_is_refused(monkeypatch):
    monkeypatch.setattr(sorted_words, "MAX_BASES", 100)
    with pytest.raises(DataError, match="101 bases"):
        SeedIndex.of_codes(np.zeros(101, np.uint8), 8)
