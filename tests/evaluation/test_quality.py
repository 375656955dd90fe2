"""Generated sequences compared with real, Markov and shuffled ones, on the yeast genome."""

import json

import numpy as np
import pytest

from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.discriminator import discriminate
from dnamdlm.evaluation.samples.quality_lines import quality_text, short
from dnamdlm.evaluation.samples.quality_table import Question, evaluate_quality
from dnamdlm.evaluation.samples.reference_samples import (
    compare_with,
    markov_models,
    windows_without_n,
    without,
)
from dnamdlm.evaluation.samples.spectra import rank_shares, spectrum_divergences


@pytest.fixture(scope="module")
def yeast(tmp_path_factory):
    return open_genome("embedded:yeast", cache_dir=str(tmp_path_factory.mktemp("yeast")))


@pytest.fixture(scope="module")
def compared(yeast):
    rng = np.random.default_rng(0)
    generated = list(rng.integers(0, 4, (400, 400)).astype(np.uint8))
    chromosome = [Interval("chrXVI", 0, yeast.lengths["chrXVI"])]
    return compare_with(generated, yeast, chromosome, rng, where="chrXVI")


def test_all_samples_have_the_same_lengths(compared):
    assert set(compared.samples) == {"generated", "real", "markov_5", "markov_3", "shuffled_2"}
    assert {len(sample) for sample in compared.samples.values()} == {400}
    assert {len(item) for sample in compared.samples.values() for item in sample} == {400}


def test_reference_samples_come_in_the_order_of_what_they_keep(compared):
    rng = np.random.default_rng(1)
    value = {
        name: spectrum_divergences(sample, compared.reference, rng, max_k=6)[5].value
        for name, sample in compared.samples.items()
    }
    assert value["real"] < value["markov_3"] < value["shuffled_2"] < value["generated"]


def test_real_sequence_is_not_told_from_real_and_shuffled_is(compared):
    others = compared.reference[:400]
    real = discriminate(compared.samples["real"], others, 0, network=False)
    shuffled = discriminate(compared.samples["shuffled_2"], others, 0, network=False)
    assert abs(real.value - 0.5) < 0.07
    assert shuffled.low > 0.6


def test_divergences_of_equal_samples_are_zero():
    sample = [np.array([0, 1, 2, 3, 0, 0, 1, 1, 2], np.uint8)] * 3
    found = spectrum_divergences(sample, sample, np.random.default_rng(0))
    assert [item.value for item in found] == pytest.approx([0.0] * 8)


def test_ranks_go_from_the_commonest_word_to_the_rarest():
    ranks = rank_shares({"x": [np.array([0, 0, 0, 1], np.uint8)]}, 1)
    # both strands: three A and a C give AAAC and GTTT.
    assert ranks == {"ranks": [1, 2, 3, 4], "shares": {"x": [0.375, 0.375, 0.125, 0.125]}}


def test_a_markov_model_has_the_shares_of_its_sequences():
    sequence = np.array([0, 1] * 500, np.uint8)
    model = markov_models([sequence], 1)[1]
    # on both strands C follows A and A follows C in ACAC..., and T and G likewise.
    assert np.exp(model.log_probs[1][0, 1]) > 0.99


def test_intervals_are_cut_out_of_others():
    rest = without(
        [Interval("a", 0, 100), Interval("b", 5, 10)],
        [Interval("a", 90, 100), Interval("a", 10, 20), Interval("c", 0, 9)],
    )
    assert rest == [Interval("a", 0, 10), Interval("a", 20, 90), Interval("b", 5, 10)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("ACGT"), 6000))
    path = folder / "real.fa"
    path.write_text(f">a\n{text[:5000]}NNN{text[5000:5900]}\n>b\n{text[5900:]}\n")
    return prepare_genome(path, cache_dir=folder / "cache")


def test_windows_hold_no_n_and_short_records_are_whole(small):
    records = [Interval(name, 0, size) for name, size in small.lengths.items()]
    windows = windows_without_n(small, records, 150)
    assert Interval("b", 0, 100) in windows
    assert all((small.fetch(item) < 4).all() for item in windows)
    # one of the 39 windows of the longer record has an N.
    assert len(windows) == 38 + 1
    assert all(item.chrom == "a" for item in windows_without_n(small, records, 201))


def question(store):
    records = [Interval(name, 0, size) for name, size in store.lengths.items()]
    return Question(store, records, "real.fa")


@pytest.fixture(scope="module")
def section(small):
    rng = np.random.default_rng(2)
    sequences = {f"s{i}": rng.integers(0, 4, 120).astype(np.uint8) for i in range(12)}
    sequences["s3"] = small.fetch(Interval("a", 2000, 2120)).copy()
    return evaluate_quality(sequences, question(small), seed=4)


def test_a_memorised_sequence_is_flagged_and_others_are_not(section):
    (copy,) = section["copies"]["memorised"]
    assert copy["sequence"] == "s3"
    assert (copy["identity"], copy["longest_match"], copy["chrom"]) == (1.0, 120, "a")


def test_the_longest_match_is_named_with_its_place(section):
    assert section["copies"]["longest"] == {
        "sequence": "s3", "length": 120, "chrom": "a", "start": 2000, "strand": "+",
    }  # fmt: skip


def test_rows_of_longest_matches_summarise_their_lengths(section):
    lengths = section["copies"]["match_lengths"]
    rows = {row["name"]: row["cells"] for row in section["figures"]}
    for name, own in lengths.items():
        assert len(own) == 12
        assert rows["match"][name]["value"] == pytest.approx(sum(own) / 12)
        assert rows["match_max"][name]["value"] == max(own)
        # of twelve numbers in order the median lies between the sixth and the seventh.
        assert rows["match_median"][name]["value"] == sum(sorted(own)[5:7]) / 2
        assert rows["match_median"][name]["value"] <= rows["match_95"][name]["value"] <= max(own)


def test_gc_histograms_count_every_sequence(section):
    assert {sum(row["counts"]) for row in section["gc"]["rows"]} == {12}
    for row in section["gc"]["rows"]:
        # random sequence: binomial shares of 120 bases have a standard deviation of 0.046.
        assert row["mean"] == pytest.approx(0.5, abs=0.06)
        assert row["standard_deviation"] == pytest.approx(0.046, abs=0.025)


def test_words_have_their_shares_in_generated_and_reference_sequence(section):
    assert set(section["words"]) == {"3", "4", "5", "6"}
    for k, shares in section["words"].items():
        for name in ("generated", "reference"):
            assert len(shares[name]) == len(shares["words"]) == 4 ** int(k)
            # three significant digits of each share.
            assert sum(shares[name]) == pytest.approx(1.0, abs=5e-3)


def test_real_sequence_is_no_copy_of_itself(section):
    row = next(row for row in section["figures"] if row["name"] == "memorised")
    assert row["cells"]["real"]["value"] == 0.0
    assert row["cells"]["generated"]["value"] == pytest.approx(1 / 12)


def test_every_figure_has_every_sample_and_the_section_is_json(section):
    names = {column["name"] for column in section["columns"]}
    assert all(set(row["cells"]) == names for row in section["figures"])
    json.dumps(section, allow_nan=False)


def test_the_same_seed_gives_the_same_section(small, section):
    rng = np.random.default_rng(2)
    sequences = {f"s{i}": rng.integers(0, 4, 120).astype(np.uint8) for i in range(12)}
    sequences["s3"] = small.fetch(Interval("a", 2000, 2120)).copy()
    assert evaluate_quality(sequences, question(small), seed=4) == section


def test_the_table_names_every_figure(section):
    text = quality_text(section)
    assert all(row["label"] in text for row in section["figures"])
    assert "memorised (copies in the reference): 1" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (123.4, "123"),
        (12.34, "12.3"),
        (0.5, "0.500"),
        (0.0, "0.000"),
        (0.0012, "0.0012"),
    ],
)
def test_numbers_are_short(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ({}, "no generated sequence"),
        ({"x": np.array([0, 4, 1], np.uint8)}, "letters other than"),
        ({"x": np.zeros(4000, np.uint8)}, "2 are needed"),
    ],
)
def test_bad_input_is_one_sentence(small, sequences, message):
    with pytest.raises(DataError, match=message):
        evaluate_quality(sequences, question(small), seed=0)
