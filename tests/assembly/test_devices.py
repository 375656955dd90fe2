"""Threads and processes for a network."""

import pytest
from torch import nn

from dnamdlm import threads
from dnamdlm.assembly.devices import plan_for
from dnamdlm.threads import WORK_PER_THREAD, WORK_PER_THREAD_OF_ONE_PROCESS, running_with

# one matrix; 2^16 weights, so that positions set the work
NETWORK = nn.Linear(256, 256)


@pytest.fixture(autouse=True)
def _eight_processors(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "available_processors", lambda: 8)


def positions_for(number):
    return -(-number * WORK_PER_THREAD // 2**16)


def test_a_network_has_the_threads_that_its_work_is_worth():
    with running_with(8):
        assert plan_for(NETWORK, 1, threads=None).threads == 1
        assert plan_for(NETWORK, positions_for(3), threads=None).threads == 3
        assert plan_for(NETWORK, positions_for(8), threads=None, ranks=2).threads == 4
        # work that no other process can share has threads sooner
        few = WORK_PER_THREAD_OF_ONE_PROCESS // 2**16 + 1
        found = plan_for(NETWORK, 2 * few, threads=None, workers=None, can_share=False)
        assert (found.threads, found.workers) == (2, 1)
        assert plan_for(NETWORK, 2 * few, threads=None).threads == 1
        found = plan_for(NETWORK, positions_for(3), threads=None, workers=None)
        assert (found.threads, found.workers) == (3, 2)


def test_a_program_that_limits_torch_is_heeded_and_the_setting_goes_before_it():
    with running_with(2):
        assert plan_for(NETWORK, positions_for(8), threads=None).threads == 2
        assert plan_for(NETWORK, positions_for(8), threads=5).threads == 5


def test_a_network_elsewhere_leaves_the_threads_alone():
    network = nn.Linear(256, 256, device="meta")
    assert plan_for(network, positions_for(8), threads=None).threads is None
