"""The commands of CLUSTER.md: the shell reads the script, and every setting exists."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import hydra
import pytest

from dnamdlm.composing import plain_tree
from dnamdlm.setting_files import config_folder
from tests.helpers.entries import check_tree, settings_of

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CLUSTER.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"-m dnamdlm\.train ([^`|\n]*)", TEXT)))


def test_the_shell_reads_the_batch_script():
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    scripts = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", TEXT, flags=re.DOTALL)
    for script in scripts:
        checked = subprocess.run(
            ["bash", "-n"], input=script, text=True, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
    assert "srun" in scripts[0]
    assert "shard=" in scripts[1]


@pytest.mark.parametrize(
    ("name", "line"), re.findall(r"-m dnamdlm\.(score|gather) ([^`'|\n]*)", TEXT)
)
def test_every_setting_of_a_shard_exists(name, line):
    variables = {"$SLURM_CPUS_PER_TASK": "4", "$SLURM_ARRAY_TASK_ID/$SHARDS": "3/64", "$MODEL": "x"}
    # what is added after the name of the script.
    line = line.removesuffix(' "$@"')
    for variable, value in variables.items():
        line = line.replace(variable, value)
    words = [word for word in shlex.split(line) if not word.startswith(("-m", "hydra"))]
    settings = settings_of(name, *(word.split(",")[0] for word in words))
    assert settings.out == "scores.tsv"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_of_a_command_exists(command):
    words = shlex.split(command.replace("$RUN_DIR", "runs/x").split("||")[0])
    # a sweep is one setting at a time; what Hydra's launchers take is theirs.
    settings = [word.split(",")[0] for word in words if not word.startswith(("-m", "hydra"))]
    assert settings
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        tree = plain_tree(hydra.compose("train", overrides=settings))
    check_tree(tree)
