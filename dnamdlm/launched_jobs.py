"""The jobs of a sweep that a launcher of Hydra runs in other processes or on other machines.

A launcher is chosen by `hydra/launcher=NAME` and set by `hydra.launcher.KEY=VALUE`. Those of
hydra-submitit-launcher raise an error of submitit where a job gave no result, and where the
scheduler refused the jobs. Nothing here imports submitit.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from dnamdlm.errors import WorkerLost

_OF_LAUNCHER = ("hydra/launcher=", "hydra.launcher.")


def without_launcher(settings: Sequence[str]) -> tuple[str, ...]:
    """The settings of a sweep without those that send its jobs to other processes.

    >>> without_launcher(["seed=1,2", "hydra/launcher=submitit_slurm", "+hydra.launcher.mem_gb=4"])
    ('seed=1,2',)
    """
    return tuple(item for item in settings if not item.lstrip("+~").startswith(_OF_LAUNCHER))


def errors_of_launcher() -> tuple[type[Exception], ...]:
    """What submitit, if it is loaded, raises for a job that ended without a result."""
    submitit = sys.modules.get("submitit.core.utils")
    return () if submitit is None else (submitit.UncompletedJobError,)


def lost_job(message: str) -> WorkerLost:
    """The error of one sentence that says what became of a job.

    Args:
        message: what submitit says of a job without a result, or of the command that sends jobs.
    """
    said = re.findall(r"^dnamdlm: (.+)$", message, re.M)
    if said:
        return WorkerLost(f"a job of the sweep failed: {said[-1]}")
    log = re.search(r"^Job .* with path (.*)_result\.pkl$", message, re.M)
    if log is None:
        last = next(reversed(message.strip().splitlines()), "no reason was given")
        return WorkerLost(f"the jobs of the sweep could not be sent: {last}")
    return WorkerLost(
        f"a job of the sweep ended without a result; see the end of {log.group(1)}_log.err"
    )
