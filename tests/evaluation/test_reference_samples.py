"""Where real samples are drawn from, and what Markov and shuffled samples keep of them."""

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.reference_samples import compare_with

LENGTHS = (30, 40, 50, 50)
WHOLE = (Interval("a", 200, 2000),)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    bases = np.random.default_rng(0).choice(list("ACGT"), 2000, p=[0.4, 0.2, 0.1, 0.3])
    (folder / "real.fa").write_text(f">a\n{''.join(bases)}\n")
    return prepare_genome(folder / "real.fa", cache_dir=folder / "cache")


def compared(store, seed=0, intervals=WHOLE):
    rng = np.random.default_rng(9)
    generated = [rng.integers(0, 4, size).astype(np.uint8) for size in LENGTHS]
    return compare_with(generated, store, intervals, np.random.default_rng(seed), where="real.fa")


def pairs(codes):
    return np.bincount(4 * codes[:-1].astype(int) + codes[1:], minlength=16).tolist()


def test_every_sample_has_the_lengths_of_the_generated_one(store):
    for sample in compared(store).samples.values():
        assert tuple(map(len, sample)) == LENGTHS


def test_real_windows_come_from_the_intervals_and_are_in_one_part_only(store):
    found = compared(store)
    for codes, interval in zip(found.samples["real"], found.real_intervals, strict=True):
        assert interval.start >= 200
        assert (store.fetch(interval) & 7).tolist() == codes.tolist()
    starts = [interval.start for interval in found.real_intervals]
    texts = {codes.tobytes() for codes in found.reference}
    assert len(set(starts)) == len(LENGTHS)
    assert not texts & {codes.tobytes() for codes in found.samples["real"]}
    # 1,800 bases are 36 windows of 50.
    assert len(found.reference) == 36 - len(LENGTHS)


def test_shuffling_keeps_the_dinucleotides_of_each_real_sequence(store):
    samples = compared(store).samples
    for real, shuffled in zip(samples["real"], samples["shuffled_2"], strict=True):
        assert pairs(real) == pairs(shuffled)
    assert any((a != b).any() for a, b in zip(*map(samples.get, ("real", "shuffled_2")), strict=1))


def test_markov_samples_have_the_composition_of_both_strands(store):
    rng = np.random.default_rng(0)
    found = compared(store)
    drawn = found.markov[0].sample(rng, 200, 100)
    shares = np.bincount(np.asarray(drawn).ravel(), minlength=4) / drawn.size
    # A and T share 0.4 + 0.3, C and G 0.2 + 0.1; sd of a share of 20,000 draws is 0.0034.
    assert shares == pytest.approx([0.35, 0.15, 0.15, 0.35], abs=0.03)


def test_a_seed_gives_one_comparison(store):
    first, again, other = (compared(store, seed) for seed in (1, 1, 2))
    assert first.real_intervals == again.real_intervals != other.real_intervals


def test_too_little_real_sequence_is_one_sentence(store):
    with pytest.raises(DataError, match=r"real\.fa has 1 windows of 50 bp without N, 2 are needed"):
        compared(store, intervals=[Interval("a", 0, 60)])
