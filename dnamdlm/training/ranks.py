"""Which of several processes this is, and the few words that they exchange.

A rank is one process of a run; each has a share of every global batch. Rank 0 alone writes files
that all see. Everything here also works, without communication, in a run of one process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from dnamdlm.errors import ConfigError
from dnamdlm.training.signals import StopRequest

_INTERACTIVE_JOBS = ("bash", "interactive")


def launched_rank() -> int:
    """The rank that torchrun, srun or Lightning's launcher gave to this process; 0 without them."""
    environment = os.environ
    if "RANK" in environment:
        return int(environment["RANK"])
    if _is_slurm_task():
        return int(environment["SLURM_PROCID"])
    return int(environment.get("LOCAL_RANK", 0))


def launched_shape() -> tuple[int, int] | None:
    """Devices per machine and machines, as torchrun or srun started them; None without them."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        per_machine = int(environment["LOCAL_WORLD_SIZE"])
        return per_machine, int(environment["WORLD_SIZE"]) // per_machine
    if _is_slurm_task():
        num_machines = int(environment.get("SLURM_NNODES", 1))
        return int(environment["SLURM_NTASKS"]) // num_machines, num_machines
    return None


def _is_slurm_task() -> bool:
    # the batch script itself is no task: what it starts without srun is a run of its own.
    environment = os.environ
    return (
        "SLURM_NTASKS" in environment
        and "SLURM_STEP_ID" in environment
        and environment.get("SLURM_JOB_NAME") not in _INTERACTIVE_JOBS
    )


def is_child_of_rank_zero() -> bool:
    """Whether rank 0 itself started this process and answers for it to the shell."""
    return launched_rank() > 0 and launched_shape() is None


def num_ranks() -> int:
    """Processes of the run."""
    return dist.get_world_size() if _communicates() else 1


def rank() -> int:
    """The place of this process among them."""
    return dist.get_rank() if _communicates() else 0


def _communicates() -> bool:
    return dist.is_available() and dist.is_initialized()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, on each of them; `tensor` itself may be overwritten."""
    if num_ranks() > 1:
        dist.all_reduce(tensor, op=dist.ReduceOp.SUM)
    return tensor


def true_everywhere(*, flag: bool, device: torch.device) -> bool:
    """Whether `flag` is True on every rank."""
    if num_ranks() == 1:
        return flag
    return int(sum_over_ranks(torch.tensor(int(flag), device=device))) == num_ranks()


def require_same(facts: Mapping[str, object]) -> None:
    """Check that all ranks found the same facts, such as the data and the newest checkpoint.

    Raises:
        ConfigError: on every rank, naming the first fact that differs and where.
    """
    if num_ranks() == 1:
        return
    collected: list[Mapping[str, object]] = [{} for _ in range(num_ranks())]
    dist.all_gather_object(collected, dict(facts))
    for number, other in enumerate(collected):
        for name, value in collected[0].items():
            if other.get(name) != value:
                raise ConfigError(
                    f"rank {number} has another {name} ({other.get(name)}) than rank 0 ({value}); "
                    "start all ranks with one command, with data and run_dir on storage that all "
                    "machines share"
                )


class StopAgreement:
    """Lets all ranks stop at the same step when a signal reached any of them.

    Signals come at different moments, and a rank that stopped alone would leave the others
    waiting. At each step the signal numbers are sent to be compared, and the result is read one
    step later, so that no step waits for it; the exchange is on the CPU and leaves the device
    alone.

    Args:
        request: the signals of this process.
    """

    def __init__(self, request: StopRequest) -> None:
        self.request = request
        self._group = dist.new_group(backend="gloo") if num_ranks() > 1 else None
        self._sent: tuple[dist.Work | None, Tensor] | None = None

    def number(self) -> int | None:
        """The signal to stop for, the same on every rank; call it once per step on all of them."""
        if self._group is None:
            return self.request.number
        agreed = self.finish()
        largest = torch.tensor(self.request.number or 0)
        work = dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._sent = (work, largest)
        return agreed

    def finish(self) -> int | None:
        """Wait for what is under way, so that no rank leaves while another still speaks to it."""
        if self._sent is None:
            return None
        work, largest = self._sent
        if work is not None:
            work.wait()
        self._sent = None
        return int(largest) or None
