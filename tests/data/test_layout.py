"""Uneven layout of FASTA files is read and told, wherever blocks are cut."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.data.genome.fasta import FastaReader
from dnamdlm.data.genome.store import prepare_genome


def uneven_line(lines):
    """Number of the first line that shows unevenness, by looking at all lines of one record."""
    letters = [number for number, line in enumerate(lines) if line]
    if not letters:
        return None
    width = len(lines[0])
    for number in range(letters[-1] + 1):
        ended = lines[:number]
        if lines[number] and (len(lines[number]) > width or any(len(x) < width for x in ended)):
            return number
        if lines[number] and any(not x for x in ended):
            return number
    return None


def read(path, block_bytes=1 << 22):
    reader = FastaReader(path, block_bytes=block_bytes)
    for _ in reader:
        pass
    return reader.counts


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=8).filter(any),
    st.integers(1, 20),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_uneven_lines_are_found_wherever_a_block_ends(tmp_path_factory, sizes, block, ends):
    lines = ["A" * size for size in sizes]
    path = tmp_path_factory.mktemp("x") / "a.fa"
    path.write_text(">a\n" + "\n".join(lines) + "\n" * ends)
    expected = uneven_line(lines)
    assert read(path, block).uneven == ({} if expected is None else {"a": expected + 2})


@pytest.mark.parametrize(
    ("content", "uneven"),
    [
        (">a\nACGT\nACGT\nAC\n\n\n>b\nAC\nA", {}),
        (">a\nACGT\n\nACGT\n>b\nAC\n", {"a": 4}),
        (">a\nACGT\nAC\nACGT\n>b\nAC\nACG\n", {"a": 4, "b": 7}),
        (">a\nACGT\n;comment\nACGT\nACG\n", {}),
    ],
    ids=["even", "blank line", "ragged", "comment"],
)
def test_each_uneven_record_is_named_with_its_line(tmp_path, content, uneven):
    path = tmp_path / "a.fa"
    path.write_text(content)
    assert read(path).uneven == uneven


def test_kinds_of_line_ends_are_noted(tmp_path):
    path = tmp_path / "a.fa"
    for content, kinds in (
        (b">a\nAC\n", {"LF"}),
        (b">a\r\nAC\r\n", {"CRLF"}),
        (b">a\rAC\r", {"CR"}),
        (b">a\nAC\r\nGT\n", {"LF", "CRLF"}),
    ):
        path.write_bytes(content)
        for block_bytes in (1, 2, 3, 100):
            assert read(path, block_bytes).line_ends == kinds


def test_what_is_unusual_is_told_when_a_genome_is_prepared(tmp_path, caplog):
    path = tmp_path / "a.fa"
    path.write_bytes(b">a\nACGT\n\nACGT\r\n>b\n>c\nAC\nACG\n")
    with caplog.at_level(logging.WARNING):
        store = prepare_genome(path, cache_dir=tmp_path / "cache")
    assert dict(store.lengths) == {"a": 8, "c": 5}
    assert "1 empty records are left out: ['b']" in caplog.text
    assert "2 records have blank lines inside" in caplog.text
    assert "'a' at line 4" in caplog.text
    assert "line ends are mixed (CRLF, LF)" in caplog.text
