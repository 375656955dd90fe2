"""Tables and FASTA files with labels, and what is said of faulty ones."""

import gzip
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dnamdlm.data import parquet_batches
from dnamdlm.data.tasks.families import (
    NUCLEOTIDE_TRANSFORMER_REVISED,
    GenomicBenchmarks,
    Gue,
    NucleotideTransformer,
    Table,
)
from dnamdlm.data.tasks.sequence_inputs import encode_dna, faults_of_dna
from dnamdlm.data.tasks.task_tables import open_label_rows, read_label_rows
from dnamdlm.errors import ConfigError, DataError

A, C, G, T, N = 7, 8, 9, 10, 11


def write_table(folder, name="t.csv", header="sequence,label", rows=("ACGT,b", "ccgg,a", "TTTT,b")):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def test_letters_become_ids_and_ambiguity_codes_become_n():
    found = encode_dna(["x", "y"], ["acGT", "NRtt"], "memory")
    assert [found[i].tolist() for i in range(2)] == [[A, C, G, T], [N, N, T, T]]
    assert found.lengths.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MKVLEFQ", r"sequence 2 \('bad'\) has 'L' at position 4.*protein"),
        ("ACGU", "position 4, which means RNA"),
        ("AC-T", "not a nucleotide code"),
        ("RSKMA", "looks like protein, 4 of its 5"),
        ("", r"sequence 2 \('bad'\) is empty"),
        *(
            (word, rf"sequence 2 \('bad'\) is '{word}', which stands for a missing value")
            for word in ("NA", "nan", "NaN", "null", "None", "<NA>", "N/A", ".", "-")
        ),
    ],
)
def test_a_sequence_that_is_no_dna_is_refused_with_its_place(text, message):
    with pytest.raises(DataError, match=message):
        encode_dna(["good", "bad"], ["ACGT", text], "my.csv")


def test_classes_are_sorted_and_the_same_in_every_part(tmp_path):
    train = write_table(tmp_path)
    test = write_table(tmp_path, "u.csv.gz")
    content = gzip.compress(b"sequence,label\nACGT,a\nAAAA,b\n")
    (tmp_path / "u.csv.gz").write_bytes(content)
    task = Table(train, test=test).open(None)
    assert task.label_names == ("a", "b")
    assert (task.train.targets.tolist(), task.test.targets.tolist()) == ([1, 0, 1], [0, 1])
    assert (task.name, task.metric) == ("t", "accuracy")


@pytest.mark.parametrize("hash_seed", ["0", "1", "2", "3", "4", "5"])
def test_the_order_of_labels_that_are_one_number_does_not_depend_on_hashes(tmp_path, hash_seed):
    code = (
        "from dnamdlm.data.tasks.labelled import sorted_classes; "
        "print(*sorted_classes(['01', '1', '0', '001', '-1', '-01'], 'f'))"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["-01", "-1", "0", "001", "01", "1"]
    assert "the labels '-01' and '-1' are one number written in two ways" in done.stderr


def test_whole_numbers_are_sorted_by_value(tmp_path):
    rows = ["A,10", "C,9", "G,10", "T,9"]
    assert Table(write_table(tmp_path, rows=rows), test_fraction=0.25).open(None).label_names == (
        "9",
        "10",
    )


def test_several_labels_come_from_one_column_or_from_several(tmp_path):
    one = write_table(tmp_path, rows=["A,x;y", "C,", "G,y", "T,x"])
    several = write_table(
        tmp_path, "u.tsv", "seq\tx\ty", ["A\t1\t1", "C\t0\t0", "G\t0\t1", "T\t1\t0"]
    )
    first = Table(one, test=one, kind="labels").open(None)
    second = Table(several, test=several, kind="labels", label_column=["x", "y"]).open(None)
    assert first.label_names == second.label_names == ("x", "y")
    assert first.train.targets.tolist() == second.train.targets.tolist()
    assert first.train.targets.tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]


def test_regression_reads_numbers(tmp_path):
    path = write_table(tmp_path, rows=["A,0.5", "C,-1e3"])
    task = Table(path, test=path, kind="regression").open("expression")
    assert task.train.targets.tolist() == [[0.5], [-1000.0]]
    assert (task.name, task.metric, task.num_outputs) == ("expression", "r2", 1)


def test_a_test_part_is_drawn_where_none_is_given(tmp_path):
    rows = [f"{'ACGT'[i % 4] * (i + 1)},{i % 2}" for i in range(20)]
    path = write_table(tmp_path, rows=rows)
    task = Table(path, test_fraction=0.25).open(None)
    again = Table(path, test_fraction=0.25).open(None)
    assert (len(task.train), len(task.test)) == (15, 5)
    assert task.fingerprint() == again.fingerprint()
    assert {*task.train.sequences.names, *task.test.sequences.names} == {
        f"row_{i + 1}" for i in range(20)
    }


def test_fasta_headers_carry_labels_in_both_ways(tmp_path):
    path = tmp_path / "t.fa"
    path.write_text(">chr1|0:5|1\nAC\nGT\n>b label=0 x\nTT\n>c|1\nA\n")
    task = Table(str(path), test=str(path)).open(None)
    assert task.train.targets.tolist() == [1, 0, 1]
    assert task.train.sequences[0].tolist() == [A, C, G, T]


@pytest.mark.parametrize(
    ("settings", "content", "message"),
    [
        ({}, "sequence,klass\nA,1\n", "no label column 'label' or 'labels'.*'klass'"),
        ({}, "letters,label\nA,1\n", "no sequence column"),
        ({"label_column": "y2"}, "sequence,label\nA,1\n", "no label column 'y2'"),
        ({}, "sequence,label\n", "no row"),
        ({}, "sequence,label\nA,1\nC,1\n", "all 2 rows have one label, '1'"),
        ({}, "sequence,label\nA,1\nC,\nG,2\n", "row 2 has no label"),
        ({}, "sequence,label\nMKVLEF,1\nC,0\n", "looks like protein"),
        ({}, "sequence,label\nA,1,2\n", "line 2: 3 fields, the header has 2"),
        ({"kind": "regression"}, "sequence,label\nA,high\nC,1\n", "'high', where a number between"),
        ({"kind": "regression"}, "sequence,label\nA,nan\nC,1\n", "'nan', where a number between"),
        ({"kind": "regression"}, "sequence,label\nA,1e308\nC,1\n", "'1e308', where a number betw"),
        ({"kind": "labels", "label_column": ["x", "y"]}, "sequence,x,y\nA,2,0\n", "0 and 1 only"),
    ],
)
def test_a_faulty_table_gives_one_clear_sentence(tmp_path, settings, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        Table(str(path), test=str(path), **settings).open(None)
    assert "\n" not in str(caught.value)


def test_labels_that_look_like_numbers_are_not_taken_for_classes(tmp_path):
    rows = [f"ACGT,{i / 7:.4f}" for i in range(150)]
    with pytest.raises(DataError, match=r"data.kind=regression"):
        Table(write_table(tmp_path, rows=rows), kind="classes").open(None)
    assert Table(write_table(tmp_path, rows=rows)).open(None).kind == "regression"


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("{}.5%", "60 rows have 60 different labels, such as '0.5%'; for numbers set data.kind="),
        ('"1,{:03}"', "60 rows have 60 .* '1,000'; .*without unit or thousands separator"),
        ("{}", "60 rows have 60 different labels, such as '0'; for numbers set data.kind="),
    ],
)
def test_labels_that_hardly_recur_are_not_taken_for_classes(tmp_path, label, sentence):
    rows = ["ACGT," + label.format(i) for i in range(60)]
    with pytest.raises(DataError, match=sentence):
        Table(write_table(tmp_path, rows=rows)).open(None)


def test_numbers_with_a_gap_are_refused_by_the_row(tmp_path):
    rows = [f"ACGT,{i}.5" for i in range(30)] + ["ACGT,ND"]
    with pytest.raises(DataError, match="row 31 has the label 'ND', where a number between"):
        Table(write_table(tmp_path, rows=rows)).open(None)


def test_an_unknown_test_label_is_refused(tmp_path):
    test = write_table(tmp_path, "u.csv", rows=["A,c"])
    with pytest.raises(DataError, match="row 1 has the label 'c', which no training row has"):
        Table(write_table(tmp_path), test=test).open(None)


def test_a_parquet_table_is_read_like_any_other(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"sequence": ["A", "C"], "label": [1, 0]}).to_parquet(path)
    train = Table(str(path), test=str(path)).open(None).train
    assert train.targets.tolist() == [1, 0]
    assert [train.sequences[row].tolist() for row in range(2)] == [[A], [C]]


def test_a_missing_value_of_a_parquet_table_is_an_empty_field(tmp_path):
    path = str(tmp_path / "t.parquet")
    pd.DataFrame({"sequence": ["A", None], "label": [1, 0]}).to_parquet(path)
    with pytest.raises(DataError, match=r"sequence 2 \('row_2'\) is empty"):
        Table(path, test=path).open(None)
    labels = pd.DataFrame({"sequence": ["A", "C", "G"], "label": [1, 0, None]}).convert_dtypes()
    labels.to_parquet(path)
    with pytest.raises(DataError, match="row 3 has no label"):
        Table(path, test=path).open(None)
    # a whole number stays one where another column lacks one.
    labels.dropna().assign(other=pd.array([None, 2], "Int64")).to_parquet(path)
    assert Table(path, test=path).open(None).label_names == ("0", "1")


def test_a_damaged_parquet_table_is_one_sentence(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"t\.parquet"):
        Table(str(tmp_path / "t.parquet")).open(None)
    # the end of the file is whole, and a page of its middle is not.
    path = tmp_path / "u.parquet"
    pd.DataFrame({"sequence": ["ACGT"] * 99, "label": range(99)}).to_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(56) + content[60:])
    with pytest.raises(DataError, match=r"u\.parquet: not a readable parquet file"):
        Table(str(path), test=str(path)).open(None)


def test_a_folder_of_parquet_files_is_refused_with_what_to_do(tmp_path):
    folder = tmp_path / "t.parquet"
    folder.mkdir()
    with pytest.raises(DataError, match=r"t\.parquet: this is a folder; give one of its files, or"):
        read_label_rows(folder)


def test_batches_of_parquet_hold_no_whole_row_group(tmp_path):
    path = tmp_path / "t.parquet"
    letters = np.random.default_rng(1).integers(65, 91, (40_000, 150), dtype=np.uint8)
    texts = [row.tobytes().decode("ascii") for row in letters]
    pq.write_table(pa.table({"sequence": texts}), path, row_group_size=len(texts))
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in parquet_batches.parquet_batches(path))
    assert most - before < path.stat().st_size / 2


@pytest.mark.parametrize("repeated", ["sequence", "note"])
def test_parquet_with_two_columns_of_one_name_is_refused(tmp_path, repeated):
    path = tmp_path / "t.parquet"
    names = ["sequence", "note", repeated]
    pq.write_table(pa.Table.from_arrays([pa.array(["ACGT", "AC"])] * 3, names=names), path)
    with pytest.raises(DataError, match=rf"t\.parquet: two columns have the name '{repeated}'"):
        read_label_rows(path, labelled=False)


def test_the_index_of_a_stored_frame_is_no_column_and_batches_change_nothing(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"sequence": list("ACGTACG"), "label": [0, 1, 1, 0, None, 1, 0]})
    frame["kind"] = pd.Categorical(list("xyzzyxx"))
    frame = frame.convert_dtypes()
    frame.iloc[[5, 3, 4, 0, 1]].to_parquet(path)
    whole = read_label_rows(path)
    assert whole.table == {
        "sequence": list("CTAAC"), "label": ["1", "0", "", "0", "1"], "kind": list("xzyxy"),
    }  # fmt: skip
    monkeypatch.setattr(parquet_batches, "_ROWS", 2)
    assert read_label_rows(path) == whole
    frame.iloc[:0].to_parquet(path)
    with pytest.raises(DataError, match="the table has no row"):
        read_label_rows(path)


def test_revised_tasks_have_their_own_names_and_one_metric(tmp_path):
    for name in ("H2AFZ", "promoter_all"):
        (tmp_path / name).mkdir()
        for part in ("train", "test"):
            (tmp_path / name / f"{part}.fna").write_text(">a|0\nAC\n>b|1\nGT\n")
    revised = NucleotideTransformer(str(tmp_path), revised=True)
    assert revised.open("H2AFZ").metric == "mcc"
    assert (revised.open("promoter_all").metric, len(NUCLEOTIDE_TRANSFORMER_REVISED)) == ("mcc", 18)
    assert NucleotideTransformer(str(tmp_path)).open("promoter_all").metric == "f1"
    with pytest.raises(DataError, match=r"H2AFZ is unknown; set data\.revised=true or choose"):
        NucleotideTransformer(str(tmp_path)).open("H2AFZ")
    with pytest.raises(DataError, match=r"H4ac is unknown; set data\.revised=false or"):
        revised.open("H4ac")


def test_the_folders_of_nucleotide_transformer_and_gue_are_read(tmp_path):
    folder = tmp_path / "H3"
    folder.mkdir()
    for part in ("train", "test"):
        (folder / f"{part}.fna").write_text(">a|0\nAC\n>b|1\nGT\n")
    task = NucleotideTransformer(str(tmp_path)).open("H3")
    assert (task.metric, task.valid, task.label_names) == ("mcc", None, ("0", "1"))
    deeper = tmp_path / "prom" / "x"
    deeper.mkdir(parents=True)
    for part in ("train", "dev", "test"):
        write_table(deeper, f"{part}.csv")
    assert len(Gue(str(tmp_path)).open("x").valid) == 3
    with pytest.raises(DataError, match="task=H5 is unknown; choose one of H3, "):
        NucleotideTransformer(str(tmp_path)).open("H5")
    with pytest.raises(ConfigError, match="task is not set"):
        GenomicBenchmarks(str(tmp_path)).open(None)
    (deeper / "dev.csv").unlink()
    with pytest.raises(DataError, match="no dev file"):
        Gue(str(tmp_path)).open("x")


def test_random_splits_differ_by_seed_and_cover_the_rows(tmp_path):
    rows = [f"{'ACGT'[i % 4]},{i % 2}" for i in range(40)]
    path = write_table(tmp_path, rows=rows)
    task = Table(path, test=path).open(None)
    train, valid = task.split_rows(1, 0.1)
    assert (len(train), len(valid)) == (36, 4)
    assert sorted([*train, *valid]) == list(range(40))
    assert not np.array_equal(valid, task.split_rows(2, 0.1)[1])
    with pytest.raises(DataError, match="cannot be split"):
        task.split_rows(1, 0.001)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cr.fa", b">a x\rAC\rGT\r>b\rNN\r"),
        ("semi.fa", b";note\n>a x\nAC\n;more\nGT\n>b\nNN\n"),
        ("upper.FA", b">a x\nACGT\n>b\nNN\n"),
        ("x.fas", b">a x\r\nACGT\r\n>b\r\nNN\r\n"),
        ("x.ffn", b">a x\nacgt\n\n>b\nnN\n"),
        ("x.frn.gz", gzip.compress(b">a x\nACGT\n>b\nNN", mtime=0)),
    ],
)
def test_fasta_of_sequences_is_read_as_a_genome_is(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    rows = read_label_rows(tmp_path / name, labelled=False)
    assert (rows.names, rows.sequences) == (["a", "b"], ["ACGT", "NN"])


def test_protein_is_known_by_content_whatever_the_ending(tmp_path):
    (tmp_path / "x.faa").write_text(">p\nMKVLEEFIQLLP\n")
    with pytest.raises(DataError, match="looks like protein"):
        read_label_rows(tmp_path / "x.faa", labelled=False)
    (tmp_path / "x.faa").write_text(">p\nACGT\n")
    assert read_label_rows(tmp_path / "x.faa", labelled=False).sequences == ["ACGT"]


def test_names_of_fasta_are_used_once_except_in_rows_with_labels(tmp_path):
    (tmp_path / "x.fa").write_text(">a|0\nAC\n>a|0\nGT\n")
    with pytest.raises(DataError, match=r"line 3: the record name 'a\|0' was used before"):
        read_label_rows(tmp_path / "x.fa", labelled=False)
    rows = read_label_rows(tmp_path / "x.fa")
    assert (rows.sequences, rows.labels) == (["AC", "GT"], {"label": ["0", "0"]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            ">a\nAC\n>b\nAC\n>a\nAC\n>c\nA!\n",
            "line 5: the record name 'a' was used before in line 1",
        ),
        (">a\nAC\n>b\nA!\n>a\nAC\n", "record 'b', line 4, base 2"),
        (">a\nAC\n>a\nA!\n", "line 3: the record name 'a' was used before in line 1"),
        (">a\n>b\n\n>c\n", "all 3 records are empty"),
    ],
)
def test_the_fault_that_stands_first_in_a_fasta_file_is_told(tmp_path, content, message):
    (tmp_path / "x.fa").write_text(content)
    with pytest.raises(DataError, match=re.escape(message)):
        read_label_rows(tmp_path / "x.fa", labelled=False)


def test_records_without_bases_keep_their_places(tmp_path):
    (tmp_path / "x.fa").write_text(">a\n>b\nAC\nGT\n>c\n>d\nT\n>e\n")
    rows = open_label_rows(tmp_path / "x.fa", labelled=False).rows
    assert [(row.name, row.sequence) for row in rows] == [
        ("a", ""), ("b", "ACGT"), ("c", ""), ("d", "T"), ("e", ""),
    ]  # fmt: skip


def test_u_is_read_where_rna_is_asked_for(tmp_path):
    (tmp_path / "x.fa").write_text(">a\nACGU\n")
    with pytest.raises(DataError, match=r"data\.rna=true"):
        read_label_rows(tmp_path / "x.fa", labelled=False)
    assert read_label_rows(tmp_path / "x.fa", labelled=False, rna=True).sequences == ["ACGT"]
    assert encode_dna(["a"], ["ACGU"], "x", rna=True).tokens.tolist() == (
        encode_dna(["a"], ["ACGT"], "x").tokens.tolist()
    )


def test_each_row_that_is_no_dna_is_named():
    faults = faults_of_dna(["ACGT", "", "AXG", "NA", "EFILPQ", "acgn"])
    assert list(faults) == [1, 2, 3, 4]
    assert [faults[row].split(";")[0].split(",")[0] for row in (1, 2, 3)] == [
        "is empty", "has 'X' at position 2", "is 'NA'",
    ]  # fmt: skip
    assert "protein" in faults[4]


def test_sequences_of_n_alone_are_counted_in_a_warning(caplog):
    encode_dna(["a", "b", "c"], ["NN", "ACNN", "n"], "x.csv")
    assert "x.csv: 2 of 3 sequences consist of N alone, the first is 'a'" in caplog.text
    caplog.clear()
    encode_dna(["a"], ["NA" + "C"], "x.csv")
    assert not caplog.text
