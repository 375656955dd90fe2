"""Corpora from local files: the same shards however they are made, splits, mistakes."""

import codecs
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from data_prep import text as module
from data_prep.sources import LocalFiles
from data_prep.text import CORPORA, main
from data_prep.tokenizing import Task, make_tasks, run_tasks
from dnamdlm.data.text.corpus import TextData
from dnamdlm.errors import DataError


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"document number {i}\n\n" for i in range(100)))
    return path


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def tokens(folder, split):
    part = json.loads((folder / "manifest.json").read_text())["splits"][split]
    return sum(shard["num_tokens"] for shard in part["shards"])


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(lines, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "make_tasks", lambda *a, **k: make_tasks(*a, **k, shard_bytes=200))
    for processes in (1, 2):
        out = tmp_path / str(processes)
        assert main([f"files={lines}", f"out={out}", f"processes={processes}"]) == 0
        assert len(list(out.glob("train_*.bin"))) > 5
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


def test_an_interrupted_preparation_goes_on_where_it_was(lines, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "make_tasks", lambda *a, **k: make_tasks(*a, **k, shard_bytes=200))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([f"files={lines}", f"out={whole}"]) == 0
    ran = []
    run = Task.run

    def counted(task):
        ran.append(task.stem)
        if len(ran) == 4:
            raise KeyboardInterrupt
        return run(task)

    monkeypatch.setattr(Task, "run", counted)
    assert main([f"files={lines}", f"out={broken}"]) == 130
    assert not (broken / "manifest.json").exists()
    (broken / "train_00001.bin").write_bytes(b"damaged")
    assert main([f"files={lines}", f"out={broken}"]) == 0
    assert ran.count("train_00000") == 1
    assert ran.count("train_00001") == 2
    assert digests(whole) == digests(broken)


def test_other_inputs_need_another_folder(lines, tmp_path, capsys):
    arguments = [f"files={lines}", f"out={tmp_path / 'out'}"]
    assert main(arguments) == 0
    before = digests(tmp_path / "out")
    assert main(arguments) == 0
    assert digests(tmp_path / "out") == before
    for change in ("clean=text8", "unit=file", "valid_fraction=0.2", "tokenizer=text8"):
        assert main([*arguments, change]) == 2
        assert "holds another corpus" in capsys.readouterr().err
    lines.write_text("another text\n")
    assert main(arguments) == 2


def test_held_out_documents_are_the_last_and_a_single_one_is_cut(lines, tmp_path):
    source = LocalFiles([lines], unit="paragraph", valid_fraction=0.1, test_fraction=0.2)
    parts = {name: list(texts) for name, texts in source.splits().items()}
    assert [len(parts[name]) for name in ("train", "valid", "test")] == [70, 10, 20]
    assert parts["valid"][0] == "document number 70"
    (tmp_path / "one.txt").write_text("0123456789")
    one = LocalFiles([tmp_path / "one.txt"], valid_fraction=0.1, test_fraction=0.2)
    assert {name: list(texts) for name, texts in one.splits().items()} == {
        "train": ["0123456"], "valid": ["7"], "test": ["89"],
    }  # fmt: skip


def test_files_of_their_own_are_the_held_out_splits(lines, tmp_path):
    for name in ("v", "t"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"body": name * 5}) + "\n")
    out = tmp_path / "out"
    files = [f"valid={tmp_path / 'v.jsonl'}", f"test={tmp_path / 't.jsonl'}", "field=body"]
    assert main([f"files={lines}", *files, f"out={out}"]) == 0
    assert tokens(out, "valid") == tokens(out, "test") == 6
    assert tokens(out, "train") == sum(len(f"document number {i}") + 1 for i in range(100))


def test_parquet_files_are_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "part.parquet"
    parquet.write_table(pyarrow.table({"text": ["one", "two"]}), path)
    assert list(LocalFiles([path], valid_fraction=0, test_fraction=0).splits()["train"]) == [
        "one",
        "two",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither corpus nor files is given"),
        (["corpus=lm2b"], "corpus=lm2b is unknown; choose lm1b"),
        (["files=none.txt"], "none.txt does not exist"),
        (["files=LINES", "tokenizer=/no/such"], "tokenizer=/no/such is neither"),
        (["files=LINES", "clean=soap"], "clean=soap is unknown; choose plain"),
        (["files=LINES", "unit=page"], "unit=page is unknown; choose line"),
        (["files=LINES", "processes=0"], "processes=0 must be at least 1"),
        (["files=LINES", "processes=two"], "processes=two is not a number"),
        (["files=LINES", "valid_fraction=0.7", "test_fraction=0.4"], "their sum at most 1"),
        (["files=LINES", "tokenizer=text8"], "which is not a character of text8"),
        (["files=EMPTY"], "there is no text in the source"),
        (["files=JSONL"], "line 1 has no text under 'text', but a; give field="),
        (["files=JSONL", "field=a"], "line 1 holds a value of type int where a text should be"),
        (["files=NULL"], "line 2 holds nothing where a text should be; take it out"),
        (["files=LATIN"], "latin.jsonl, line 1: byte 0xe9 is not UTF-8; save it as UTF-8 text"),
        (["files=BROKEN"], "broken.parquet is not a .parquet file that can be read"),
        (["files=FOLDER"], "is a folder; name files"),
        (["files=GZ"], "is neither text nor .jsonl nor .parquet; unpack or convert it first"),
        (["files=LINES", "valid_fraction=nan"], "their sum at most 1, got nan"),
        (["files=LINES", "splits=dev"], "splits=dev names 'dev'; choose train, valid, test"),
        (
            ["corpus=ptb", "tokenizer=bytes", "field=foo"],
            "field=foo is for local files, and corpus=ptb comes from",
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, lines, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "null.jsonl").write_text('{"text": "one"}\n{"text": null}\n')
    (tmp_path / "latin.jsonl").write_bytes('{"text": "\u00e9t\u00e9"}\n'.encode("latin-1"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "a.txt.gz").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    places = {
        "LINES": lines, "EMPTY": tmp_path / "empty.txt", "JSONL": tmp_path / "a.jsonl",
        "NULL": tmp_path / "null.jsonl", "LATIN": tmp_path / "latin.jsonl",
        "BROKEN": tmp_path / "broken.parquet", "GZ": tmp_path / "a.txt.gz",
        "FOLDER": tmp_path / "folder",
    }  # fmt: skip
    for name, path in places.items():
        arguments = [argument.replace(name, str(path)) for argument in arguments]
    assert main([*arguments, f"out={tmp_path / 'out'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_corpora_hold_out_what_the_paper_does():
    owt, text8 = CORPORA["openwebtext"].source, CORPORA["text8"].source
    assert (owt.parts["valid"].first, owt.parts["train"].last) == (-100_000, -100_000)
    assert text8.characters == (90_000_000, 95_000_000)
    assert len(CORPORA) == 10


def test_a_damaged_corpus_is_mended_by_the_command_that_made_it(lines, tmp_path, capsys):
    out = tmp_path / "out"
    command = [f"files={lines}", f"out={out}"]
    assert main(command) == 0
    whole = digests(out)
    (out / "valid_00000.bin").unlink()
    (out / "test_00000.ends.npy").write_bytes(b"")
    train = bytearray((out / "train_00000.bin").read_bytes())
    train[7] ^= 1
    (out / "train_00000.bin").write_bytes(train)
    assert main(command) == 0
    assert "train_00000, valid_00000, test_00000 missing or damaged" in capsys.readouterr().err
    assert digests(out) == whole
    (out / "manifest.json").write_text("{")
    assert main(command) == 0
    assert digests(out) == whole


def test_a_missing_file_of_document_ends_is_one_sentence(lines, tmp_path):
    out = tmp_path / "out"
    assert main([f"files={lines}", f"out={out}"]) == 0
    (out / "train_00000.ends.npy").unlink()
    with pytest.raises(DataError, match=r"train_00000\.ends\.npy cannot be read"):
        TextData(str(out), layout="padded").open().training_stream(1, 2)


@pytest.mark.parametrize("name", ["foreign.bin", "manifest.json"])
def test_a_folder_of_something_else_is_refused_and_left_alone(name, lines, tmp_path, capsys):
    (tmp_path / name).write_text("{}")
    assert main([f"files={lines}", f"out={tmp_path}"]) == 2
    assert "holds something else than a corpus of text" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, lines.name])


def test_a_mistake_leaves_files_of_others_alone(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "train_1.txt").write_text("mine")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "notes").write_text("mine too")
    before = sorted(tmp_path.rglob("*"))
    assert main([f"files={tmp_path / 'empty.txt'}", f"out={tmp_path}"]) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_an_input_is_not_written_over(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "inputs.json").write_text("a text of many words\n" * 40)
    (tmp_path / "link.txt").symlink_to("out/inputs.json")
    for name in ("out/inputs.json", "link.txt"):
        assert main([f"files={tmp_path / name}", f"out={tmp_path / 'out'}"]) == 2
        assert "would write over the input" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inputs.json"]


def test_a_file_as_folder_is_refused(lines, tmp_path, capsys):
    for out, message in ((lines, "is a file; name a folder"), (lines / "sub", "cannot be made")):
        assert main([f"files={lines}", f"out={out}"]) == 2
        assert message in capsys.readouterr().err


def test_marks_of_byte_order_and_blank_lines_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + b"one\r\ntwo\r\n")
    (tmp_path / "a.JSONL").write_bytes(codecs.BOM_UTF8 + b'{"text": "three"}\n\n')
    paths = [tmp_path / "a.txt", tmp_path / "a.JSONL"]
    source = LocalFiles(paths, valid_fraction=0, test_fraction=0)
    assert list(source.splits()["train"]) == ["one", "two", "three"]


@pytest.mark.parametrize(("number", "sizes"), [(2, (2, 0, 0)), (3, (1, 1, 1)), (10, (8, 1, 1)),
                                               (30, (27, 1, 2)), (100, (90, 5, 5))])  # fmt: skip
def test_small_corpora_keep_all_splits_that_they_can(number, sizes, tmp_path):
    (tmp_path / "a.txt").write_text("x\n" * number)
    parts = LocalFiles([tmp_path / "a.txt"]).splits()
    assert tuple(len(list(parts.get(name, ()))) for name in module.SPLITS) == sizes


def test_only_the_wanted_splits_are_prepared(lines, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([f"files={lines}", f"out={out}", "splits=test"]) == 0
    assert list(json.loads((out / "manifest.json").read_text())["splits"]) == ["test"]
    assert main([f"files={lines}", f"out={out}"]) == 2
    assert "holds another corpus" in capsys.readouterr().err


def test_a_folder_that_is_named_like_a_built_in_tokenizer_is_what_it_holds(lines, tmp_path):
    pytest.importorskip("tokenizers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "document", "number"]
    (tmp_path / "bytes").mkdir()
    (tmp_path / "bytes" / "vocab.txt").write_text("\n".join(words))
    out = tmp_path / "out"
    assert main([f"files={lines}", f"tokenizer={tmp_path / 'bytes'}", f"out={out}"]) == 0
    opened = TextData(str(out), length=4).open()
    assert opened.split("train").read(0, 4).tolist() == [5, 6, 1, 3]


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
def test_processes_end_with_the_command_and_it_goes_on(number, tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"line {i} of many\n" for i in range(2_500_000)))
    command = [sys.executable, "-m", "data_prep.text", f"files={tmp_path / 'a.txt'}", "processes=2"]
    out = tmp_path / "broken"
    started = subprocess.Popen([*command, f"out={out}"], start_new_session=True)
    while not list(out.glob("*.json")) or not list(out.glob("train_00000.json")):
        assert started.poll() is None
        time.sleep(0.02)
    os.kill(started.pid, number)
    started.wait()
    deadline = time.monotonic() + 20
    while processes_of(started.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not (out / "manifest.json").exists()
    for folder in ("broken", "whole"):
        subprocess.run([*command, f"out={tmp_path / folder}"], check=True, capture_output=True)
    assert digests(out) == digests(tmp_path / "whole")


def processes_of(group):
    """Processes of a group that are alive."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "-g", str(group)], check=False, capture_output=True, text=True
    )
    return listed.stdout.split()


def test_few_tasks_are_held_at_once(tmp_path):
    made = []

    def texts():
        for i in range(50):
            made.append(i)
            yield "x" * 100

    tasks = make_tasks(
        tmp_path, {"train": texts()}, cleaner="plain", tokenizer="bytes", key="k", shard_bytes=100
    )
    next(run_tasks(tasks, 1))
    assert len(made) < 3


def test_a_corpus_may_be_all_test_and_a_failed_command_is_forgotten(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"words": "one"}\n{"words": "two"}\n')
    command = [f"files={tmp_path / 'a.jsonl'}", "valid_fraction=0", f"out={tmp_path / 'out'}"]
    assert main([*command, "test_fraction=1"]) != 0
    assert main([*command, "test_fraction=1", "field=words"]) == 0
    opened = TextData(str(tmp_path / "out"), length=4).open()
    assert not opened.has_split("train")
    assert opened.split("test").num_documents == 2
    assert main([*command, "test_fraction=1.1", "field=words"]) != 0


def test_the_line_of_a_text_that_utf_8_cannot_hold_is_named(tmp_path):
    half = "\\" + "ud800"
    (tmp_path / "lone.jsonl").write_text(f'{{"text": "good"}}\n{{"text": "ab{half}c"}}\n')
    (tmp_path / "latin.txt").write_bytes("one\ntwo\nna\u00efve\n".encode("latin-1"))
    for name, message in (
        ("lone.jsonl", "lone.jsonl, line 2: the text has half of a surrogate pair at position 3"),
        ("latin.txt", "latin.txt, line 3: byte 0xef is not UTF-8"),
    ):
        source = LocalFiles([tmp_path / name], valid_fraction=0, test_fraction=0)
        with pytest.raises(DataError, match=message):
            list(source.splits()["train"])
