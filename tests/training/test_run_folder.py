"""A run folder belongs to one process, one config and one data set."""

import errno
import os
import resource
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest
from torch import nn

from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.lm.checkpoint import json_writer, write_folder
from dnamdlm.training import disk_space
from dnamdlm.training.disk_space import check_space, try_space
from dnamdlm.training.run_folder import open_run, read_run, read_run_config
from dnamdlm.training.run_lock import claimed

TREE = {"seed": 1, "run_dir": "a", "trainer": {"max_steps": 5, "num_workers": 0}}
DATA = {"fingerprint": "f1", "fasta": "x.fa"}


def test_a_folder_in_use_is_refused(tmp_path):
    with (
        claimed(tmp_path / "run"),
        pytest.raises(ConfigError, match="in use"),
        claimed(tmp_path / "run"),
    ):
        pass


def test_a_folder_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with claimed(tmp_path / "run"):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"), claimed(tmp_path / "run"):
        pass


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"), claimed(tmp_path / "run"):
        pass


def test_the_same_config_is_accepted_and_free_settings_may_change(tmp_path):
    assert open_run(tmp_path, TREE, DATA) is None
    moved = TREE | {"run_dir": "b", "trainer": {"max_steps": 5, "num_workers": 2}}
    assert open_run(tmp_path, moved, DATA) is None
    assert read_run(tmp_path)["data"] == DATA


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (TREE | {"seed": 2}, r"seed was 1 and is now 2"),
        (TREE | {"trainer": {"max_steps": 6, "num_workers": 0}}, r"trainer\.max_steps was 5"),
        (TREE | {"new": True}, r"new was None and is now True"),
    ],
    ids=["seed", "steps", "new key"],
)
def test_another_config_is_refused_with_the_difference(tmp_path, tree, message):
    open_run(tmp_path, TREE, DATA)
    with pytest.raises(ConfigError, match=message):
        open_run(tmp_path, tree, DATA)


def test_changed_data_are_refused(tmp_path):
    open_run(tmp_path, TREE, DATA)
    with pytest.raises(ConfigError, match="other data"):
        open_run(tmp_path, TREE, DATA | {"fingerprint": "f2"})
    # a corpus, whose run an earlier version recorded with the key `fasta`.
    corpus = {"fingerprint": "f2", "corpus": "wikitext2"}
    with pytest.raises(ConfigError, match="the content of wikitext2 has changed"):
        open_run(tmp_path, TREE, corpus)
    assert open_run(tmp_path, TREE, corpus | {"fingerprint": "f1"}) is None


def test_allowed_settings_may_change_and_the_record_says_when(tmp_path):
    open_run(tmp_path, TREE, DATA)
    write_folder(tmp_path / "checkpoints" / "step_000000004", {"a.json": json_writer({})})
    longer = TREE | {"seed": 2, "trainer": {"max_steps": 9, "num_workers": 0}}
    with pytest.raises(ConfigError, match=r"seed was 1 and is now 2\); .*resume\.allow=\[seed\]"):
        open_run(tmp_path, longer, DATA, allow=["trainer"])
    found = open_run(tmp_path, longer, DATA, allow=["trainer.max_steps", "seed"])
    assert found == tmp_path / "checkpoints" / "step_000000004"
    assert read_run(tmp_path)["changes"] == [
        {"step": 4, "changed": {"seed": [1, 2], "trainer.max_steps": [5, 9]}}
    ]
    assert read_run_config(tmp_path) == longer
    open_run(tmp_path, longer, DATA)


def test_other_data_may_be_allowed(tmp_path):
    tree = TREE | {"data": {"fasta": "x.fa"}}
    open_run(tmp_path, tree, DATA)
    open_run(tmp_path, tree, DATA | {"fingerprint": "f2"}, allow=["data"])
    assert read_run(tmp_path)["data"]["fingerprint"] == "f2"
    assert read_run(tmp_path)["changes"][0]["changed"] == {"data": ["f1", "f2"]}


@pytest.mark.parametrize("name", ["config.yaml", "run.json"])
def test_a_server_that_has_lost_a_file_for_a_moment_is_no_damage(tmp_path, monkeypatch, name):
    open_run(tmp_path, TREE, DATA)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    plain = Path.read_text

    def read(path, *arguments, **settings):
        if path.name == name:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return plain(path, *arguments, **settings)

    monkeypatch.setattr(Path, "read_text", read)
    with pytest.raises(DataError, match=rf"{name} cannot be read \(Stale file handle\)"):
        open_run(tmp_path, TREE, DATA)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_record_that_a_server_does_not_take_is_one_sentence(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataError, match=r"run.json cannot be written \(Stale file handle\)"):
        open_run(tmp_path, TREE, DATA)
    assert not list(tmp_path.iterdir())


def test_a_permission_for_no_setting_is_refused(tmp_path):
    open_run(tmp_path, TREE, DATA)
    with pytest.raises(ConfigError, match=r"resume\.allow names sede"):
        open_run(tmp_path, TREE, DATA, allow=["sede"])


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_again(tmp_path):
    open_run(tmp_path, TREE, DATA)
    (tmp_path / "checkpoints" / "step_000000004").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
        open_run(tmp_path, TREE, DATA)


def test_a_refusal_names_the_process_that_has_the_folder(tmp_path):
    expected = rf"number {os.getpid()} on {socket.gethostname()}"
    with (
        claimed(tmp_path),
        pytest.raises(ConfigError, match=expected),
        claimed(tmp_path),
    ):
        pass
    assert not (tmp_path / ".owner").exists()


Usage = namedtuple("Usage", ["total", "used", "free"])


def test_a_limit_that_the_free_space_does_not_show_is_noticed(tmp_path, monkeypatch):
    model = nn.Linear(1000, 999)
    # moments of 8 bytes a weight fit below this limit, and in 1 byte less they do not
    largest = 8 * (1000 * 999 + 999) + 32768
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
        try_space(tmp_path, model, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, before[1]))
        with pytest.raises(ConfigError, match=r"cannot take 48\.\d MB \(File too large\)"):
            try_space(tmp_path, model, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "is_refused"),
    [(errno.EDQUOT, True), (errno.ENOSPC, True), (errno.EOPNOTSUPP, False), (errno.EIO, False)],
)
def test_only_a_want_of_space_is_a_reason_to_refuse(tmp_path, monkeypatch, number, is_refused):
    asked = []

    def refuse(descriptor, num_bytes):
        asked.append(num_bytes)
        if sum(asked) > 30e6:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk_space, "_allocate", refuse)
    if is_refused:
        with pytest.raises(ConfigError, match=os.strerror(number)):
            try_space(tmp_path, nn.Linear(1000, 999), 2)
    else:
        try_space(tmp_path, nn.Linear(1000, 999), 2)
    assert asked == [asked[0]] * 4


def test_room_for_the_checkpoints_is_asked_for(tmp_path, monkeypatch):
    # four numbers of four bytes for each of 10^6 weights, in two checkpoints and a third on its way
    model = nn.Linear(1000, 999)
    need = 3 * (16 * 1000 * 999 + 16 * 999 + 65536)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, need))
    check_space(tmp_path / "not" / "there", model, 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, need - 1))
    with pytest.raises(ConfigError, match=r"48\.\d MB free, and 2 checkpoints of 16\.\d MB"):
        check_space(tmp_path / "not" / "there", model, 2)
    # two that exist already need no more room
    for step in (1, 2):
        (tmp_path / "checkpoints" / f"step_{step:09d}").mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, need // 3))
    check_space(tmp_path, model, 2)
    # a place without size says nothing about space
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 0))
    check_space(tmp_path / "not" / "there", model, 2)


def test_the_state_of_one_optimizer_is_not_given_to_another(tmp_path):
    tree = TREE | {"optimizer": {"_target_": "adamw", "eps": 1e-8}}
    open_run(tmp_path, tree, DATA)
    other = tree | {"optimizer": {"_target_": "muon", "eps": 1e-8}}
    with pytest.raises(ConfigError, match=r"'adamw' and is now 'muon'.*init_from="):
        open_run(tmp_path, other, DATA, allow=["optimizer"])
    open_run(
        tmp_path,
        tree | {"optimizer": {"_target_": "adamw", "eps": 1e-6}},
        DATA,
        allow=["optimizer"],
    )


def test_a_run_from_before_a_setting_existed_can_be_resumed_without_it(tmp_path):
    open_run(tmp_path, TREE | {"lm": {"objective": {"power": 2.0}}}, DATA)
    later = {"lowest": 0.0, "ramp_steps": 0, "ramp_from": 0.3, "complementary": False}
    same = TREE | {"lm": {"objective": {"power": 2.0, **later, "density": None}}}
    assert open_run(tmp_path, same, DATA) is None
    other = TREE | {"lm": {"objective": {"power": 2.0, "lowest": 0.1}}}
    with pytest.raises(ConfigError, match=r"lm\.objective\.lowest was 0\.0 and is now 0\.1"):
        open_run(tmp_path, other, DATA)
