"""One server and one unbroken run for all fault tests."""

import pytest

from tests.faults.harness import Trainer


@pytest.fixture(scope="session")
def trainer(tmp_path_factory):
    """Starts training processes."""
    made = Trainer(tmp_path_factory.mktemp("logs"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def unbroken(trainer, tmp_path_factory):
    """Folder of a run that nothing happened to; tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    trainer.finish(folder)
    return folder
