"""A package outside dnamdlm with networks of its own, and a genome to train them on."""

import importlib
import sys

import numpy as np
import pytest

from dnamdlm.assembly import process_starts, workers
from tests.helpers.foreign_package import NAME, write_package


@pytest.fixture(autouse=True)
def no_process_for_a_slow_machine(monkeypatch):
    """However slow the machine: no other process for work that is short on an idle one.

    It would look for the model on the disk, where many tests have none.
    """
    monkeypatch.setattr(workers, "START_SECONDS", 60.0)
    monkeypatch.setattr(process_starts, "can_fork", lambda plan: False)


@pytest.fixture(scope="module")
def own_package(tmp_path_factory):
    """A folder with the package and a FASTA file of three records."""
    own_package = tmp_path_factory.mktemp("own")
    write_package(own_package / "site")
    letters = np.random.default_rng(0).choice(list("ACGT"), (3, 400))
    lines = [f">r{i}\n{''.join(row)}\n" for i, row in enumerate(letters, start=1)]
    (own_package / "my.fa").write_text("".join(lines))
    return own_package


@pytest.fixture
def forgotten():
    """Forgets the package, as a new process that has not imported it."""

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]

    return forget


@pytest.fixture
def nets(own_package, monkeypatch, forgotten):
    """The networks of the package, which is installed while the test runs."""
    monkeypatch.syspath_prepend(str(own_package / "site"))
    yield importlib.import_module(f"{NAME}.nets")
    forgotten()
