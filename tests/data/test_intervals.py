"""Intervals and the strict BED reader."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.errors import DataError

LENGTHS = {"chr1": 1000, "chr2": 500}


@pytest.fixture
def bed(tmp_path):
    def write(content, name="a.bed"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5)])
def test_an_interval_is_never_empty_reversed_or_negative(start, end):
    with pytest.raises(DataError, match="empty or reversed"):
        Interval("chr1", start, end)


def test_an_interval_knows_its_strands():
    with pytest.raises(DataError, match="strand"):
        Interval("chr1", 0, 1, "x")


@given(st.tuples(*[st.integers(0, 12)] * 4))
def test_overlap_equals_a_shared_position(points):
    a, b = sorted(points[:2]), sorted(points[2:])
    if a[0] == a[1] or b[0] == b[1]:
        return
    shared = set(range(*a)) & set(range(*b))
    assert Interval("c", *a).overlaps(Interval("c", *b)) == bool(shared)
    assert not Interval("c", *a).overlaps(Interval("d", *b))


@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_rows_headers_names_and_strands_are_read(bed, ending, compress):
    lines = [
        "# comment",
        'track name="x"',
        "browser position chr1:1-2",
        "chr1\t0\t10",
        "",
        "chr2\t5\t500\ttest\t0\t-\t1\t2\t3\t4\t5\t6",
    ]
    table = read_bed(bed(compress((ending.join(lines) + ending).encode())), LENGTHS)
    assert table.intervals == (Interval("chr1", 0, 10), Interval("chr2", 5, 500, "-"))
    assert table.names == (None, "test")
    assert table.lines == (4, 6)
    assert table.num_rows == 2


FAULTS = {
    "unknown record": ("chrX\t0\t5", "line 1: record 'chrX' is not in the genome; the nearest"),
    "other naming": ("1\t0\t5", "record '1' is not in the genome, but 'chr1' is"),
    "past the end": ("chr2\t0\t501", "record 'chr2' has 500 bp, but chr2:0-501 ends at 501"),
    "start equals end": ("chr1\t5\t5", "empty or reversed"),
    "start after end": ("chr1\t9\t5", "empty or reversed"),
    "negative": ("chr1\t-1\t5", "start must be a whole number of at least 0, got '-1'"),
    "text": ("chr1\t0\tfive", "end must be a whole number"),
    "spaces": ("chr1 0 5", "separated by spaces, use tabs"),
    "two columns": ("chr1\t0", "2 tab-separated columns, at least 3"),
    "blank in the name": ("chr1 \t0\t5", "record 'chr1 ' is not in the genome"),
    "NUL": ("chr1\t0\t5\0", "NUL byte"),
    "no rows": ("# nothing\n", "no rows"),
    "empty": ("", "the file is empty"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_a_bad_row_stops_with_its_line(bed, content, message):
    with pytest.raises(DataError, match=message):
        read_bed(bed(content), LENGTHS)


def test_rows_in_equal_rows_out_plus_rejected(bed):
    table = read_bed(
        bed("chr1\t0\t5\nchr1\t7\t6\n\nchr9\t0\t5\nchr2\t1\t2\n"), LENGTHS, bad_rows="skip"
    )
    assert [row.line for row in table.rejected] == [2, 4]
    assert table.num_rows == 4 == len(table.intervals) + len(table.rejected)


def test_many_unknown_records_are_looked_for_once(bed):
    lengths = {f"contig_{i}": 100 for i in range(100_000)}
    rows = "".join(f"scaffold_{i}\t0\t5\n" for i in range(50_000))
    table = read_bed(bed(f"{rows}contig_7\t0\t5\n"), lengths, bad_rows="skip")
    first, *rest = (row.reason for row in table.rejected)
    assert "the nearest of 100000 names" in first
    assert rest[-1] == "record 'scaffold_49999' is not in the genome"
    assert len(rest) == 49_999


def test_all_rows_rejected_is_an_error(bed):
    with pytest.raises(DataError, match="all 1 rows were rejected"):
        read_bed(bed("chr9\t0\t5\n"), LENGTHS, bad_rows="skip")


def test_coordinates_past_two_to_the_32_are_exact(bed):
    lengths = {"big": 2**33}
    table = read_bed(bed(f"big\t{2**32 + 1}\t{2**33}\n"), lengths)
    assert table.intervals[0] == Interval("big", 2**32 + 1, 2**33)


@pytest.mark.parametrize(
    ("row", "strand"),
    [
        ("chr1\t0\t5" + "\tx" * 12, "."),
        ("chr1\t0\t5\tn\t0\t12.5", "."),
        ("chr1\t0\t5\t\t", "."),
        ("chr1\t0\t5\tn\t0\t-\t\t", "-"),
    ],
    ids=["gappedPeak", "signal in column 6", "tabs at the end", "strand and tabs"],
)
def test_bed_is_read_as_it_is_found(tmp_path, row, strand):
    (tmp_path / "a.bed").write_text(row + "\n")
    (interval,) = read_bed(tmp_path / "a.bed", {"chr1": 10}).intervals
    assert interval == Interval("chr1", 0, 5, strand)
