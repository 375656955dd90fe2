"""How a benchmark is started, and how it starts commands whose folders are kept.

A mistake of its user is one sentence, and the status is 2.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
        ConfigError: if the command fails.
    """
    done = run / DONE
    if done.exists():
        return
    command = [sys.executable, "-m", f"dnamdlm.{entry}", *settings, f"run_dir={run}"]
    if subprocess.run(command, check=False).returncode:
        raise ConfigError(f"{entry} in {run} failed; its message stands above")
    done.touch()
