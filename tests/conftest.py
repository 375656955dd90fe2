"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# what a hub id names is looked for on this machine alone, unless a run asks for the network.
if os.environ.get("DNAMDLM_NETWORK") != "1":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference data that is not in the repository; read-only."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("DNAMDLM_SHARED", beside))
    if not (folder / "data").is_dir():
        pytest.skip(f"no reference data at {folder}; set DNAMDLM_SHARED to its folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def signals_end_commands() -> Iterator[None]:
    """Commands that tests start get signals as from a terminal.

    Children inherit ignored signals, as nohup ignores SIGHUP and a shell without job control SIGINT
    of what runs in the background. A command takes that for the wish to outlive them.
    """
    usual = {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    kept = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
