"""Rows to predict for, which lie on the disk in batches: flat memory, and what they are."""

import errno
import io
import os
import random
import tracemalloc

import pandas as pd
import pytest

from dnamdlm.assembly.finetune import predicted_parts, spooled_rows
from dnamdlm.assembly.finetune.finetune_settings import PredictedInput
from dnamdlm.assembly.finetune.predicted_inputs import rows_of_file
from dnamdlm.assembly.finetune.predicted_parts import spooled_input
from dnamdlm.assembly.finetune.predicted_rows import PredictedRows
from dnamdlm.assembly.finetune.prediction import head_folders
from dnamdlm.data import parquet_batches, textfile
from dnamdlm.errors import DataError
from tests.helpers import entries
from tests.helpers.entries import composed
from tests.helpers.head_runs import write_heads, write_text_head

FEW, MANY = 1_000, 16_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two heads for two classes."""
    return write_heads(tmp_path_factory.mktemp("heads"), kind="classes", names="ab", seeds=2)


@pytest.fixture(scope="module")
def texts():
    """Short sequences, none of which is like another."""
    draw = random.Random(3)
    return ["".join(draw.choices("ACGT", k=20)) for _ in range(MANY)]


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch):
    """Lines are read in blocks that few rows fill as well."""
    monkeypatch.setattr(textfile, "_LINE_BLOCK_BYTES", 1 << 12)


def write(folder, ending, texts):
    """An input file of these sequences."""
    path = folder / f"{len(texts)}{ending}"
    if ending == ".parquet":
        notes = [f"the note of row {i}" for i in range(len(texts))]
        pd.DataFrame({"sequence": texts, "note": notes}).to_parquet(path)
        return path
    if ending == ".bed":
        (folder / "g.fa").write_text(f">chr1\n{''.join(texts)}\n")
        lines = [f"chr1\t{20 * i}\t{20 * i + 20}\tthe_name_of_row_{i}\n" for i in range(len(texts))]
    elif ending == ".fa":
        lines = [f">record_{i}\n{text}\n" for i, text in enumerate(texts)]
    else:
        mark = {".csv": ",", ".tsv": "\t"}[ending]
        lines = [f"sequence{mark}note\n"]
        lines += [f"{text}{mark}the note of row {i}\n" for i, text in enumerate(texts)]
    path.write_text("".join(lines))
    return path


def peak_of(work):
    """Most memory that is asked for by Python and numpy while something works, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def settings_of(run, path):
    return (f"model={run}", f"input={path}", f"out={path.parent / 'o.tsv'}", "device=cpu")


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".fa", ".bed", ".parquet"])
def test_sixteen_times_the_rows_are_checked_in_no_more_memory(
    run, texts, tmp_path, ending, monkeypatch
):
    monkeypatch.setattr(parquet_batches, "_ROWS", 512)
    folder = head_folders(run, 1)[0]
    data = PredictedInput()

    def read(path):
        with spooled_input(folder, str(path), data) as rows:
            assert (rows.num_faults, rows.longest) == (0, 20)

    small, large = (write(tmp_path, ending, texts[:number]) for number in (FEW, MANY))
    if ending == ".bed":
        # the last genome has the bases of both files.
        data = PredictedInput(fasta=str(tmp_path / "g.fa"), cache_dir=str(tmp_path / "cache"))
    # what is imported and kept at the first call is none of its rows.
    read(small)
    few, many = (peak_of(lambda path=path: read(path)) for path in (small, large))
    # a quarter of a megabyte is kept before the disk is used, and eight bytes for a record.
    assert many < few + 1e6


@pytest.mark.slow
def test_sixteen_times_the_rows_are_predicted_in_no_more_memory(run, texts, tmp_path):
    def predict(number):
        path = write(tmp_path, ".tsv", texts[:number])
        tree = composed("predict", *settings_of(run, path), "threads=1", "workers=1")
        return peak_of(lambda: entries.predict(tree))

    predict(FEW)
    few, many = predict(FEW), predict(MANY)
    assert many < few + 1e6


def test_batches_on_the_disk_are_those_of_the_whole_input(run, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", 7)
    given = [*texts[:25], "AC!T", *texts[25:30]]
    for place in range(7, 14):
        given[place] = ""
    path = write(tmp_path, ".csv", given)
    folder = head_folders(run, 1)[0]
    whole = rows_of_file(folder, str(path), PredictedInput())
    with spooled_input(folder, str(path), PredictedInput()) as rows:
        assert len(rows) == 5
        again = PredictedRows.joined(map(rows.rows, range(len(rows))))
        for number, part in enumerate(whole.batches(7)):
            ids = [part.sequences[i].tolist() for i in range(len(part.sequences))]
            assert [found.tolist() for found in rows.sequences(number)] == ids
            assert rows.lengths(number).tolist() == list(map(len, ids))
        figures = (rows.num_rows, rows.num_faults, rows.num_sequences, rows.num_tokens)
        assert figures == (31, 8, 23, 23 * 20)
        assert rows.digest() == whole.sequences.digest()
    assert again.columns == whole.columns == {
        "name": [f"row_{i + 1}" for i in range(31)],
        "sequence": given,
        "note": [f"the note of row {i}" for i in range(31)],
    }  # fmt: skip
    assert again.sequences.names == whole.sequences.names
    assert again.faults == whole.faults
    assert sorted(whole.faults) == [*range(7, 14), 25]


def test_intervals_and_rows_of_parquet_are_those_of_a_table_whatever_the_batch(
    run, texts, tmp_path, monkeypatch
):
    folder = head_folders(run, 1)[0]
    few = texts[:50]
    table, parquet, bed = (write(tmp_path, ending, few) for ending in (".tsv", ".parquet", ".bed"))
    data = PredictedInput(fasta=str(tmp_path / "g.fa"), cache_dir=str(tmp_path / "cache"))
    given = rows_of_file(folder, str(table), PredictedInput())
    for together in (512, 7, 1):
        monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", together)
        monkeypatch.setattr(parquet_batches, "_ROWS", 3 * together - 2)
        with spooled_input(folder, str(parquet), PredictedInput()) as rows:
            assert rows.digest() == given.sequences.digest()
            assert PredictedRows.joined(map(rows.rows, range(len(rows)))).columns == given.columns
        with spooled_input(folder, str(bed), data) as rows:
            assert rows.digest() == given.sequences.digest()
            names = PredictedRows.joined(map(rows.rows, range(len(rows)))).columns["name"]
            assert names == [f"the_name_of_row_{i}" for i in range(50)]


def test_a_bad_interval_after_many_good_ones_stops_with_its_line(run, texts, tmp_path):
    path = write(tmp_path, ".bed", texts[:40])
    with path.open("a") as file:
        file.write("chr1\t790\t801\n")
    data = PredictedInput(fasta=str(tmp_path / "g.fa"), cache_dir=str(tmp_path / "cache"))
    message = r"40\.bed, line 41: record 'chr1' has 800 bp, but chr1:790-801 ends at 801"
    with (
        pytest.raises(DataError, match=message),
        spooled_input(head_folders(run, 1)[0], str(path), data),
    ):
        pass


def test_what_is_said_of_all_rows_counts_those_of_every_batch(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", 2)
    folder = head_folders(run, 1)[0]
    path = tmp_path / "t.csv"
    path.write_text("sequence\n" + "\n".join(["ACGT", "", "NN", "N", "!", "AC", "NNN"]) + "\n")
    # blank lines are no rows.
    with spooled_input(folder, str(path), PredictedInput()) as rows:
        assert (rows.num_rows, rows.num_faults) == (6, 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 3 of 5 sequences consist of N alone, the first is 'row_2'; a result for them "
        "says nothing about DNA, so leave them out"
    ]
    path.write_text("sequence\n" + "-\n" * 5)
    with (
        pytest.raises(DataError, match=r"sequence 1 \('row_1'\) is '-', which stands for"),
        spooled_input(folder, str(path), PredictedInput()),
    ):
        pass


def test_texts_are_read_in_batches_as_at_once(tmp_path, monkeypatch):
    folder = head_folders(write_text_head(tmp_path / "run"), 1)[0]
    path = tmp_path / "t.csv"
    given = ["one", "", "two words", "", "", "three", "four"]
    path.write_text("sentence,n\n" + "".join(f"{text},{i}\n" for i, text in enumerate(given)))
    for together in (512, 2, 1):
        monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", together)
        with spooled_input(folder, str(path), PredictedInput()) as rows:
            found = PredictedRows.joined(map(rows.rows, range(len(rows))))
        assert found.columns["name"] == [f"row_{i + 1}" for i in range(7)]
        assert found.columns["sentence"] == given
        assert found.sequences.names == ("row_1", "row_3", "row_6", "row_7")
        # bytes, and the mark after them.
        assert found.sequences.lengths.tolist() == [4, 10, 6, 5]
        assert found.faults == dict.fromkeys((1, 3, 4), "is empty; give it text or remove it")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence,n\n", "the table has no row"),
        ("sentence,n\n,1\n,2\n,3\n", "row_1 is empty; give it text"),
        ("text,n\na,1\n", "there is no column 'sentence' among 'text', 'n'"),
    ],
)
def test_a_table_without_a_text_is_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", 2)
    folder = head_folders(write_text_head(tmp_path / "run"), 1)[0]
    (tmp_path / "t.csv").write_text(content)
    with (
        pytest.raises(DataError, match=message),
        spooled_input(folder, str(tmp_path / "t.csv"), PredictedInput()),
    ):
        pass


def test_turns_of_several_heads_change_no_byte(run, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(predicted_parts, "ROWS_OF_BATCH", 10)
    path = write(tmp_path, ".tsv", texts[:95])
    found = []
    for size in (64, 3, 1):
        monkeypatch.setattr(predicted_parts, "_BATCHES_OF_HEAD", size)
        entries.predict(composed("predict", *settings_of(run, path), "part_rows=70"))
        found.append((tmp_path / "o.tsv").read_bytes())
        (tmp_path / "o.tsv").unlink()
    assert found[0] == found[1] == found[2]


def test_a_full_disk_is_told_with_the_folder_of_temporary_files(run, texts, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = write(tmp_path, ".tsv", texts[:9])
    monkeypatch.setattr(spooled_rows, "SpooledTemporaryFile", lambda **_: Full())
    with (
        pytest.raises(DataError, match=r"cannot be kept in .*No space left.*; set TMPDIR to"),
        spooled_input(head_folders(run, 1)[0], str(path), PredictedInput()),
    ):
        pass
