"""Runs of benchmarks that are kept, and those that were made with other settings."""

import pytest

from benchmarks.started import DONE, completed
from dnamdlm.errors import ConfigError


def test_a_completed_run_is_kept_and_one_of_other_settings_is_refused(tmp_path):
    (tmp_path / DONE).write_text("finetune\nseeds=2\nmodel=a\n")
    completed(tmp_path, "finetune", "seeds=2", "model=a")
    with pytest.raises(ConfigError, match="which differ in seeds=1, seeds=2; give the same"):
        completed(tmp_path, "finetune", "seeds=1", "model=a")
    with pytest.raises(ConfigError, match="which differ in finetune, train"):
        completed(tmp_path, "train", "seeds=2", "model=a")
    with pytest.raises(ConfigError, match="which differ in their order"):
        completed(tmp_path, "finetune", "model=a", "seeds=2")


def test_a_run_that_fails_is_not_completed(tmp_path):
    with pytest.raises(ConfigError, match=r"train in .*run failed"):
        completed(tmp_path / "run", "train", "config=no_such_recipe")
    assert not (tmp_path / "run" / DONE).exists()
