"""Data that comes through a pipe: read as from a file, and nobody waits for a pipe without end."""

import gzip
import os
import socket
import threading

import pytest

from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.intervals import read_bed
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.tasks.task_tables import read_label_rows
from dnamdlm.data.textfile import open_blocks, read_lines
from dnamdlm.data.variants.vcf import VariantFile
from dnamdlm.errors import DataError

VCF = (
    "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nc\t1\t.\tA\tC\t.\t.\t.\n"
)


@pytest.fixture
def piped():
    """The path of a pipe through which some content comes."""
    opened = []

    def pipe(content):
        reader, writer = os.pipe()
        opened.append(reader)
        data = content.encode() if isinstance(content, str) else content

        def write():
            with os.fdopen(writer, "wb") as file:
                file.write(data)

        threading.Thread(target=write).start()
        return f"/dev/fd/{reader}"

    yield pipe
    for reader in opened:
        os.close(reader)


def test_a_pipe_is_read_as_often_as_a_file(piped):
    path = on_disk(piped("a\nb\n"))
    assert list(read_lines(path)) == list(read_lines(path)) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_more_than_a_pipe_holds_comes_through(piped, tmp_path, compress):
    content = b"ACGT" * 100_000
    (tmp_path / "a").write_bytes(content)
    assert b"".join(open_blocks(on_disk(piped(compress(content))))) == content


def test_variants_intervals_and_genomes_come_through_pipes(piped, tmp_path):
    variants = VariantFile(piped(VCF))
    assert [row.ref for row in variants.rows()] == [row.ref for row in variants.rows()] == ["A"]
    assert str(read_bed(piped("c\t1\t3\n"), {"c": 5}).intervals[0].end) == "3"
    assert read_fasta(piped(">c\nAC\n"))["c"].tolist() == [0, 1]
    store = prepare_genome(piped(">c\nACGTN\n"), cache_dir=tmp_path)
    assert dict(store.lengths) == {"c": 5}


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (">a\nAC\n", ".fa"), (";x\n>a\nAC\n", ".fa"), ("sequence,label\nAC,1\n", ".csv"),
        ("sequence\tlabel\nAC\t1\n", ".tsv"), ("c\t0\t4\n", ".bed"),
        (gzip.compress(b">a\nAC\n", mtime=0), ".fa.gz"),
        (gzip.compress(b"a\tsequence\nx\tAC\n", mtime=0), ".tsv.gz"),
    ],
)  # fmt: skip
def test_a_table_from_a_pipe_is_known_by_its_content(piped, content, ending):
    path = piped(content)
    assert on_disk(path).name.endswith(ending)
    if ending != ".bed":
        assert read_label_rows(on_disk(path), labelled=False).sequences == ["AC"]


def test_an_empty_pipe_is_named_as_empty(piped):
    with pytest.raises(DataError, match="the file is empty"):
        list(read_lines(on_disk(piped(""))))


def test_a_pipe_with_a_name_a_device_and_a_socket_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.fa")
    with pytest.raises(DataError, match=r"this is a named pipe.*/dev/stdin"):
        read_fasta(tmp_path / "pipe.fa")
    with pytest.raises(DataError, match="this is a device"):
        read_fasta("/dev/zero")
    with pytest.raises(DataError, match="named pipe"):
        prepare_genome(tmp_path / "pipe.fa", cache_dir=tmp_path / "cache")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(DataError, match="or a socket"):
            list(read_lines(tmp_path / "s"))


def test_a_file_as_standard_input_keeps_its_ending(tmp_path):
    (tmp_path / "a.csv").write_text("sequence\nAC\n")
    with (tmp_path / "a.csv").open() as file:
        path = on_disk(f"/dev/fd/{file.fileno()}")
        assert path == (tmp_path / "a.csv").resolve()
    assert on_disk(tmp_path) == tmp_path
    assert on_disk(tmp_path / "none") == tmp_path / "none"
