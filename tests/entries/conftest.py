"""One trained run for all tests of the entries."""

import pytest

from tests.entries.commands import SHORT, run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Folder of a run of `config=tiny`."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run("train", *SHORT, f"run_dir={folder}", fresh=True)
    return folder
