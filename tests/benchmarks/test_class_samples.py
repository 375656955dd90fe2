"""Rows of classes in parts, chains of classes, and a judge of samples."""

import numpy as np
import pytest

from benchmarks.class_rows import (
    ClassRows,
    copies,
    in_parts,
    markov_samples,
    markov_tables,
    read_class_rows,
)
from benchmarks.quality.class_samples import (
    Outcome,
    fit_judge,
    mean_share,
    recognised,
    reference_samples,
    table_rows,
)
from dnamdlm.errors import DataError


def texts(count, length, rng, p):
    return ["".join(row) for row in rng.choice(list("ACGT"), (count, length), p=p)]


@pytest.fixture(scope="module")
def rows():
    """Two classes that differ in their composition."""
    rng = np.random.default_rng(0)
    rich, poor = texts(120, 60, rng, [0.1, 0.4, 0.4, 0.1]), texts(80, 60, rng, [0.4, 0.1, 0.1, 0.4])
    return ClassRows([*rich, *poor], np.array(["rich"] * 120 + ["poor"] * 80), {})


def test_a_table_is_cut_and_what_is_left_out_is_counted(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("sequence\tclass\nttACGTAA\ta\nTTACGTCC\ta\nTTNCGTAA\tb\nTTGGGG\tb\nTT\tb\n")
    found = read_class_rows(path, start=2, length=4, limit=9, seed=0)
    assert (found.texts, found.classes.tolist()) == (["ACGT", "GGGG"], ["a", "b"])
    assert list(found.left_out.values()) == [2, 1, 0]
    with pytest.raises(DataError, match="two classes or more are needed"):
        read_class_rows(path, start=2, length=6, limit=9, seed=0)
    path.write_text("sequence\tkind\nACGT\ta\n")
    with pytest.raises(DataError, match="has no column class"):
        read_class_rows(path, start=0, length=4, limit=9, seed=0)


def test_parts_share_no_row_and_no_copy(rows):
    mirrored = rows.texts[0][::-1].translate(str.maketrans("ACGT", "TGCA"))
    many = ClassRows([*rows.texts, *[mirrored] * 9], np.append(rows.classes, ["poor"] * 9), {})
    parts = in_parts(many, 0)
    every = [text for part in parts.values() for text in part.texts]
    assert len({*parts["generator"].texts} & {*parts["judge"].texts, *parts["real"].texts}) == 0
    assert len(every) < len(many)
    assert len(parts["generator"].of("rich")) == 60
    earlier = [*parts["generator"].texts, *parts["judge"].texts]
    assert not copies(earlier, parts["real"].texts).any()


def test_a_chain_is_that_of_its_strand_and_draws_what_it_counted():
    order, table = markov_tables(["ACGT" * 40], ["ACGT" * 5], range(4))
    assert order >= 1
    if order == 1:
        assert table.argmax(1).tolist() == [1, 2, 3, 0]
    drawn = markov_samples(table, ["ACG"] * 50, 40, np.random.default_rng(0))
    assert np.mean([text == "ACGT" * 10 for text in drawn]) > 0.05
    even = np.full((1, 4), 0.25)
    letters = "".join(markov_samples(even, [""] * 400, 100, np.random.default_rng(1)))
    # 40,000 fair letters: a standard deviation of 87.
    assert abs(letters.count("G") - 10_000) < 4 * 87


def test_the_judge_knows_real_rows_and_not_those_that_are_asked_for_by_another_name(rows):
    parts = in_parts(rows, 1)
    judge, names = fit_judge(parts["judge"], 0), list(rows.names)
    real = {name: parts["real"].of(name) for name in names}
    right = mean_share(recognised(judge, names, real))
    assert right.value > 0.9
    assert right.low <= right.value <= right.high
    # labels exchanged on purpose.
    exchanged = {"rich": real["poor"], "poor": real["rich"]}
    assert mean_share(recognised(judge, names, exchanged)).value == pytest.approx(1 - right.value)
    # one and the same sequences for each class are recognised once: one half.
    same = dict.fromkeys(names, parts["real"].texts)
    assert mean_share(recognised(judge, names, same)).value == pytest.approx(0.5)


def test_the_mean_counts_classes_alike_whatever_their_sizes():
    found = {"a": np.array([True] * 10), "b": np.array([False, True])}
    assert mean_share(found).value == pytest.approx(0.75)


def test_samples_without_a_network_have_their_numbers_and_lengths(rows):
    parts = in_parts(rows, 2)
    columns, orders = reference_samples(parts, 7, 60, 0)
    assert set(columns) == {"real", "shuffled", "Markov"}
    assert set(orders) == {"rich", "poor"}
    assert [len(text) for text in columns["Markov"]["rich"]] == [60] * 7
    for text, other in zip(columns["real"]["poor"], columns["shuffled"]["poor"], strict=True):
        assert sorted(text) == sorted(other)


def test_a_table_has_means_over_seeds_and_how_far_they_differ():
    def outcome(of_a, of_b, near):
        found = {"g = 1": {"a": np.array(of_a), "b": np.array(of_b)}}
        return Outcome({"a": 3, "b": 4}, {}, found, {"g = 1": near}, {"a": 1, "b": 2}, "")

    always = outcome([True] * 4, [True] * 8, 0.5)
    assert table_rows([always]) == [
        ("a", 3, "1.00"), ("b", 4, "1.00"), ("mean", 7, "1.000 (1.000 to 1.000)"),
        ("near copies of the generator's rows", None, "0.500"),
    ]  # fmt: skip
    never = outcome([False] * 4, [False] * 8, 0.0)
    a, b, mean, deviation, near = table_rows([always, never])
    assert (a[2], b[2], mean[2], near[2]) == ("0.50", "0.50", "0.500 (0.500 to 0.500)", "0.250")
    # of 1 and 0, with one degree of freedom.
    assert deviation == ("standard deviation over seeds", None, "0.707")
