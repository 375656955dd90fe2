"""The generated section: floors in the right order, copies found, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.splits import Splits
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.generated import evaluate_generated
from dnamdlm.lm.markov_fit import fit_markov


def second_order_dna(length: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    law = np.cumsum(np.random.default_rng(99).dirichlet(np.ones(4), size=16), axis=1)
    bases = [0, 1]
    for uniform in rng.random(length - 2):
        row = law[bases[-2] * 4 + bases[-1], :3]
        bases.append(int(np.searchsorted(row, uniform)))
    return "".join("ACGT"[base] for base in bases)


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    texts = {name: second_order_dna(40_000, seed) for seed, name in enumerate("abc")}
    fasta = folder / "genome.fa"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    store = prepare_genome(fasta, cache_dir=folder)
    train, valid, test = ((Interval(name, 0, 40_000),) for name in "abc")
    splits = Splits(train, valid, test, rule="by hand")
    return store, splits, fit_markov(store, train, valid, max_order=4)


@pytest.fixture(scope="module")
def section(genome):
    store, splits, markov = genome
    copied = store.fetch(Interval("a", 5000, 5200))
    sequences = {
        f"s{i}": np.random.default_rng(i).choice(4, 200).astype(np.uint8) for i in range(40)
    }
    sequences["s3"] = copied
    return evaluate_generated(sequences, store, splits, markov, rng=np.random.default_rng(0))


def js(section, name: str, k: int) -> float:
    row = next(row for row in section["divergence"] if row["name"] == name)
    return next(item["value"] for item in row["js_bits"] if item["k"] == k)


def test_the_section_is_json_and_lists_its_samples(section):
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    names = [row["name"] for row in section["divergence"]]
    assert names[:2] == ["generated", "real"]
    assert names[-2:] == ["shuffled_2", "shuffled_1"]
    assert section["num_sequences"] == 40


def test_floors_come_in_the_order_of_what_they_keep(section):
    values = [js(section, name, 3) for name in ("real", "shuffled_2", "shuffled_1")]
    assert values == sorted(values)
    # random sequence has nothing of the source but its length.
    assert js(section, "generated", 3) > 3 * js(section, "real", 3)


def test_a_copied_sequence_is_named_with_its_place(section):
    assert section["longest_match"]["longest_generated"] == {
        "sequence": "s3",
        "length": 200,
        "chrom": "a",
        "start": 5000,
        "strand": "+",
    }


def test_gc_histograms_count_every_sequence(section):
    assert {sum(row["counts"]) for row in section["gc"]["rows"]} == {40}


def test_the_same_seed_gives_the_same_section(genome):
    store, splits, markov = genome
    sequences = {f"s{i}": np.random.default_rng(i).choice(4, 90).astype(np.uint8) for i in range(5)}
    first, second = (
        evaluate_generated(sequences, store, splits, markov, rng=np.random.default_rng(3))
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ({}, "no generated sequence"),
        ({"bad": np.array([0, 4], np.uint8)}, "'bad' is empty or has letters other than"),
        ({"long": np.zeros(30_000, np.uint8)}, "1 windows of 30000 bp without N, 2 are needed"),
    ],
    ids=["none", "n", "too long"],
)
def test_what_cannot_be_compared_is_refused(genome, sequences, message):
    store, splits, markov = genome
    with pytest.raises(DataError, match=message):
        evaluate_generated(sequences, store, splits, markov, rng=np.random.default_rng(0))
