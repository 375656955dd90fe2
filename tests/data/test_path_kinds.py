"""A path of the wrong kind is named as what it is, with where the right one lies."""

import json
import re
from pathlib import Path

import pytest

from dnamdlm.data.path_kinds import is_fine_tuned, is_run, owner_of, what_it_is
from dnamdlm.data.targets import check_run_folder
from dnamdlm.errors import ConfigError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with one path of every kind."""
    monkeypatch.chdir(tmp_path)

    def write(name, content=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    manifest = {"format_version": 1, "files": {}}
    for run in ("tiny", "sw/seed=1,width=2", "sw/seed=2,width=2", "deep/sw/seed=1"):
        write(f"{run}/run.json", {})
        write(f"{run}/config.yaml")
        write(f"{run}/checkpoints/step_000000020/model.json", {})
        write(f"{run}/checkpoints/step_000000020/weights.safetensors")
        write(f"{run}/checkpoints/step_000000020/manifest.json", manifest)
    write("tiny/evaluation/test.json", {})
    write("new/run.json", {})
    write("new/config.yaml")
    write("ft/run.json", {})
    write("ft/config.yaml")
    write("ft/results.json", {"model": "runs/base"})
    write("ft/splits/model_seed_1/head.json", {})
    write("begun/run.json", {})
    write("begun/splits/model_seed_1/head.json", {})
    write("alone/model.json", {})
    write("alone/weights.safetensors")
    write("alone/manifest.json", manifest)
    write("corpus/manifest.json", {"format": "dnamdlm.corpus", "version": 1})
    write("genome/manifest.json", {"format_version": 1, "policy": {}, "records": []})
    write("x.fa", ">x\nACGT\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("ft")
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "path", "sentence"),
    [
        ("model", "tiny", None),
        ("model", "empty", None),
        ("model", "new", None),
        ("model", "tiny/checkpoints", "is the folder of all checkpoints of the run tiny; give s="),
        ("model", "tiny/evaluation", "is a part of the run tiny; give s=tiny"),
        ("model", "tiny/config.yaml", "is a part of the run tiny; give s=tiny"),
        ("model", "tiny/checkpoints/step_000000020/weights.safetensors",
         "is a part of the run tiny; give s=tiny"),
        ("model", "alone/weights.safetensors", "is a file of the checkpoint alone; give s=alone"),
        ("model", "ft", "is a fine-tuned run; use it with python -m dnamdlm.predict model=ft, or "
         "give s=runs/base, from which it was trained"),
        ("model", "link", "is a fine-tuned run; use it with python -m dnamdlm.predict model=link"),
        ("model", "begun", "is a fine-tuned run; use it with .*, or give the model as s=DIR"),
        ("model", "ft/splits", "is a part of the run ft; the run is a fine-tuned run, use it with"),
        ("model", "sw", "is a folder that holds 2 runs; give one run, such as s=sw/seed=1,width=2"),
        ("model", "deep", "is a folder that holds a run; give one run, such as s=deep/sw/seed=1"),
        ("model", "corpus", "is a prepared corpus of text; use it as data.corpus=corpus, and give"),
        ("model", "genome", "is a prepared genome of the cache; give a run folder, a checkpoint"),
        ("model", "x.fa", "is a file; give a run folder, a checkpoint folder or published weights"),
        ("head", "ft", None),
        ("head", "tiny", "is a training run, which has no fine-tuned head; fine-tune it first with "
         "python -m dnamdlm.finetune config=NAME model=tiny run_dir=NEW, then give s=NEW"),
        ("head", "tiny/checkpoints", "the folder of all checkpoints of the run tiny; the run is a "
         "training run"),
        ("head", "ft/splits/model_seed_1", "is a part of the run ft; give s=ft"),
        ("head", "alone", "is a checkpoint; give a run folder of dnamdlm.finetune"),
        ("head", "x.fa", "is a file; give a run folder of dnamdlm.finetune"),
        ("run", "ft", None),
        ("run", "tiny", None),
        ("run", "tiny/checkpoints/step_000000020", "is a part of the run tiny; give s=tiny"),
        ("run", "sw", "is a folder that holds 2 runs"),
        ("corpus", "corpus", None),
        ("corpus", "tiny", "is a run; give a folder that data_prep.text prepared"),
        ("corpus", "x.fa", "is a file; give a folder that data_prep.text prepared"),
        ("corpus", "genome", "is a prepared genome of the cache; give a folder that"),
        ("tokenizer", "corpus", "is a prepared corpus of text"),
    ],
)  # fmt: skip
def test_a_path_of_the_wrong_kind_is_named(place, wanted, path, sentence):
    found = what_it_is("s", Path(path), wanted)
    if sentence is None:
        assert found is None
        return
    assert found.startswith(f"s={path} ")
    assert re.search(sentence, found), found
    assert "\n" not in found


def test_a_path_within_a_run_is_named_as_it_was_given(place):
    assert owner_of(Path("tiny/checkpoints/step_000000020/model.json")) == Path("tiny")
    assert owner_of(place / "tiny" / "checkpoints") == place / "tiny"
    (place / "aside").symlink_to("tiny/checkpoints")
    assert owner_of(Path("aside")) == place / "tiny"
    assert owner_of(Path("x.fa")) is None
    assert owner_of(Path("tiny")) is None
    assert is_run(Path("ft"))
    assert is_fine_tuned(Path("ft"))
    assert not is_fine_tuned(Path("tiny"))


@pytest.mark.parametrize(
    ("run_dir", "fine_tunes", "sentence"),
    [
        ("tiny/checkpoints", False, "is a part of the run tiny; choose another run_dir"),
        ("tiny/evaluation/new", False, "is a part of the run tiny"),
        ("alone", False, "holds a checkpoint or prepared data and nothing else"),
        ("corpus/new", True, "holds a checkpoint or prepared data and nothing else"),
        ("ft", False, "is the folder of a fine-tuned run"),
        ("tiny", True, "is the folder of a training run"),
        ("x.fa", False, "is a file; choose another run_dir"),
    ],
)
def test_no_run_is_made_in_a_folder_of_another_kind(place, run_dir, fine_tunes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_run_folder(Path(run_dir), [], fine_tunes=fine_tunes)


@pytest.mark.parametrize(
    ("run_dir", "fine_tunes"),
    [("tiny", False), ("ft", True), ("begun", True), ("new", True), ("new", False), ("none", True),
     ("empty", False), ("sw/seed=3,width=2", False)],
)  # fmt: skip
def test_a_run_may_be_made_or_continued_in_a_folder_of_its_kind(place, run_dir, fine_tunes):
    check_run_folder(Path(run_dir), [], fine_tunes=fine_tunes)
