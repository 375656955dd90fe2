"""Tables of record and class."""

import gzip
import re
from dataclasses import replace

import numpy as np
import pytest

from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.record_classes import RecordLabels, read_labels
from dnamdlm.errors import DataError

LENGTHS = {"c1": 300, "c2": 200, "c3": 100}


def write(tmp_path, text):
    path = tmp_path / "labels.tsv"
    path.write_text(text)
    return path


def test_comments_and_empty_lines_are_passed_over(tmp_path):
    path = write(tmp_path, "# record\tclass\n\nc1\tmouse\nc3\t human \n")
    assert read_labels(path, LENGTHS) == {"c1": "mouse", "c3": "human"}


def test_rows_of_records_that_the_genome_does_not_have_are_left_out_and_counted(tmp_path, caplog):
    path = write(tmp_path, "c1\tmouse\nscaffold_9\tmouse\nscaffold_10\tyak\n")
    with caplog.at_level("INFO"):
        assert read_labels(path, LENGTHS) == {"c1": "mouse"}
    assert "such as scaffold_9, are left out (2 in all)" in caplog.text


WRONG = {
    "no known record": ("c8\ta\nc9\tb\n", "record 'c8' is not in the genome"),
    "record twice": ("c1\ta\nc1\ta\n", "line 2 repeats 'c1'"),
    "no tab": ("c1 a\n", "line 1 is 'c1 a'; a record, a tab and a label"),
    "three columns": ("c1\ta\tb\n", "line 1"),
    "no label": ("c1\t\n", "line 1"),
    "nothing": ("# only this\n", "has no rows"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_line_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=re.escape(message)):
        read_labels(write(tmp_path, text), LENGTHS)


def test_a_missing_or_binary_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.tsv: no such file; check the path"):
        read_labels(tmp_path / "none.tsv", LENGTHS)
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="this is UTF-16 text"):
        read_labels(tmp_path / "x", LENGTHS)


def test_a_byte_order_mark_and_compression_are_read(tmp_path):
    content = "\ufeffc1\tyak\r\n".encode()
    (tmp_path / "a.tsv").write_bytes(content)
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(content))
    for name in ("a.tsv", "a.tsv.gz"):
        assert read_labels(tmp_path / name, LENGTHS) == {"c1": "yak"}


def test_classes_are_numbered_in_sorted_order_and_found_by_offset():
    offsets = {"c1": 0, "c2": 300, "c3": 500}
    labels = RecordLabels.of_records({"c1": "yak", "c3": "ant"}, offsets, ["c1", "c3"])
    assert labels.names == ("ant", "yak")
    assert labels.at(np.array([0, 299, 300, 500, 599])).tolist() == [1, 1, -1, 0, 0]


def test_every_record_that_is_used_needs_a_label():
    with pytest.raises(DataError, match=r"has no label for 1 records .* such as 'c2'"):
        RecordLabels.of_records({"c1": "a"}, {"c1": 0, "c2": 300}, ["c1", "c2"])


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    text = "".join(
        f">{name}\n{''.join(rng.choice(list('ACGT'), size))}\n" for name, size in LENGTHS.items()
    )
    (tmp_path / "g.fa").write_text(text)
    labels = write(tmp_path, "c1\tyak\nc2\tant\nc3\tyak\n")
    return GenomeData(
        fasta=str(tmp_path / "g.fa"),
        cache_dir=str(tmp_path / "cache"),
        length=20,
        valid=["c3"],
        labels=str(labels),
    )


def test_batches_carry_the_class_of_the_record_of_each_window(data):
    genome = data.open()
    assert genome.label_names == ("ant", "yak")
    batch = genome.training_stream(1, 64).batch(3)
    assert batch.label.tolist() == [int(start < 300) for start in batch.start.tolist()]
    assert set(batch.label.tolist()) == {0, 1}
    (batch,) = genome.evaluation_windows("valid").batches(100)
    assert batch.label.tolist() == [1] * 5


def test_without_a_table_there_are_no_classes_and_the_table_counts_in_the_fingerprint(data):
    plain = replace(data, labels=None).open()
    assert plain.label_names == ()
    assert plain.training_stream(1, 4).batch(0).label is None
    assert plain.fingerprint() != data.open().fingerprint()
