"""Running the entries as a user does."""

import subprocess
import sys

SHORT = [
    "config=tiny", "trainer.valid_windows=8", "trainer.micro_batch_size=4",
    "trainer.checkpoint_every=7", "backbone.dropout=0.1",
]  # fmt: skip


def command(entry, *arguments):
    return [sys.executable, "-m", f"dnamdlm.{entry}", *arguments]


def run(entry, *arguments, check=True):
    result = subprocess.run(
        command(entry, *arguments), capture_output=True, text=True, check=False, timeout=300
    )
    if check:
        assert result.returncode == 0, result.stderr
    return result
