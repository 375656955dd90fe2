"""Genomes of many short records: handled together, with the results of handling them one by one."""

from itertools import pairwise

import numpy as np
import pytest

from dnamdlm.data.genome import tiles
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval, unknown_record
from dnamdlm.data.genome.splits import merge
from dnamdlm.data.genome.tiles import Tiles
from dnamdlm.evaluation import genome_pieces
from dnamdlm.evaluation.genome_pieces import pieces
from dnamdlm.evaluation.samples.reference_samples import windows_without_n
from dnamdlm.lm import contexts
from dnamdlm.lm.contexts import count_contexts
from dnamdlm.words.ragged import places_within

RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    records = []
    for number in range(60):
        size = int(RANDOM.choice([1, 5, 17, 64, 300]))
        letters = RANDOM.choice(list("ACGTacgtN"), size=size, p=[0.12] * 8 + [0.04])
        records.append(f">c{number}\n{''.join(letters)}\n")
    (folder / "g.fa").write_text("".join(records))
    return open_genome(folder / "g.fa", cache_dir=folder / "cache")


@pytest.fixture(scope="module")
def intervals(store):
    whole = [Interval(name, 0, size) for name, size in store.lengths.items()]
    parts = [Interval(item.chrom, 1, len(item)) for item in whole if len(item) > 20]
    return [item for pair in zip(whole, parts, strict=False) for item in pair] + whole[len(parts) :]


def test_places_within_groups():
    assert places_within(np.array([2, 0, 3, 1])).tolist() == [0, 1, 0, 1, 2, 0]
    assert places_within(np.array([], dtype=np.int64)).tolist() == []


@pytest.mark.parametrize("at_once", [1, 3, 7, 1 << 18])
@pytest.mark.parametrize("slides", [False, True])
def test_tiles_are_those_of_each_interval_in_turn(monkeypatch, at_once, slides):
    monkeypatch.setattr(tiles, "_TILES_AT_ONCE", at_once)
    length = 4
    low = np.cumsum(RANDOM.integers(8, 40, size=50))
    spans = np.stack([low, low + RANDOM.integers(4, 30, size=50)], axis=1)
    counts = -(-(spans[:, 1] - spans[:, 0]) // length)

    def keep(starts, ends):
        return (starts * 7 + ends) % 5 != 0

    expected = []
    for (first, last), count in zip(spans.tolist(), counts.tolist(), strict=True):
        for tile in range(count):
            start = first + tile * length
            start = min(start, last - length) if slides else start
            if keep(np.array([start]), np.array([min(start + length, last)]))[0]:
                expected.append((start, first, last))
    found = Tiles(spans, length, counts, keep, slide_last_back=slides)
    assert len(found) == len(expected)
    places = found.locate(np.arange(len(found)))
    assert np.stack(places, axis=1).tolist() == [list(place) for place in expected]


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("short", [0, 40, 1 << 19])
def test_counts_of_many_intervals_are_the_sum_of_the_counts_of_each(
    store, intervals, monkeypatch, beyond, short
):
    monkeypatch.setattr(contexts, "_SHORT_BASES", short)
    monkeypatch.setattr(contexts, "CHUNK_BASES", 500)
    found = count_contexts(store, intervals, 3, beyond_interval=beyond)
    each = [count_contexts(store, [item], 3, beyond_interval=beyond) for item in intervals]
    assert found.full.tolist() == sum(counts.full for counts in each).tolist()
    for order in range(3):
        total = sum(counts.starts[order] for counts in each)
        assert found.starts[order].tolist() == total.tolist()
    assert found.full.sum() > 1000


@pytest.mark.parametrize("chunk", [16, 100, 10_000])
@pytest.mark.parametrize("length", [1, 5, 40])
def test_each_word_of_each_interval_is_in_one_piece(store, intervals, monkeypatch, chunk, length):
    monkeypatch.setattr(genome_pieces, "CHUNK_BASES", chunk)
    expected = []
    for item in intervals:
        start, end = store.span(item)
        expected += range(start, end - length + 1)
    found, wanted = [], set(expected)
    for piece in pieces(store, intervals, length):
        places = np.arange(len(piece.codes) - length + 1)
        # a word that reaches past its interval has the N that follows it.
        inside = piece.intervals_at(places) == piece.intervals_at(places + length - 1)
        offsets = piece.offsets_at(places)
        for place, offset in zip(places[inside].tolist(), offsets[inside].tolist(), strict=True):
            word = piece.codes[place : place + length]
            if offset in wanted and (word == store.codes[offset : offset + length] & 7).all():
                found.append(offset)
    assert set(found) == wanted
    assert len(found) >= len(expected)


def test_windows_without_n_are_those_of_each_interval_in_turn(store, intervals):
    found = windows_without_n(store, intervals, 20)
    each = [window for item in intervals for window in windows_without_n(store, [item], 20)]
    assert found == each
    assert {len(window) for window in found} <= set(range(10, 21))
    assert all((store.fetch(window) & 7 < 4).all() for window in found)
    assert windows_without_n(store, [], 20) == []


def test_merged_intervals_are_the_union():
    items = [
        Interval("b", int(low), int(low + size), RANDOM.choice(["+", "-", "."]))
        for low, size in zip(RANDOM.integers(0, 300, 60), RANDOM.integers(1, 9, 60), strict=True)
    ]
    covered = sorted({place for item in items for place in range(item.start, item.end)})
    merged = merge(items)
    assert [place for item in merged for place in range(item.start, item.end)] == covered
    assert all(item.strand == "." for item in merged)
    assert all(a.end < b.start for a, b in pairwise(merged))


def test_a_near_name_is_found_among_a_million():
    known = [f"contig_{number}" for number in range(1_000_000)]
    said = unknown_record("contig_999x", known)
    assert "the nearest of 1000000 names: 'contig_999" in said
