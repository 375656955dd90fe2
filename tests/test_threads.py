"""How a command uses the processors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dnamdlm import threads
from dnamdlm.errors import ConfigError
from dnamdlm.threads import (
    WAITING,
    WORK_PER_THREAD,
    available_processors,
    describe,
    let_idle_threads_sleep,
    plan,
    running_with,
    work_of_a_call,
)

ROOT = Path(__file__).resolve().parents[1]
ENTRIES = (
    "train",
    "evaluate",
    "sample",
    "finetune",
    "predict",
    "score",
    "embed",
    "gather",
    "report",
    "slim",
    "export",
    "doctor",
)
VARIABLES = (*WAITING, "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.fixture(autouse=True)
def _eight_processors_and_no_choice_of_the_user(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "available_processors", lambda: 8)


def python(code, **variables):
    """What code prints in a new process without any choice but these variables."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment | variables, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


# ------------------------------------------------------------------- what idle threads do
PRINT_POLICY = (
    "; import os; print(*(os.environ.get(name) for name in ('GOMP_SPINCOUNT', "
    "'OMP_WAIT_POLICY', 'KMP_BLOCKTIME')), 'torch' in __import__('sys').modules)"
)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_lets_idle_threads_sleep_before_torch_is_imported(entry):
    code = f"""
import os, sys, dnamdlm.command_line
print("torch" in sys.modules)
from dnamdlm.command_line import run_entry
import dnamdlm.{entry}
print("torch" in sys.modules)
run_entry("{entry}", lambda tree: None, ["--help"])
print("\\n", os.environ["GOMP_SPINCOUNT"], os.environ["KMP_BLOCKTIME"])
"""
    said = python(code)
    assert said[:2] == ["False", "False"]
    assert said[-2:] == ["500", "0"]


def test_loading_a_model_from_python_lets_idle_threads_sleep():
    assert python("import dnamdlm" + PRINT_POLICY) == ["None", "None", "None", "False"]
    assert python("import dnamdlm; dnamdlm.load" + PRINT_POLICY) == ["500", "None", "0", "True"]


@pytest.mark.parametrize("name", WAITING)
def test_a_policy_of_the_user_is_kept(name):
    variables = {name: "active"}
    assert not let_idle_threads_sleep(variables)
    assert variables == {name: "active"}


def test_nothing_is_set_once_torch_has_read_the_policy():
    variables = {}
    assert "torch" in sys.modules
    assert not let_idle_threads_sleep(variables)
    assert variables == {}
    assert python("import torch, dnamdlm; dnamdlm.load" + PRINT_POLICY)[0] == "None"


# ------------------------------------------------------------- how many threads and processes
def test_work_is_the_mean_product_of_the_weight_matrices():
    # 16 * 8 and 8 * 4 weights; biases are no matrices
    network = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 4))
    assert work_of_a_call(network.parameters(), 100) == 100 * (128 + 32) // 2
    assert work_of_a_call([], 100) == 0


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (0, 1), (WORK_PER_THREAD, 1), (2 * WORK_PER_THREAD - 1, 1), (2 * WORK_PER_THREAD, 2),
        (7 * WORK_PER_THREAD, 7), (1000 * WORK_PER_THREAD, 8),
    ],
)  # fmt: skip
def test_threads_grow_with_the_work_up_to_the_processors(work, expected):
    assert plan(work).threads == expected


def test_the_work_that_repays_a_thread_can_be_given():
    assert plan(7_000_000, work_per_thread=3_000_000).threads == 2


def test_processes_take_what_the_threads_leave():
    def both(threads_worth, **settings):
        found = plan(threads_worth * WORK_PER_THREAD, **settings)
        return found.threads, found.workers, found.is_patient

    assert both(1, workers=None) == (1, 8, True)
    assert both(3, workers=None) == (3, 2, True)
    assert both(100, workers=None) == (8, 1, False)
    assert both(100, workers=2) == (4, 2, False)
    assert both(100, workers=30) == (1, 30, False)
    # four ranks of a training share the machine
    assert both(100, processes=4) == (2, 1, False)
    assert both(1, threads=4, workers=None) == (4, 2, True)


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_number_of_the_environment_is_kept_and_a_setting_goes_before_it(monkeypatch, name):
    monkeypatch.setenv(name, "3,1")
    found = plan(1000 * WORK_PER_THREAD, workers=None)
    assert (found.threads, found.workers, found.reason) == (3, 2, f"{name}=3 is set")
    assert plan(1, threads=5).threads == 5


def test_a_gpu_has_one_process_and_the_threads_of_torch():
    found = plan(1000 * WORK_PER_THREAD, workers=None, on_cpu=False)
    assert (found.threads, found.workers, found.is_patient) == (None, 1, False)
    with pytest.raises(ConfigError, match="workers=2 is for CPUs"):
        plan(1, workers=2, on_cpu=False)


@pytest.mark.parametrize("settings", [{"threads": 0}, {"workers": -1}], ids=str)
def test_a_number_below_one_is_refused(settings):
    with pytest.raises(ConfigError, match="must be at least 1"):
        plan(1, **settings)


def test_the_processors_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.undo()
    code = "from dnamdlm.threads import available_processors; print(available_processors())"
    one = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {code}"
    assert python(one) == ["1"]
    assert available_processors() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("content", "quota"), [("150000 100000", 1.5), ("max 100000", None), ("odd", None)]
)
def test_a_container_may_grant_less_than_the_machine_has(tmp_path, content, quota):
    path = tmp_path / "cpu.max"
    assert threads._container_quota(path) is None
    path.write_text(content + "\n")
    assert threads._container_quota(path) == quota


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with running_with(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), running_with(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before
    with running_with(None):
        assert torch.get_num_threads() == before


# ------------------------------------------------------------------------- what doctor says
def test_the_description_names_the_choice_and_who_made_it(monkeypatch):
    number, waiting = describe()
    assert "one for each 100 million multiply-adds of a matrix product (15 million in tr" in number
    assert "torch was imported before" in waiting
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("GOMP_SPINCOUNT", "500")
    monkeypatch.setenv("KMP_BLOCKTIME", "0")
    number, waiting = describe()
    assert "3 in each process, because OMP_NUM_THREADS is set" in number
    assert "soon sleep (GOMP_SPINCOUNT=500, KMP_BLOCKTIME=0)" in waiting
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    assert "as the environment says (OMP_WAIT_POLICY=active, KMP_BLOCKTIME=0)" in describe()[1]
