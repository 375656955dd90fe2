"""Running the entries as a user does."""

import subprocess
import sys
from pathlib import Path

from tests.entries.forks import can_serve, forks

SHORT = [
    "config=tiny", "trainer.valid_windows=8", "trainer.micro_batch_size=4",
    "trainer.checkpoint_every=7", "backbone.dropout=0.1",
]  # fmt: skip


def command(entry, *arguments):
    return [sys.executable, "-m", f"dnamdlm.{entry}", *arguments]


def run(entry, *arguments, check=True, fresh=False):
    """A command in a fork, or in a `fresh` interpreter, which begins seconds later."""
    if fresh or not can_serve():
        result = subprocess.run(
            command(entry, *arguments), capture_output=True, text=True, check=False, timeout=300
        )
    else:
        ended = forks().run(entry, arguments, Path.cwd(), 300)
        result = subprocess.CompletedProcess(command(entry, *arguments), *ended)
    if check:
        assert result.returncode == 0, result.stderr
    return result
