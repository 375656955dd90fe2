"""Written FASTA is what other programs read, complete or absent."""

import gzip

import pytest
from Bio import SeqIO
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfaidx import Fasta

from dnamdlm.data.genome.fasta_writer import write_fasta

SEQUENCES = st.lists(st.text("ACGT", min_size=1, max_size=200), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(sequences=SEQUENCES, width=st.integers(1, 100))
def test_biopython_and_pyfaidx_read_what_was_written(tmp_path_factory, sequences, width):
    path = tmp_path_factory.mktemp("fasta") / "x.fa"
    written = write_fasta(path, ((f"s{i} n=1", s) for i, s in enumerate(sequences)), width=width)
    assert written == len(sequences)
    with path.open() as stream:
        assert [str(record.seq) for record in SeqIO.parse(stream, "fasta")] == sequences
    with Fasta(str(path)) as reader:
        assert [str(reader[f"s{i}"]) for i in range(len(sequences))] == sequences
    assert max(len(line) for line in path.read_text().splitlines() if line[0] != ">") <= width


def test_compressed_files_have_the_same_bytes_every_time(tmp_path):
    for name in ("a.fa.gz", "b.fa.gz"):
        write_fasta(tmp_path / name, [("s", "ACGT")])
    assert (tmp_path / "a.fa.gz").read_bytes() == (tmp_path / "b.fa.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.fa.gz").read_bytes()) == b">s\nACGT\n"


def test_a_failure_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text("old")

    def records():
        yield "s", "ACGT"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_fasta(path, records())
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.fa"]


@settings(max_examples=50, deadline=None)
@given(pieces=st.lists(st.text("ACGT", max_size=30), max_size=12), width=st.integers(1, 20))
def test_a_sequence_in_pieces_gives_the_bytes_of_the_whole(tmp_path_factory, pieces, width):
    folder = tmp_path_factory.mktemp("fasta")
    write_fasta(folder / "whole.fa", [("s", "".join(pieces)), ("t", "ACGT")], width=width)
    write_fasta(folder / "parts.fa", [("s", iter(pieces)), ("t", ["AC", "GT"])], width=width)
    assert (folder / "parts.fa").read_bytes() == (folder / "whole.fa").read_bytes()
