"""No file that anybody can give defeats a command: every reader, every entry, broken files.

With DNAMDLM_SWEEP=all every reader gets every file, which takes hours. DNAMDLM_SWEEP=N is share
number N of the files, so that other numbers sweep other files.
"""

import os
import re

import pytest

from tests.entries.commands import SHORT, run
from tests.entries.every_reader import (
    READERS,
    TEXT_READERS,
    cases_of,
    commands_of,
    fault_of,
    good_inputs,
)
from tests.entries.forks import run_all

pytestmark = pytest.mark.faults

ALL = [*READERS, *TEXT_READERS]
FEW = (
    "config=table", "model=run", "baselines=[]", "seeds=1", "bootstrap=0", "method=probe",
    "data.train=good.csv", "run_dir=ft",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, a head, a model of text, and good files of every kind."""
    folder = tmp_path_factory.mktemp("readers")
    good_inputs(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("train", *SHORT, "run_dir=run")
        run("finetune", *FEW)
        prepare_text(folder)
    return folder


def prepare_text(folder):
    """A corpus and a model that has learned next to nothing from it."""
    from data_prep import text

    (folder / "words.txt").write_text("The cat sat on the mat and the dog ran off.\n\n" * 400)
    text.main(["files=[words.txt]", "tokenizer=bytes", "out=corpus"])
    run(
        "train", "config=text", "data.corpus=corpus", "backbone=text_tiny", "data.length=32",
        "trainer.max_steps=2", "trainer.global_batch_size=4", "trainer.valid_windows=4",
        "run_dir=words",
    )  # fmt: skip


def faults_of(reader, folder):
    """What is wrong, of all files of a reader: variant, fault, command, what it said."""
    share = os.environ.get("DNAMDLM_SWEEP", "0")
    number = ALL.index(reader) + (0 if share == "all" else int(share))
    cases = cases_of(reader, number, complete=share == "all")
    part = re.sub(r"\W+", "_", reader[0])
    commands, places = commands_of(reader, cases, folder, part)
    before = state(folder, places)
    answers = run_all(commands, folder, each=60)
    found = [
        ((*case, fault), " ".join(asked), answer[2][-500:])
        for case, asked, answer, place in zip(cases, commands, answers, places, strict=True)
        if (fault := fault_of(answer, place)) is not None
    ]
    assert state(folder, places) == before
    return found


def state(folder, places):
    """Names and sizes of all that lies in a folder outside of the places of the cases.

    A locus that `tracks` evaluated is kept in the folder of its run.
    """
    apart = {folder / "run/evaluation", *(place.parents[1] for place in places[:1])}
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for path in folder.rglob("*")
        if not apart & {path, *path.parents} and not path.name.endswith((".lock", ".owner"))
    }


@pytest.mark.parametrize("reader", ALL, ids=lambda reader: reader[0])
def test_no_file_defeats_a_command(place, reader):
    assert faults_of(reader, place) == []


def test_every_good_file_is_taken_where_it_is_read(place):
    """Else a sweep over broken ones would see the same mistake in all."""
    # of JSON only what a folder holds is read by a command that ends well.
    readers = [reader for reader in ALL if ".json" not in reader[1]]
    asked = [(words, ending) for _, endings, words, *_ in readers for ending in endings]
    commands = [
        [word.format(file=f"good{ending}", out=f"good_{number}") for word in words]
        for number, (words, ending) in enumerate(asked)
    ]
    for number in range(len(commands)):
        (place / f"good_{number}").mkdir()
    answers = run_all(commands, place)
    assert [(words, *answer) for words, answer in zip(commands, answers, strict=True)
            if answer[0] != 0] == []  # fmt: skip
