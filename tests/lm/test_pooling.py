"""Windows, tiles and means of hidden states."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.states.state_pooling import (
    Tiling,
    WindowSettings,
    make_windows,
    mean_of_states,
    pooled_states,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.rounding import rounding

PAD = NUCLEOTIDE_VOCABULARY.pad_id


class Places:
    """States that say which token stands where: (token, 1)."""

    vocabulary = NUCLEOTIDE_VOCABULARY

    def hidden(self, batch):
        ids = batch.tokens.float()
        return torch.stack((ids, torch.ones_like(ids)), dim=-1)


def sequence(length, seed=0):
    return np.random.default_rng(seed).integers(7, 11, size=length).astype(np.uint8)


@pytest.mark.parametrize("length", [1, 9, 10, 11, 18, 19, 100, 101])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_tiles_count_every_base_once_and_overlap_enough(length, overlap):
    tiles = list(Tiling(length, 10, overlap))
    assert len(tiles) == len(Tiling(length, 10, overlap))
    counted = [i for tile in tiles for i in range(tile.first, tile.last)]
    assert counted == list(range(length))
    for tile in tiles:
        assert 0 <= tile.start <= tile.first < tile.last <= tile.end <= length
        assert tile.end - tile.start == min(10, length)
    for left, right in pairwise(tiles):
        # rounding of evenly spread starts may take one base.
        assert left.end - right.start >= round(10 * overlap) - 1


def test_the_mean_is_over_the_bases_alone_and_of_all_tiles():
    sequences = [sequence(5, 1), sequence(37, 2), sequence(10, 3)]
    windows = make_windows(sequences, NUCLEOTIDE_VOCABULARY, WindowSettings(10))
    pooled = mean_of_states(Places().hidden(windows.batch), windows)
    expected = [[part.astype(float).mean(), 1.0] for part in sequences]
    # sums of whole numbers up to 10 are exact; the quotient is rounded, and a tile of 10 at most.
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=rounding(2, scale=10))
    assert (windows.batch.tokens[~windows.batch.present] == PAD).all()


def test_padded_pooling_counts_padding_on_the_left_as_published():
    part = sequence(4)
    settings = WindowSettings(10, pooling="mean_padded")
    windows = make_windows([part], NUCLEOTIDE_VOCABULARY, settings)
    assert windows.batch.tokens[0].tolist() == [PAD] * 6 + part.tolist()
    assert windows.batch.full
    pooled = mean_of_states(Places().hidden(windows.batch), windows)
    mean = (6 * PAD + part.sum()) / 10
    assert float(pooled[0, 0]) == pytest.approx(mean, abs=rounding(2, scale=10))


def test_long_sequences_are_cut_or_refused_where_that_is_asked_for():
    part = sequence(25)
    windows = make_windows([part], NUCLEOTIDE_VOCABULARY, WindowSettings(10, long="cut"))
    assert windows.batch.tokens.tolist() == [part[:10].tolist()]
    with pytest.raises(DataError, match="25 bases and a window holds 10; set max_length=25"):
        make_windows([part], NUCLEOTIDE_VOCABULARY, WindowSettings(10, long="refuse"))
    with pytest.raises(DataError, match="is empty"):
        make_windows([part[:0]], NUCLEOTIDE_VOCABULARY, WindowSettings(10))


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match="long=split is unknown; choose tile, cut, refuse"):
        WindowSettings(10, long="split")
    with pytest.raises(ConfigError, match="pooling=max is unknown"):
        WindowSettings(10, pooling="max")


def test_a_stream_keeps_its_order_and_its_memory_bound():
    sequences = [sequence(1 + (7 * i) % 40, i) for i in range(30)]
    pieces = list(pooled_states(Places(), iter(sequences), WindowSettings(16), tokens_at_once=64))
    assert len(pieces) > 5
    means = [part.mean() for part in sequences]
    found = np.concatenate(pieces)[:, 0]
    np.testing.assert_allclose(found, means, rtol=0, atol=rounding(2, scale=10))
    assert list(pooled_states(Places(), iter([]), WindowSettings(16))) == []
