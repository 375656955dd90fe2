"""The GFF3 reader and the classes of bases."""

import gzip

import numpy as np
import pytest

from dnamdlm.data.genome.annotation import CLASS_NAMES, Feature, read_gff, region_classes
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import DataError

LENGTHS = {"a": 30, "b": 20}
OFFSETS = {"a": 0, "b": 30}
ROWS = [
    "##gff-version 3",
    "a\tx\tgene\t1\t12\t.\t+\t.\tID=g1",
    "a\tx\tCDS\t1\t3\t.\t+\t0\tID=c1",
    "a\tx\tCDS\t3\t12\t.\t-\t0\tID=c2",
    "b\tx\tCDS\t20\t20\t.\t?\t0\t.",
]


def write(tmp_path, rows, compress=bytes):
    path = tmp_path / "a.gff3"
    path.write_bytes(compress("\n".join(rows).encode()))
    return path


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_features_are_0_based_and_half_open(tmp_path, compress):
    features = read_gff(write(tmp_path, ROWS, compress), LENGTHS).features
    assert features == (
        Feature("gene", Interval("a", 0, 12, "+")),
        Feature("CDS", Interval("a", 0, 3, "+")),
        Feature("CDS", Interval("a", 2, 12, "-")),
        Feature("CDS", Interval("b", 19, 20, ".")),
    )


def test_every_base_has_the_class_that_its_features_say(tmp_path):
    classes = region_classes(read_gff(write(tmp_path, ROWS), LENGTHS).features, LENGTHS, OFFSETS)
    expected = np.zeros(50, dtype=np.uint8)
    expected[0:12] = 1
    expected[49] = 1
    assert CLASS_NAMES[1] == "coding"
    assert classes.plane().tolist() == expected.tolist()
    for start in range(50):
        for end in range(start, 51):
            assert classes.plane(start, end).tolist() == expected[start:end].tolist()
    starts = np.arange(45)
    windows = classes.windows(starts, 5)
    assert windows.tolist() == [expected[s : s + 5].tolist() for s in starts]


FAULTS = {
    "few columns": ("a\tx\tCDS\t1\t3", "line 2: 5 tab-separated columns"),
    "start of zero": ("a\tx\tCDS\t0\t3\t.\t+\t0\t.", "start must be .* at least 1, got '0'"),
    "reversed": ("a\tx\tCDS\t9\t3\t.\t+\t0\t.", "empty or reversed"),
    "past the end": (
        "a\tx\tCDS\t9\t31\t.\t+\t0\t.",
        r"line 2: record 'a' has 30 bp.*or if the record is circular, set data\.circular=\[a\]",
    ),
    "no known record": ("z\tx\tCDS\t9\t11\t.\t+\t0\t.", "record 'z' is not in the genome.*nor"),
    "bad row elsewhere": ("z\tx\tCDS\t9\t3\t.\t+\t0\t.", "line 2: .*empty or reversed"),
    "odd strand": ("a\tx\tgene\t1\t3\t.\t1\t0\t.", "line 2: strand must be"),
    "twice round": ("b\tx\tCDS\t3\t29\t.\t+\t0\tIs_circular=true", "line 2: .*more than once"),
    "round from past the end": (
        "b\tx\tCDS\t21\t25\t.\t+\t0\tIs_circular=true", "line 2: .*more than once",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("row", "message"), FAULTS.values(), ids=FAULTS)
def test_a_bad_row_stops_with_its_line(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read_gff(write(tmp_path, ["##gff-version 3", row]), LENGTHS)


def test_a_file_without_features_is_refused(tmp_path):
    with pytest.raises(DataError, match="no feature"):
        read_gff(write(tmp_path, ["##gff-version 3", "##FASTA", ">a", "ACGT"]), LENGTHS)


def test_an_annotation_without_coding_features_is_refused():
    with pytest.raises(DataError, match="no CDS feature"):
        region_classes([Feature("gene", Interval("a", 0, 3))], LENGTHS, OFFSETS)


CROSSING = "b\tx\tCDS\t19\t23\t.\t-\t0\tID=w"
CIRCLE = "b\tx\tregion\t1\t20\t.\t+\t.\tID=r;Is_circular=true"


@pytest.mark.parametrize(
    ("rows", "circular"),
    [
        ([CIRCLE, CROSSING], ()),
        ([CROSSING, CIRCLE], ()),
        ([CROSSING], ["b"]),
        ([CROSSING.replace("ID=w", "Is_circular=TRUE;ID=w")], ()),
    ],
    ids=["said before", "said after", "said by a setting", "said by the feature"],
)
def test_a_feature_may_cross_the_origin_of_a_circular_record(tmp_path, rows, circular):
    found = read_gff(write(tmp_path, rows), LENGTHS, circular).features
    coding = [item for item in found if item.kind == "CDS"]
    assert [item.interval for item in coding] == [
        Interval("b", 18, 20, "-"),
        Interval("b", 0, 3, "-"),
    ]
    plane = region_classes(found, LENGTHS, OFFSETS).plane()
    assert np.flatnonzero(plane).tolist() == [30, 31, 32, 48, 49]


def test_a_feature_may_be_a_whole_circle_from_any_base_on(tmp_path):
    row = "b\tx\tCDS\t5\t24\t.\t+\t0\tIs_circular=true"
    plane = region_classes(
        read_gff(write(tmp_path, [row]), LENGTHS).features, LENGTHS, OFFSETS
    ).plane()
    assert plane.tolist() == [0] * 30 + [1] * 20


def test_that_one_record_is_circular_says_nothing_of_another(tmp_path):
    row = "a\tx\tCDS\t29\t33\t.\t+\t0\tID=w;Note=Is_circular=trueish"
    with pytest.raises(DataError, match="record 'a' has 30 bp"):
        read_gff(write(tmp_path, [CIRCLE, row]), LENGTHS)


def test_rows_on_records_that_the_genome_does_not_have_are_left_out_and_counted(tmp_path):
    others = ["chrUn_1\tx\tCDS\t1\t900\t.\t+\t0\t.", "chrUn_2\tx\tgene\t1\t9\t.\t+\t.\t."]
    found = read_gff(write(tmp_path, [others[0], *ROWS, others[1]]), LENGTHS)
    assert found.features == read_gff(write(tmp_path, ROWS), LENGTHS).features
    assert (found.num_elsewhere, found.elsewhere) == (2, "chrUn_1")


def test_names_of_records_are_unescaped_and_sequence_at_the_end_is_passed_over(tmp_path):
    rows = ["a%7C1\tx\tCDS\t1\t3\t.\t+\t0\t.", ">a|1", "ACGT"]
    found = read_gff(write(tmp_path, rows), {"a|1": 4})
    assert found.features == (Feature("CDS", Interval("a|1", 0, 3, "+")),)


def test_features_keep_their_order_and_the_first_bad_row_is_named(tmp_path):
    inner = "b\tx\tgene\t{}\t{}\t.\t-\t0\tID=i"
    rows = [CIRCLE, CROSSING, inner.format(5, 6), CROSSING.replace("19", "20"), inner.format(7, 8)]
    found = read_gff(write(tmp_path, rows), LENGTHS).features
    assert [item.interval.start for item in found] == [0, 18, 0, 4, 19, 0, 6]
    past = "a\tx\tCDS\t9\t31\t.\t+\t0\t."
    with pytest.raises(DataError, match="line 2: record 'a' has 30 bp"):
        read_gff(write(tmp_path, [CIRCLE, past, past]), LENGTHS)


def test_tabs_at_the_end_of_a_row_separate_nothing(tmp_path):
    rows = [ROWS[0], ROWS[1] + "\t", ROWS[2] + "\t\t"]
    assert read_gff(write(tmp_path, rows), LENGTHS).features == (
        Feature("gene", Interval("a", 0, 12, "+")),
        Feature("CDS", Interval("a", 0, 3, "+")),
    )
