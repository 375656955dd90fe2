"""Figures of the sequence before windows: what they depend on, and by hand."""

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.likelihood.before_windows import SPANS, nats_before
from dnamdlm.words.copies import CopyModel, fit_copies
from dnamdlm.words.markov_chain import MarkovChain

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 4, 4000, np.uint8)
CHAIN = MarkovChain.of_codes(TRAIN, (0, 1, 2), (4.0, 4.0, 4.0))
COPIES = fit_copies(TRAIN, TRAIN[:800], np.ones(800, bool), CHAIN, seed_lengths=(12,)).model
# not a span, so that what is before a window is not the window before.
LENGTH = 48
# chromosome "a" begins with N and copies the training sequence from 900 to 1700.
CODES = RNG.integers(0, 4, 2400, np.uint8)
CODES[:100] = 4
CODES[900:1700] = TRAIN[1000:1800]


def _windows(tmp_path, codes=CODES, first=0):
    text = "".join("ACGTN"[code] for code in codes)
    fasta = tmp_path / f"g{hash(text)}.fa"
    fasta.write_text(f">a\n{text}\n>b\n{text[::-1]}\n")
    store = prepare_genome(fasta, cache_dir=tmp_path)
    intervals = [Interval("a", first, len(codes)), Interval("b", 0, len(codes))]
    return Sweep.over(SplitWindows(store, intervals, LENGTH))


def _starts(windows):
    return np.concatenate([batch.start.numpy() for batch in windows.batches(50)])


def test_the_figures_are_means_over_the_bases_before_each_window(tmp_path):
    windows = _windows(tmp_path)
    found = nats_before((CHAIN, COPIES), windows)
    starts = _starts(windows)
    assert found.shape == (len(starts), 2 * len(SPANS))
    for model, columns in zip((CHAIN, COPIES), np.split(found, 2, axis=1), strict=True):
        nats = model.position_nats(CODES)
        for row in np.flatnonzero(starts < len(CODES)):
            for span, value in zip(SPANS, columns[row], strict=True):
                before = slice(max(starts[row] - span, 0), starts[row])
                is_base = CODES[before] < 4
                mean = nats[before][is_base].mean() if is_base.any() else np.log(4.0)
                assert value == pytest.approx(mean, rel=1e-12)


def test_the_copied_part_shows_in_the_figures_of_what_follows(tmp_path):
    windows = _windows(tmp_path)
    found = nats_before((CHAIN, COPIES), windows)
    starts = _starts(windows)
    after = (starts > 1200) & (starts < 1700)
    long = len(SPANS) - 1
    gain = found[:, long] - found[:, long + len(SPANS)]
    assert gain[after].min() > 1.0
    assert gain[starts < 900].max() < 0.2


@pytest.mark.parametrize("first", [0, 37])
def test_a_window_and_what_follows_it_tell_nothing(tmp_path, first):
    """Neither its own bases nor those of other windows of a batch, which are scored together."""
    cut = first + LENGTH * 20
    changed = CODES.copy()
    changed[cut:] = RNG.integers(0, 4, len(CODES) - cut, np.uint8)
    sweeps = [_windows(tmp_path, codes, first) for codes in (CODES, changed)]
    one, other = (nats_before((CHAIN, COPIES), windows) for windows in sweeps)
    starts = _starts(sweeps[0])
    assert np.array_equal(one[starts <= cut], other[starts <= cut])
    assert not np.array_equal(one[starts == cut + LENGTH], other[starts == cut + LENGTH])
    assert (starts <= cut).sum() > 15


def test_without_any_base_before_the_figures_are_those_of_a_uniform_model(tmp_path):
    windows = _windows(tmp_path)
    found = nats_before((CHAIN, CopyModel(CHAIN, ())), windows)
    uniform = (found == np.log(4.0)).all(axis=1)
    # the first window of "a" that has a base has N alone before it, and that of "b" nothing.
    assert _starts(windows)[uniform].tolist() == [2 * LENGTH, len(CODES)]
