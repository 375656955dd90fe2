"""`devices=auto`: where processes run, and that it is refused where it has no effect."""

import os

import pytest
import torch
from torch import nn

from dnamdlm import threads
from dnamdlm.assembly.device_places import VISIBLE, on_every_device
from dnamdlm.assembly.devices import plan_for
from dnamdlm.assembly.workers import spread
from dnamdlm.errors import ConfigError
from dnamdlm.threads import Place, Plan
from tests.helpers.worker_tasks import Surroundings

NETWORK = nn.Linear(4, 4)
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _eight_processors(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", VISIBLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "available_processors", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(2, 10)))


def test_processors_are_divided_into_groups_of_the_threads_of_a_process():
    plan = plan_for(NETWORK, 10, threads=3, devices="auto", workers=None)
    assert (plan.workers, plan.threads, plan.is_patient) == (2, 3, False)
    assert [place.processors for place in plan.places] == [(2, 3, 4), (5, 6, 7)]
    assert len(plan_for(NETWORK, 10, threads=None, devices="auto", workers=None).places) == 8


def test_each_process_sees_one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    plan = on_every_device(Plan(None), GPU)
    assert [place.environment for place in plan.places] == [{VISIBLE: name} for name in "012"]
    assert (plan.workers, plan.is_patient) == (3, False)


def test_of_the_gpus_that_are_visible_each_has_a_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv(VISIBLE, "5, GPU-77")
    found = [place.environment[VISIBLE] for place in on_every_device(Plan(None), GPU).places]
    assert found == ["5", "GPU-77"]


@pytest.mark.parametrize("given", [{"threads": 8}, {"threads": 5}, {"threads": 99}], ids=str)
def test_one_group_is_refused(given):
    with pytest.raises(ConfigError, match="devices=auto has no effect: a process of"):
        plan_for(NETWORK, 10, devices="auto", workers=None, **given)


def test_one_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="devices=auto has no effect: one GPU is visible"):
        on_every_device(Plan(None), GPU)


def test_one_of_several_gpus_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(ConfigError, match="device=cuda:2 is one of them"):
        on_every_device(Plan(None), torch.device("cuda", 2))


def test_a_number_of_processes_besides_is_refused():
    with pytest.raises(ConfigError, match="workers=2 says how many there are"):
        plan_for(NETWORK, 10, threads=1, devices="auto", workers=2)


def test_processes_run_where_their_place_is(monkeypatch):
    monkeypatch.undo()
    own = sorted(os.sched_getaffinity(0))
    places = (Place((own[0],), {"PLACE": "first"}), Place((own[-1],), {"PLACE": "second"}))
    plan = Plan(threads=1, workers=2, places=places)
    with spread(Surroundings("PLACE"), range(8), plan) as results:
        found = list(results)
    assert [item for *_, item in found] == list(range(8))
    assert {(*processors, name) for processors, name, _ in found} == {
        (own[0], "first"), (own[-1], "second"),
    }  # fmt: skip
