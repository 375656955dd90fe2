"""A small part of the sweep of `tests/faults/test_every_reader.py`: one broken file per reader."""

import shutil

import pytest

from tests.entries.every_reader import READERS, broken_of, commands_of, fault_of, good_inputs
from tests.entries.forks import run_all

# those of the entries that are quickest to start.
_QUICK = [reader for reader in READERS if reader[0].split()[0] in ("sample", "score", "embed")]


@pytest.mark.parametrize("name", ["folder", "cut", "noise"])
def test_a_broken_file_is_one_sentence_and_leaves_nothing(trained, tmp_path, name):
    shutil.copytree(trained, tmp_path / "run")
    good_inputs(tmp_path)
    found, commands, places = [], [], []
    for number, reader in enumerate(_QUICK):
        case = (name, reader[1][0])
        asked, place = commands_of(reader, [case], tmp_path, str(number))
        found.append((reader[0], *case))
        commands += asked
        places += place
    answers = run_all(commands, tmp_path)
    faults = [
        (*case, fault, answer)
        for case, answer, place in zip(found, answers, places, strict=True)
        if (fault := fault_of(answer, place)) is not None
    ]
    assert faults == []


def test_every_good_file_is_taken_where_it_is_read(trained, tmp_path):
    """Else a sweep over broken ones would see the same mistake in all."""
    shutil.copytree(trained, tmp_path / "run")
    good_inputs(tmp_path)
    commands = [
        [word.format(file=f"good{reader[1][0]}", out=".") for word in reader[2]]
        for reader in _QUICK
        if reader[1][0] != ".json"
    ]
    answers = run_all(commands, tmp_path)
    assert [answer for answer in answers if answer[0] != 0] == []
    assert len(broken_of(".fa")) > 70
