"""Genomes mixed by weights."""

import pickle
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from dnamdlm.data.data_source import DataSource
from dnamdlm.data.genome.mixing import whole_numbers
from dnamdlm.data.genome.mixture import GenomeMixture
from dnamdlm.errors import ConfigError, DataError

SIZES = {"ant": (400, 300), "bee": (900, 200), "cat": (250,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    rng = np.random.default_rng(0)
    for name, sizes in SIZES.items():
        text = "".join(
            f">{name}{i}\n{''.join(rng.choice(list('ACGTacgt'), size))}\n"
            for i, size in enumerate(sizes)
        )
        (folder / f"{name}.fa").write_text(text)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    genomes = {name: {"fasta": str(folder / f"{name}.fa")} for name in ("cat", "ant", "bee")}
    return GenomeMixture(genomes, length=16, cache_dir=str(folder / "cache"))


@pytest.fixture(scope="module")
def mixture(data):
    return data.open()


def weighted(data, **weights):
    return replace(data, weights=weights).open()


def test_the_names_in_sorted_order_are_the_classes_whatever_order_they_are_written_in(data):
    assert isinstance(data, DataSource)
    assert data.open().label_names == ("ant", "bee", "cat")
    turned = replace(data, genomes=dict(reversed(data.genomes.items())))
    assert turned.open().fingerprint() == data.open().fingerprint()


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        (["1", "1", "1"], (1, 1, 1)),
        (["2", "1", "0.5"], (4, 2, 1)),
        (["0.1", "0.2", "0.3"], (1, 2, 3)),
        (["1e6", "1"], (65535, 1)),
        (["3000000019", "1000000007"], (49152, 16384)),
    ],
)
def test_weights_become_whole_numbers_in_the_same_proportion(weights, counts):
    assert whole_numbers([Fraction(weight) for weight in weights]) == counts


def test_every_turn_holds_each_genome_exactly_as_often_as_its_weight_says(data):
    stream = weighted(data, ant=2, bee=1, cat=0.5).training_stream(5, 7)
    for step in (0, 1, 600, 10_000):
        assert Counter(stream.batch(step).label.tolist()) == {0: 4, 1: 2, 2: 1}


def test_turns_are_in_another_order_each_time(mixture):
    stream = mixture.training_stream(5, 3)
    assert len({tuple(stream.batch(step).label.tolist()) for step in range(60)}) == 6


def test_weights_by_size_follow_the_training_splits(data):
    mixture = replace(data, weights="size").open()
    sizes = [genome.splits.num_bases("train") for genome in mixture.genomes.values()]
    shares = np.array(mixture.rows_per_turn()) / sum(mixture.rows_per_turn())
    np.testing.assert_allclose(shares, np.array(sizes) / sum(sizes))


def test_each_genome_walks_its_own_windows_without_gap_or_repeat(data):
    still = replace(data, jitter=False, reverse_complement=False)
    mixture = weighted(still, ant=2, bee=1, cat=1)
    stream = mixture.training_stream(1, 4)
    for number, genome in enumerate(mixture.genomes.values()):
        count = len(genome.training_windows())
        steps = -(-count // stream.source.rows_per_turn[number])
        batches = [stream.batch(step) for step in range(steps)]
        # whole turns: within the last one, a window of the next walk may come first.
        starts = torch.cat([batch.start[batch.label == number] for batch in batches])
        assert len(set(starts.tolist())) == count


def test_rows_hold_the_bases_of_their_genome(data):
    still = replace(data, jitter=True, reverse_complement=False).open()
    batch = still.training_stream(1, 50).batch(2)
    genomes = list(still.genomes.values())
    bases = np.cumsum([0, *(genome.store.num_bases for genome in genomes)])
    for row, (label, start) in enumerate(zip(batch.label, batch.start, strict=True)):
        own = int(start) - bases[label]
        codes = genomes[label].store.codes[own : own + 16] & 7
        assert (batch.tokens[row] - 7).tolist() == codes.tolist()


def test_ranks_micro_steps_and_copies_change_no_row(mixture):
    stream = mixture.training_stream(3, 12)
    whole = stream.batch(9)
    parts = [
        pickle.loads(pickle.dumps(stream)).batch(
            9, rank=rank, world_size=2, micro_step=micro, num_micro_steps=3
        )
        for rank in range(2)
        for micro in range(3)
    ]
    for name in ("tokens", "key", "label", "row", "start"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name))


def test_noise_keys_differ_over_all_rows(mixture):
    stream = mixture.training_stream(3, 12)
    keys = torch.cat([stream.batch(step).key for step in range(50)])
    assert len(keys.unique()) == 600


def test_the_soft_mask_weight_reaches_every_genome(data):
    batch = replace(data, soft_mask_weight=0.25).open().training_stream(3, 12).batch(0)
    assert set(batch.weight.unique().tolist()) == {0.25, 1.0}


def test_evaluation_sees_every_base_of_every_genome_once(mixture):
    windows = mixture.evaluation_windows("test")
    batches = list(windows.batches(4))
    assert sum(len(batch) for batch in batches) == len(windows)
    rows = torch.cat([batch.row for batch in batches])
    assert rows.sort().values.tolist() == list(range(len(windows)))
    for number, genome in enumerate(mixture.genomes.values()):
        scored = sum(int(batch.valid[batch.label == number].sum()) for batch in batches)
        assert scored == genome.splits.num_bases("test")
    assert len(torch.cat([batch.key for batch in batches]).unique()) == len(windows)


def test_a_limit_is_shared_but_no_genome_is_left_out(mixture):
    parts = mixture.windows_of_each("train", None, 40, 0)
    assert {name: len(part) >= 8 for name, part in parts.items()} == dict.fromkeys(SIZES, True)
    assert len(parts["bee"]) > len(parts["cat"])


def test_one_genome_of_a_mixture_keeps_its_class(mixture):
    assert list(mixture.parts) == ["ant", "bee", "cat"]
    (batch,) = mixture.parts["bee"].evaluation_windows("test").batches(10_000)
    assert set(batch.label.tolist()) == {1}


def test_the_description_has_the_sums_and_each_genome(mixture):
    described = mixture.describe()
    assert described["num_bases"] == sum(map(sum, SIZES.values()))
    assert described["shares"] == pytest.approx(dict.fromkeys(SIZES, 1 / 3))
    assert described["genomes"]["cat"]["num_records"] == 1


WRONG = {
    "no genome": ({"genomes": {}}, "data.genomes names no genome"),
    "no file": ({"genomes": {"a": {}}}, "data.genomes.a.fasta is not set"),
    "typo": (
        {"genomes": {"a": {"fasta": "x", "margn": 3}}},
        "data.genomes.a.margn is not a setting of a genome of a mixture (did you mean margin?)",
    ),
    "shared setting": (
        {"genomes": {"a": {"fasta": "x", "length": 3}}},
        "a.length is not a setting",
    ),
    "range": ({"genomes": {"a": {"fasta": "x", "margin": -3}}}, "data.genomes.a: data.margin"),
    "name": ({"genomes": {"a b": {"fasta": "x"}}}, "named by a letter"),
    "unknown rule": ({"weights": "fair"}, "data.weights=fair is unknown; choose equal, size"),
    "weight left out": ({"weights": {"ant": 1, "bee": 1}}, "differ in 'cat'"),
    "weight too many": ({"weights": {"ant": 1, "bee": 1, "cat": 1, "dog": 1}}, "differ in 'dog'"),
    "weight 0": (
        {"weights": {"ant": 0, "bee": 1, "cat": 1}},
        "data.weights.ant=0 must be a number above 0",
    ),
    "negative": ({"weights": {"ant": -1, "bee": 1, "cat": 1}}, "must be a number above 0"),
    "text": ({"weights": {"ant": "a", "bee": 1, "cat": 1}}, "data.weights.ant=a must be a number"),
    "infinite": (
        {"weights": {"ant": float("inf"), "bee": 1, "cat": 1}},
        "must be a number above 0",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_named(data, change, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        replace(data, **change)


def test_a_missing_file_is_named_with_its_genome(data, folder):
    broken = {**data.genomes, "dog": {"fasta": str(folder / "dog.fa")}}
    with pytest.raises(DataError, match=r"data\.genomes\.dog: .*dog\.fa: no such file"):
        replace(data, genomes=broken).open()


def test_the_same_genome_under_two_names_is_refused(data):
    twice = {**data.genomes, "ant2": data.genomes["ant"]}
    with pytest.raises(
        DataError, match=r"data\.genomes\.ant and data\.genomes\.ant2 hold the same"
    ):
        replace(data, genomes=twice).open()


def test_a_split_that_no_genome_has_is_refused(data):
    genomes = {name: {**settings, "test_fraction": 0.0} for name, settings in data.genomes.items()}
    with pytest.raises(DataError, match="the test split is empty in every genome"):
        replace(data, genomes=genomes).open().evaluation_windows("test")
