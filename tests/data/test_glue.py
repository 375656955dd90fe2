"""GLUE files, pairs with marks, and the mistakes that are possible with both."""

import numpy as np
import pytest

from dnamdlm.data.tasks.glue import GLUE, Glue
from dnamdlm.data.tasks.sentences import TextEncoder
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.text_tokenizer import ByteTokenizer, CharacterTokenizer

ENCODER = TextEncoder(ByteTokenizer(), 16)
END = 256
# header and two rows of each published file, as its documentation describes them.
FILES = {
    "CoLA": (None, ["g\t1\t\tA dog.", "g\t0\t*\tDog a."]),
    "SST-2": ("sentence\tlabel", ["good \t1", 'so " bad\t0']),
    "MRPC": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", ["1\t1\t2\ta\tb", "0\t1\t2\tc\td"]),
    "STS-B": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        ["0\tx\tx\t1\t0\tn\tn\ta\tb\t3.250", "1\tx\tx\t1\t0\tn\tn\tc\td\t5.0"],
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        ["1\t1\t2\ta\tb\t1", "1\t1\t2\tc\td\t0", "1\t2"],
    ),
    "QNLI": (
        "index\tquestion\tsentence\tlabel",
        ["0\ta\tb\tentailment", "1\tc\td\tnot_entailment"],
    ),
    "RTE": (
        "index\tsentence1\tsentence2\tlabel",
        ["0\ta\tb\tnot_entailment", "1\tc\td\tentailment"],
    ),
    "WNLI": ("index\tsentence1\tsentence2\tlabel", ["0\ta\tb\t1", "1\tc\td\t0"]),
    "MNLI": (
        "index\tsentence1\tsentence2\tlabel1\tgold_label",
        ["0\ta\tb\tneutral\tneutral", "1\tc\td\tneutral\tentailment", "2\te\tf\tx\tcontradiction"],
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, (header, rows) in FILES.items():
        (tmp_path / name).mkdir()
        lines = "\n".join([*([header] if header else []), *rows]) + "\n"
        for stem in ("train", "dev", "dev_matched", "dev_mismatched"):
            (tmp_path / name / f"{stem}.tsv").write_text(lines)
    return tmp_path


@pytest.mark.parametrize("name", sorted(GLUE))
def test_each_task_is_read_as_published(folder, name):
    task = Glue(str(folder)).open_text(name, ENCODER)
    assert len(task.train) == len(task.test) == 2 + (task.num_outputs == 3)
    assert task.valid is None
    form = GLUE[name]
    width = len(form.columns)
    assert {len(row) for row in task.train.texts} == {width}
    assert (task.train.sequences[0] == END).sum() == width
    assert task.text_columns == form.columns
    assert task.metric == {"cola": "mcc", "stsb": "pearson", "mrpc": "f1", "qqp": "f1"}.get(
        name, "accuracy"
    )


def test_labels_are_those_of_the_files(folder):
    def targets(name):
        return Glue(str(folder)).open_text(name, ENCODER).train.targets.tolist()

    assert targets("cola") == [1, 0]
    assert targets("rte") == [1, 0]
    assert targets("mnli") == [2, 1, 0]
    assert targets("stsb") == [[3.25], [5.0]]


def test_quotes_are_letters_and_sentences_keep_their_words(folder):
    task = Glue(str(folder)).open_text("sst2", ENCODER)
    assert task.train.texts == (("good",), ('so " bad',))
    kept = task.train.take(np.array([1]))
    assert kept.texts == (('so " bad',),)


def test_a_pair_has_a_mark_after_each_sentence_and_loses_the_end_of_the_longer_one():
    def row(*texts, length=9):
        return TextEncoder(ByteTokenizer(), length).encode(["x"], [texts], "f")[0].tolist()

    assert row("ab", "cd") == [97, 98, END, 99, 100, END]
    assert row("abcdefgh", "ij") == [*b"abcde", END, *b"ij", END]
    assert row("ab", "cdefghij") == [*b"ab", END, *b"cdefg", END]
    assert row("abcdefgh", "ijklmnop") == [*b"abcd", END, *b"ijk", END]
    assert row("abcdefghijk") == [*b"abcdefgh", END]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("colla", "task=colla is unknown; choose one of cola, sst2"),
        (None, "task is not set"),
    ],
)
def test_a_wrong_task_is_refused(folder, task, message):
    with pytest.raises((ConfigError, DataError), match=message):
        Glue(str(folder)).open_text(task, ENCODER)


def test_missing_files_columns_and_labels_are_named(folder):
    (folder / "RTE" / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"RTE/dev\.tsv: no such file; data\.folder must hold GLUE"):
        Glue(str(folder)).open_text("rte", ENCODER)
    (folder / "RTE" / "dev.tsv").write_text("index\tsentence1\tlabel\n0\ta\tentailment\n")
    with pytest.raises(DataError, match=r"dev\.tsv: there is no column 'sentence2' among 'index'"):
        Glue(str(folder)).open_text("rte", ENCODER)
    (folder / "WNLI" / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\t2\n")
    with pytest.raises(DataError, match="label '2', which no training row has"):
        Glue(str(folder)).open_text("wnli", ENCODER)
    (folder / "WNLI" / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\t1\n")
    with pytest.raises(DataError, match=r"line 2: 3 fields, the header has 4"):
        Glue(str(folder)).open_text("wnli", ENCODER)


def test_text_without_room_or_marks_is_refused():
    with pytest.raises(ConfigError, match="max_length=2 leaves no space"):
        TextEncoder(ByteTokenizer(), 2).encode(["x"], [("a", "b")], "f")
    with pytest.raises(ConfigError, match="text8 has no mark to put between two sentences"):
        TextEncoder(CharacterTokenizer(), 9).encode(["x"], [("a", "b")], "f")
    with pytest.raises(DataError, match="f: row_1 is empty"):
        ENCODER.encode(["row_1"], [("",)], "f")
    with pytest.raises(DataError, match="f: the text has 'A'"):
        TextEncoder(CharacterTokenizer(), 9).encode(["x"], [("A",)], "f")


def test_the_published_files_are_read(shared):
    source = Glue(str(shared / "data/text/glue"))
    counts = {"cola": (8551, 1043), "rte": (2490, 277), "sst2": (67349, 872)}
    for name, (train, dev) in counts.items():
        task = source.open_text(name, TextEncoder(ByteTokenizer(), 128))
        assert (len(task.train), len(task.test)) == (train, dev)
