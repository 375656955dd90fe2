"""How a benchmark is started, and how it starts commands whose folders are kept.

A mistake of its user is one sentence, and the status is 2.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dnamdlm.data.files import write_text
from dnamdlm.errors import ConfigError, DnamdlmError

DONE = "benchmark_done"


def start(main: Callable[[], None]) -> None:
    """Call a benchmark; print an error that a user can cause without a traceback.

    >>> start(lambda: print("a table"))
    a table
    """
    try:
        main()
    except (DnamdlmError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def completed(run: Path, entry: str, *settings: str) -> None:
    """Run a command that trains, unless it has been completed in this folder.

    Args:
        run: its `run_dir`.
        entry: such as `train`.
        settings: its other arguments.

    Raises:
        ConfigError: if the command fails, or was completed with other settings.
    """
    done, given = run / DONE, "\n".join((entry, *settings)) + "\n"
    if done.exists():
        before = done.read_text(encoding="utf-8")
        if before != given:
            other = sorted(set(before.split("\n")) ^ set(given.split("\n")))
            raise ConfigError(
                f"{run} was completed with other settings than are given now, which differ in "
                f"{', '.join(filter(None, other)) or 'their order'}; give the same, or another "
                "folder of runs"
            )
        return
    command = [sys.executable, "-m", f"dnamdlm.{entry}", *settings, f"run_dir={run}"]
    if subprocess.run(command, check=False).returncode:
        raise ConfigError(f"{entry} in {run} failed; its message stands above")
    write_text(done, given)
