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
    features = read_gff(write(tmp_path, ROWS, compress), LENGTHS)
    assert features == (
        Feature("gene", Interval("a", 0, 12, "+")),
        Feature("CDS", Interval("a", 0, 3, "+")),
        Feature("CDS", Interval("a", 2, 12, "-")),
        Feature("CDS", Interval("b", 19, 20, ".")),
    )


def test_every_base_has_the_class_that_its_features_say(tmp_path):
    classes = region_classes(read_gff(write(tmp_path, ROWS), LENGTHS), LENGTHS, OFFSETS)
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
    "past the end": ("a\tx\tCDS\t9\t31\t.\t+\t0\t.", "record 'a' has 30 bp"),
    "unknown record": ("z\tx\tCDS\t9\t11\t.\t+\t0\t.", "record 'z' is not in the genome"),
}


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
