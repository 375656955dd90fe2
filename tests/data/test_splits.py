"""Splits: disjoint by construction, complete, deterministic."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.data.genome.intervals import BedTable, Interval
from dnamdlm.data.genome.splits import (
    SPLIT_NAMES,
    Splits,
    expand_rows,
    merge,
    shared_bases,
    split_by_bed,
    split_by_fractions,
    split_by_records,
    split_by_region,
)
from dnamdlm.errors import DataError

LENGTHS = {"chr1": 100, "chr2": 50, "chr3": 30}


def positions(intervals):
    return {(i.chrom, x) for i in intervals for x in range(i.start, i.end)}


def test_named_records_go_where_they_are_named_and_the_rest_trains():
    splits = split_by_records(LENGTHS, train=None, valid=["chr2"], test=["chr3"])
    assert splits.train == (Interval("chr1", 0, 100),)
    assert splits.valid == (Interval("chr2", 0, 50),)
    assert splits.test == (Interval("chr3", 0, 30),)


def test_named_training_records_leave_out_the_others():
    splits = split_by_records(LENGTHS, train=["chr3"], valid=["chr2"], test=None)
    assert (splits.num_bases("train"), splits.num_bases("test")) == (30, 0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"valid": ["chr9"]}, r"data\.valid: record 'chr9' is not in the genome; the nearest"),
        ({"test": ["3"]}, "data.test: record '3' is not in the genome, but 'chr3' is"),
        ({"valid": [" chr2"]}, "record ' chr2' is not in the genome"),
        ({"valid": ["chr2"], "test": ["chr2"]}, "named in data.valid and data.test"),
        ({"test": ["chr1", "chr2", "chr3"]}, "data.train is empty"),
    ],
)
def test_wrong_names_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        split_by_records(LENGTHS, **({"train": None, "valid": None, "test": None} | names))


def test_overlapping_splits_are_refused_with_both_intervals():
    with pytest.raises(DataError, match="chr1:0-60 is in train and chr1:59-80 in test"):
        Splits(
            train=(Interval("chr1", 0, 60, "+"),),
            valid=(),
            test=(Interval("chr1", 59, 80, "-"),),
            rule="x",
        )


def test_overlapping_intervals_of_one_split_are_merged():
    splits = Splits(
        train=(Interval("b", 5, 9, "+"), Interval("a", 0, 5), Interval("a", 3, 8, "-")),
        valid=(),
        test=(),
        rule="x",
    )
    assert splits.train == (Interval("a", 0, 8), Interval("b", 5, 9))


def test_touching_intervals_of_one_record_become_one():
    intervals = (Interval("b", 5, 9), Interval("a", 3, 5, "-"), Interval("a", 0, 3, "+"))
    assert merge(intervals) == (Interval("a", 0, 5), Interval("b", 5, 9))


def test_the_origin_of_a_circle_that_is_cut_is_a_cut_too():
    def parts(**options):
        return split_by_region(
            {"a": 1000}, valid_fraction=0.1, test_fraction=0.1, margin=20, **options
        )

    assert parts().train == (Interval("a", 0, 800),)
    circle = parts(circular=["a"])
    assert circle.train == (Interval("a", 20, 800),)
    assert circle.test == parts().test
    # a record that is not cut has no cut at its origin.
    both = split_by_region(
        {"a": 800, "b": 200}, valid_fraction=0.1, test_fraction=0.1, margin=20, circular=["a"]
    )
    assert both.train == (Interval("a", 0, 800),)


def test_an_unknown_split_is_refused():
    with pytest.raises(DataError, match="split must be one of train, valid, test, got 'dev'"):
        split_by_records(LENGTHS, train=None, valid=None, test=None)["dev"]


def test_many_records_are_split_whole_near_the_fractions():
    lengths = {f"c{i}": 50 + 7 * i for i in range(30)}
    splits = split_by_fractions(lengths, valid_fraction=0.1, test_fraction=0.2)
    total = sum(lengths.values())
    assert splits.rule.startswith("records")
    assert splits.num_bases("test") == pytest.approx(0.2 * total, rel=0.1)
    assert splits.num_bases("valid") == pytest.approx(0.1 * total, rel=0.1)
    assert all(len(i) == lengths[i.chrom] for name in SPLIT_NAMES for i in splits[name])


def test_a_single_record_is_cut_into_train_valid_test_in_this_order():
    splits = split_by_fractions({"c": 1000}, valid_fraction=0.1, test_fraction=0.2)
    assert splits.train == (Interval("c", 0, 700),)
    assert splits.valid == (Interval("c", 700, 800),)
    assert splits.test == (Interval("c", 800, 1000),)


def test_a_margin_is_left_out_after_each_cut_inside_a_record():
    splits = split_by_region({"c": 1000}, valid_fraction=0.1, test_fraction=0.2, margin=30)
    assert splits.valid == (Interval("c", 730, 800),)
    assert splits.test == (Interval("c", 830, 1000),)


def test_no_margin_is_left_out_where_a_record_begins():
    # the cuts fall inside b, after 700 of 1,000 bases, and between b and c, after 800.
    lengths = {"a": 500, "b": 300, "c": 200}
    splits = split_by_region(lengths, valid_fraction=0.1, test_fraction=0.2, margin=30)
    assert splits.train == (Interval("a", 0, 500), Interval("b", 0, 200))
    assert splits.valid == (Interval("b", 230, 300),)
    assert splits.test == (Interval("c", 0, 200),)


def test_a_margin_that_eats_a_split_is_refused():
    with pytest.raises(DataError, match=r"data.margin=100 leaves nothing of the valid split"):
        split_by_region({"c": 1000}, valid_fraction=0.1, test_fraction=0.2, margin=100)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    valid=st.sampled_from([0.0, 0.1, 0.25]),
    test=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_fractions_use_every_base_once(sizes, valid, test):
    lengths = {f"r{i}": size for i, size in enumerate(sizes)}
    splits = split_by_fractions(lengths, valid_fraction=valid, test_fraction=test)
    parts = [positions(splits[name]) for name in SPLIT_NAMES]
    assert sum(map(len, parts)) == len(set().union(*parts)) == sum(sizes)
    again = split_by_fractions(dict(lengths), valid_fraction=valid, test_fraction=test)
    assert again == splits
    for fraction, name in ((valid, "valid"), (test, "test")):
        assert splits.num_bases(name) <= max(1, 2 * fraction * sum(sizes))


def bed(*rows):
    intervals, names = zip(*rows, strict=True)
    return BedTable(intervals, names, tuple(range(1, len(rows) + 1)), (), len(rows))


def test_a_bed_file_names_the_splits():
    table = bed(
        (Interval("chr1", 0, 50), "train"),
        (Interval("chr1", 50, 60), "valid"),
        (Interval("chr2", 0, 50), "test"),
    )
    splits = split_by_bed(table, LENGTHS)
    assert splits.valid == (Interval("chr1", 50, 60),)
    assert splits.rule == "bed"


@pytest.mark.parametrize(
    ("name", "message"), [(None, "no fourth column"), ("dev", "'dev' in the fourth column")]
)
def test_a_bed_file_with_other_names_is_refused(name, message):
    with pytest.raises(DataError, match=f"line 2 of the BED file has {message}"):
        split_by_bed(
            bed((Interval("chr1", 0, 5), "train"), (Interval("chr2", 0, 5), name)), LENGTHS
        )


def test_a_bed_file_whose_splits_overlap_is_refused():
    with pytest.raises(DataError, match="the splits overlap"):
        split_by_bed(
            bed((Interval("chr1", 0, 50), "train"), (Interval("chr1", 49, 60), "test")), LENGTHS
        )


INTERVAL_LISTS = st.lists(
    st.tuples(st.sampled_from(["c", "d"]), st.integers(0, 40), st.integers(1, 12)).map(
        lambda row: Interval(row[0], row[1], row[1] + row[2])
    ),
    max_size=6,
)


@given(first=INTERVAL_LISTS, second=INTERVAL_LISTS)
def test_shared_bases_equal_counting_positions(first, second):
    assert shared_bases(first, second) == len(positions(first) & positions(second))


def test_expanded_rows_keep_their_start_and_end_with_the_record_at_the_latest():
    table = bed(
        (Interval("chr1", 0, 10), "train"),
        (Interval("chr1", 10, 20), "valid"),
        (Interval("chr1", 90, 95), "train"),
    )
    rows = expand_rows(table, LENGTHS, 32)
    assert rows["train"] == (Interval("chr1", 0, 32), Interval("chr1", 90, 100))
    assert rows["valid"] == (Interval("chr1", 10, 42),)
    assert rows["test"] == ()
    with pytest.raises(DataError, match="makes rows of 8 bases, and chr1:0-10 has 10; cut the row"):
        expand_rows(table, LENGTHS, 8)
