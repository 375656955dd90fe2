"""How torchrun, srun or Lightning's launcher started this process, from the environment.

Neither torch nor Lightning is imported, so that every entry can use it.
"""

from __future__ import annotations

import os

# a shell in an allocation has the variables of a task, but is not one.
_INTERACTIVE_JOBS = ("bash", "interactive")
# SLURM numbers the steps of batch scripts and interactive shells down from 2^32.
_FIRST_SPECIAL_STEP = 2**31


def launched_rank() -> int:
    """The rank that torchrun, srun or Lightning's launcher gave to this process; 0 without them."""
    environment = os.environ
    if "RANK" in environment:
        return int(environment["RANK"])
    if is_slurm_task():
        return int(environment["SLURM_PROCID"])
    return int(environment.get("LOCAL_RANK", 0))


def launched_local_rank() -> int:
    """The number of this process among those of its machine; 0 without a launcher."""
    environment = os.environ
    if is_slurm_task() and not is_torchrun_worker():
        return int(environment.get("SLURM_LOCALID", 0))
    return int(environment.get("LOCAL_RANK", 0))


def launched_shape() -> tuple[int, int] | None:
    """Devices per machine and machines, as torchrun or srun started them; None without them."""
    environment = os.environ
    if is_torchrun_worker():
        per_machine = int(environment["LOCAL_WORLD_SIZE"])
        return per_machine, int(environment["WORLD_SIZE"]) // per_machine
    if is_slurm_task():
        num_machines = int(environment.get("SLURM_NNODES", 1))
        return int(environment["SLURM_NTASKS"]) // num_machines, num_machines
    return None


def is_torchrun_worker() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_slurm_task() -> bool:
    """Whether srun started this process as one of its tasks."""
    # the batch script itself is not a task: what it starts without srun is a separate run.
    environment = os.environ
    step = environment.get("SLURM_STEP_ID", "")
    return (
        "SLURM_NTASKS" in environment
        and step.isdigit()
        and int(step) < _FIRST_SPECIAL_STEP
        and environment.get("SLURM_JOB_NAME") not in _INTERACTIVE_JOBS
    )


def is_child_of_rank_zero() -> bool:
    """Whether rank 0 started this process and reports its end to the shell."""
    return launched_rank() > 0 and launched_shape() is None
