"""Corpora from local files: the same shards however they are made, splits, mistakes."""

import hashlib
import json
import sys
import types

import pytest

from data_prep import text as module
from data_prep.sources import HubDataset, HubPart, LocalFiles
from data_prep.text import CORPORA, main, prepare
from data_prep.tokenizing import Task, make_tasks, run_tasks
from dnamdlm.data.text import TextData
from dnamdlm.errors import DataError
from dnamdlm.tokens.text import ByteTokenizer


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
        (["files=LINES", "processes=two"], "processes=two is no number"),
        (["files=LINES", "valid_fraction=0.7", "test_fraction=0.4"], "their sum at most 1"),
        (["files=LINES", "tokenizer=text8"], "which is no character of text8"),
        (["files=EMPTY"], "there is no text in the source"),
        (["files=JSONL"], "line 1 has no text under 'text', but a; give field="),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, lines, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    places = {"LINES": lines, "EMPTY": tmp_path / "empty.txt", "JSONL": tmp_path / "a.jsonl"}
    for name, path in places.items():
        arguments = [argument.replace(name, str(path)) for argument in arguments]
    assert main([*arguments, f"out={tmp_path / 'out'}"]) == 2
    assert message in capsys.readouterr().err


class _Rows(list):
    def select(self, numbers):
        return [self[number] for number in numbers]


@pytest.fixture
def hub(monkeypatch):
    """Stands for the packages `datasets` and `huggingface_hub`; counts what is asked."""
    asked = []

    def load_dataset(path, config, *, split, revision):
        asked.append((path, config, split, revision))
        return _Rows({"text": f"{split} {i}"} for i in range(10))

    class HfHubHTTPError(OSError):
        """What the hub says."""

    class HfApi:
        def dataset_info(self, path, revision=None):
            if path == "missing/set":
                raise HfHubHTTPError("404 for it")
            return types.SimpleNamespace(sha="c0ffee")

    packages = {
        "datasets": types.SimpleNamespace(load_dataset=load_dataset),
        "huggingface_hub": types.SimpleNamespace(
            HfApi=HfApi, errors=types.SimpleNamespace(HfHubHTTPError=HfHubHTTPError)
        ),
    }
    for name, package in packages.items():
        monkeypatch.setitem(sys.modules, name, package)
    return asked


def test_a_data_set_of_the_hub_is_read_at_one_commit(hub, tmp_path):
    parts = {"train": HubPart("train", None, -3), "valid": HubPart("train", -3, None)}
    source = HubDataset("some/set", parts, config="plain")
    manifest = prepare(
        tmp_path / "out", source, name="it", tokenizer=ByteTokenizer(), clean="plain", processes=1
    )
    shards = {name: part["shards"][0] for name, part in manifest["splits"].items()}
    assert [shards[name]["num_documents"] for name in ("train", "valid")] == [7, 3]
    assert set(hub) == {("some/set", "plain", "train", "c0ffee")}
    assert manifest["source"]["commit"] == "c0ffee"


def test_a_hub_that_cannot_be_reached_says_what_to_do(hub, tmp_path):
    with pytest.raises(DataError, match=r"does not give missing/set .404 for it.; run this on a"):
        HubDataset("missing/set", {"train": HubPart("train")}).identity()


def test_text8_is_cut_by_characters(hub):
    source = HubDataset("some/text8", {"train": HubPart("train")}, characters=(4, 6))
    parts = {name: "".join(texts) for name, texts in source.splits().items()}
    assert (parts["train"], parts["valid"]) == ("trai", "n ")


def test_the_corpora_hold_out_what_the_paper_does():
    owt, text8 = CORPORA["openwebtext"].source, CORPORA["text8"].source
    assert (owt.parts["valid"].first, owt.parts["train"].last) == (-100_000, -100_000)
    assert text8.characters == (90_000_000, 95_000_000)
    assert len(CORPORA) == 10


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
