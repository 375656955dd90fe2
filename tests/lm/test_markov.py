"""Markov models against brute-force counting, closed forms and the measured yeast anchors."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import DataError
from dnamdlm.lm import contexts
from dnamdlm.lm.contexts import count_contexts
from dnamdlm.lm.markov import MarkovLM, MarkovModel
from dnamdlm.lm.markov_fit import fit_markov, interval_bits
from dnamdlm.tokens.nucleotide import NucleotideTokenizer
from dnamdlm.words.kmers import add_reverse_complement

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def store_of(folder: Path, **records: str) -> GenomeStore:
    fasta = folder / "genome.fa"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))
    return prepare_genome(fasta, cache_dir=folder / "cache")


def whole(store: GenomeStore, *names: str) -> list[Interval]:
    return [Interval(name, 0, store.lengths[name]) for name in names or store.lengths]


def random_dna(length: int, seed: int, weights: tuple[float, ...] = (0.3, 0.2, 0.2, 0.3)) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length, p=weights))


def words_of(text: str, width: int) -> Counter[str]:
    found = (text[i : i + width] for i in range(len(text) - width + 1))
    return Counter(word for word in found if "N" not in word)


def table_as_words(table: np.ndarray) -> Counter[str]:
    width = round(math.log(table.size, 4))
    flat = table.reshape(-1)
    return Counter(
        {
            "".join("ACGT"[(int(index) >> (2 * (width - 1 - i))) & 3] for i in range(width)): int(
                flat[index]
            )
            for index in np.flatnonzero(flat)
        }
    )


@pytest.mark.parametrize("chunk", [7, 64, 1 << 22])
def test_counts_of_every_order_equal_a_brute_force_count(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(contexts, "CHUNK_BASES", chunk)
    left = random_dna(90, 1) + "NNN" + random_dna(2, 2) + "N" + random_dna(60, 3).lower()
    store = store_of(tmp_path, left=left, right=random_dna(50, 4))
    intervals = [Interval("left", 3, 140), Interval("right", 0, 50)]
    texts = [left.upper()[3:140], random_dna(50, 4)]

    tables = count_contexts(store, intervals, 4).tables()

    for order, table in enumerate(tables):
        expected = sum((words_of(text, order + 1) for text in texts), Counter())
        assert table_as_words(table) == expected


def test_context_may_come_from_before_the_interval_when_asked(tmp_path):
    text = random_dna(60, 5)
    store = store_of(tmp_path, only=text)
    inside = count_contexts(store, [Interval("only", 20, 40)], 3)
    beyond = count_contexts(store, [Interval("only", 20, 40)], 3, beyond_interval=True)
    assert table_as_words(inside.tables()[3]) == words_of(text[20:40], 4)
    assert table_as_words(beyond.tables()[3]) == words_of(text[17:40], 4)
    assert inside.num_bases == beyond.num_bases == 20


@pytest.mark.parametrize("width", [1, 2, 3])
def test_both_strands_are_the_words_and_their_reverse_complements(tmp_path, width):
    text = random_dna(200, 6)
    store = store_of(tmp_path, only=text)
    table = count_contexts(store, whole(store), width - 1).tables()[-1]
    expected = words_of(text, width) + words_of(text.translate(COMPLEMENT)[::-1], width)
    assert table_as_words(add_reverse_complement(table)) == expected


def test_an_order_beyond_the_limit_is_refused(tmp_path):
    store = store_of(tmp_path, only="ACGT")
    with pytest.raises(ValueError, match=r"0\.\.12, got 13"):
        count_contexts(store, whole(store), 13)


def test_additive_smoothing_follows_the_formula(tmp_path):
    store = store_of(tmp_path, train="AAC", valid="ACGT")
    model = fit_markov(store, whole(store, "train"), whole(store, "valid"), max_order=1)[
        "additive"
    ].model
    # both strands: AAC and GTT, so A 2, C 1, G 1, T 2 and the pairs AA, AC, GT, TT.
    m0, m1 = model.pseudo_counts
    order_0 = [(count + m0 / 4) / (6 + m0) for count in (2, 1, 1, 2)]
    after_a = [(count + m1 / 4) / (2 + m1) for count in (1, 1, 0, 0)]
    np.testing.assert_allclose(np.exp(model.log_probs[0][0]), order_0)
    np.testing.assert_allclose(np.exp(model.log_probs[1][0]), after_a)


def test_interpolated_smoothing_falls_back_to_the_shorter_context(tmp_path):
    store = store_of(tmp_path, train="AAC", valid="ACGT")
    model = fit_markov(store, whole(store, "train"), whole(store, "valid"), max_order=1)[
        "interpolated"
    ].model
    # C is never followed by anything on either strand: its row is that of order 0.
    np.testing.assert_allclose(model.log_probs[1][1], model.log_probs[0][0])


@pytest.mark.parametrize("smoothing", ["additive", "interpolated"])
def test_probabilities_sum_to_one(tmp_path, smoothing):
    store = store_of(tmp_path, train=random_dna(3000, 7), valid=random_dna(500, 8))
    fits = fit_markov(store, whole(store, "train"), whole(store, "valid"), max_order=4)
    for table in fits[smoothing].model.log_probs:
        np.testing.assert_allclose(np.exp(table).sum(axis=1), 1.0, rtol=1e-12)


def test_interval_bits_equal_the_sum_over_positions(tmp_path):
    text = random_dna(400, 9)[:200] + "NN" + random_dna(198, 10)
    store = store_of(tmp_path, train=random_dna(2000, 11), valid=random_dna(300, 12), test=text)
    model = fit_markov(store, whole(store, "train"), whole(store, "valid"), max_order=3)[
        "interpolated"
    ].model
    interval = Interval("test", 50, 320)
    nats = 0.0
    for position in range(50, 320):
        before = text[:position].rsplit("N", 1)[-1][-3:]
        if text[position] != "N":
            row = int("".join(str("ACGT".index(base)) for base in before), 4) if before else 0
            nats -= model.log_probs[len(before)][row]["ACGT".index(text[position])]
    expected = nats / math.log(2) / (270 - text[50:320].count("N"))
    assert interval_bits(model, store, [interval]) == pytest.approx(expected, rel=1e-12)


def test_a_first_order_source_is_learned_to_its_entropy_rate(tmp_path):
    rng = np.random.default_rng(13)
    # symmetric under reverse complement, so that counting both strands loses nothing.
    transition = np.array(
        [[0.55, 0.15, 0.2, 0.1], [0.3, 0.2, 0.3, 0.2], [0.3, 0.2, 0.2, 0.3], [0.15, 0.3, 0.15, 0.4]]
    )
    both = (transition + np.flip(transition).T) / 2
    source = both / both.sum()
    rows = source.sum(axis=1)
    conditional = source / rows[:, None]
    stationary = np.linalg.matrix_power(conditional, 200)[0]
    entropy = -float((stationary[:, None] * conditional * np.log2(conditional)).sum())
    bases, uniforms = [0], rng.random(120_000)
    for uniform in uniforms:
        bases.append(int(np.searchsorted(np.cumsum(conditional[bases[-1]])[:3], uniform)))
    text = "".join("ACGT"[base] for base in bases)
    store = store_of(tmp_path, train=text[:80_000], valid=text[80_000:100_000], test=text[100_000:])

    fit = fit_markov(store, whole(store, "train"), whole(store, "valid"), max_order=5)["additive"]

    assert fit.best_order == 1
    # the standard error of 20,000 bases is about 0.004 bits.
    assert interval_bits(fit.best, store, whole(store, "test")) == pytest.approx(entropy, abs=0.012)


def test_a_split_without_bases_is_refused(tmp_path):
    store = store_of(tmp_path, train="ACGTAC", valid="NNNN")
    with pytest.raises(DataError, match="validation split holds no A, C, G or T"):
        fit_markov(store, whole(store, "train"), whole(store, "valid"), max_order=1)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory) -> MarkovModel:
    folder = tmp_path_factory.mktemp("small")
    store = store_of(folder, train=random_dna(5000, 14), valid=random_dna(1000, 15))
    return fit_markov(store, whole(store, "train"), whole(store, "valid"), max_order=2)[
        "interpolated"
    ].model


def batch_of(*texts: str) -> Batch:
    tokens = torch.from_numpy(np.stack([NucleotideTokenizer().encode(text) for text in texts]))
    valid = (tokens >= 7) & (tokens <= 10)
    index = torch.arange(len(texts))
    return Batch(tokens, torch.ones_like(valid), valid, None, row_keys(0, index), index, len(texts))


def test_likelihoods_of_all_sequences_of_a_length_sum_to_one(small_model):
    texts = [f"{a}{b}{c}{d}" for a in "ACGT" for b in "ACGT" for c in "ACGT" for d in "ACGT"]
    nats = MarkovLM(small_model).log_likelihood(batch_of(*texts), draws=1).nats
    assert torch.exp(-nats.sum(dim=1)).sum().item() == pytest.approx(1.0, rel=1e-12)


def test_an_n_costs_nothing_and_interrupts_the_context(small_model):
    likelihood = MarkovLM(small_model).log_likelihood(batch_of("ACNGA"), draws=1)
    after_gap = MarkovLM(small_model).log_likelihood(batch_of("GA"), draws=1)
    assert likelihood.nats[0, 2] == 0.0
    torch.testing.assert_close(likelihood.nats[0, 3:], after_gap.nats[0])
    assert likelihood.kind == "exact"


def test_the_same_keys_give_the_same_sequences_in_any_batch_size(small_model):
    model, keys = MarkovLM(small_model), row_keys(7, torch.arange(9))
    together = model.generate(keys, 40).tokens
    assert torch.equal(together, model.generate(keys, 40, batch_size=2).tokens)
    assert torch.equal(together[3:5], model.generate(keys[3:5], 40).tokens)
    assert together.unique().tolist() == [7, 8, 9, 10]


def test_given_bases_are_kept_when_the_rest_is_filled(small_model):
    initial = torch.from_numpy(NucleotideTokenizer().encode("..ACG..T"))[None]
    filled = MarkovLM(small_model).generate(row_keys(1, torch.arange(1)), 8, initial=initial).tokens
    text = NucleotideTokenizer().decode(filled[0].numpy())
    assert (text[2:5], text[7]) == ("ACG", "T")
    assert set(text) <= set("ACGT")


def test_samples_follow_the_conditional_probabilities(small_model):
    codes = small_model.sample(np.random.default_rng(16), 4000, 12)
    pairs = codes[:, 4:6] @ np.array([4, 1])
    rows = np.bincount(pairs * 4 + codes[:, 6], minlength=64).reshape(16, 4)
    expected = np.exp(small_model.log_probs[2]) * rows.sum(axis=1, keepdims=True)
    chi_square = float(((rows - expected) ** 2 / expected).sum())
    # 48 degrees of freedom: mean 48, standard deviation 9.8.
    assert chi_square < 48 + 4 * 9.8


def test_the_first_bases_of_a_sample_come_from_the_shorter_contexts():
    rng = np.random.default_rng(17)
    tables = tuple(np.log(rng.dirichlet(np.ones(4), size=4**order)) for order in range(3))
    model = MarkovModel("interpolated", tables, (0.0, 0.0, 0.0))
    codes = model.sample(np.random.default_rng(18), 40_000, 3).astype(np.int64)
    context = np.zeros(len(codes), np.int64)
    # 3, 12 and 48 degrees of freedom: the 0.999 quantiles are 16.3, 32.9 and 84.0.
    for position, quantile in enumerate((16.3, 32.9, 84.0)):
        context = 4 * context + codes[:, position]
        observed = np.bincount(context, minlength=4 ** (position + 1)).reshape(-1, 4)
        expected = np.exp(tables[position]) * observed.sum(axis=1, keepdims=True)
        assert ((observed - expected) ** 2 / expected).sum() < quantile


@pytest.fixture(scope="module")
def yeast_fits(shared, tmp_path_factory):
    store = prepare_genome(
        shared / "data/genomes/yeast_S288C_R64.fa.gz", cache_dir=tmp_path_factory.mktemp("cache")
    )
    chromosomes = whole(store)
    fits = fit_markov(store, chromosomes[:14], chromosomes[14:15])
    return store, chromosomes[15:16], fits


@pytest.mark.parametrize(("order", "bits"), [(0, 1.9585), (3, 1.9406), (6, 1.9364), (8, 1.9326)])
def test_yeast_anchors_are_reproduced(yeast_fits, order, bits):
    store, test, fits = yeast_fits
    model = fits["additive"].model.truncated(order)
    # the pseudo-count moves order 8 by a few units of the fourth digit.
    assert interval_bits(model, store, test) == pytest.approx(bits, abs=6e-4)


def test_validation_chooses_order_seven_for_the_textbook_model(yeast_fits):
    _, _, fits = yeast_fits
    assert fits["additive"].best_order == 7


def test_interpolation_beats_the_textbook_model_on_yeast(yeast_fits):
    store, test, fits = yeast_fits
    bits = {name: interval_bits(fit.best, store, test) for name, fit in fits.items()}
    # measured 1.9153 with order 10: long contexts pay once rare ones fall back to shorter ones.
    assert bits["interpolated"] == pytest.approx(1.9153, abs=5e-4)
    assert bits["interpolated"] < bits["additive"] - 0.015
