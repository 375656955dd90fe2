"""What the processes of one run exchange.

A rank is one process of a run; each has a share of every global batch. Rank 0 alone writes shared
files. Everything here also works, without communication, in a run of one process.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from dnamdlm.errors import ConfigError

_LONGEST_SHOWN = 200


def num_ranks() -> int:
    """Processes of the run."""
    return dist.get_world_size() if _communicates() else 1


def rank() -> int:
    """The number of this process among them."""
    return dist.get_rank() if _communicates() else 0


def _communicates() -> bool:
    return dist.is_available() and dist.is_initialized()


def exchange_device() -> torch.device:
    """The device on which tensors are summed over ranks."""
    on_gpu = _communicates() and dist.get_backend() == dist.Backend.NCCL
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, on each of them; `tensor` itself may be overwritten."""
    if num_ranks() > 1:
        dist.all_reduce(tensor, op=dist.ReduceOp.SUM)
    return tensor


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
                values = f" ({other.get(name)}, and there {value})"
                raise ConfigError(
                    f"rank {number} has another {name} than rank 0"
                    f"{values if len(values) < _LONGEST_SHOWN else ''}; start all ranks with one "
                    "command, with data and run_dir on storage that all machines share"
                )


def is_lost_connection(error: RuntimeError) -> bool:
    """Whether an error means that another rank no longer responds."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "nccl" in text
