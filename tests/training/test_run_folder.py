"""A run folder belongs to one process, one config and one data set."""

import os

import pytest

from dnamdlm.errors import ConfigError
from dnamdlm.training.run_folder import claimed, open_run, read_run

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
