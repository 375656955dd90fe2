"""Where a model runs, how much of it at once, and with how many threads."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dnamdlm import threads as processors
from dnamdlm.assembly.device_places import on_every_device
from dnamdlm.assembly.weight_ranks import lender
from dnamdlm.errors import ConfigError


def windows_at_once(length: int, device: torch.device, num_ids: int = 12) -> int:
    """Windows per call without gradients: what fits the cache of a CPU, or fills a GPU.

    Args:
        length: positions per window.
        device: where the model is.
        num_ids: size of the vocabulary; a large one makes the logits the largest tensor.
    """
    positions, numbers = (4096, 1 << 26) if device.type == "cpu" else (1 << 17, 1 << 31)
    positions = min(positions, numbers // num_ids)
    return max(1, positions // length)


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU.

    Raises:
        ConfigError: if the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "mps":
            raise RuntimeError("noise is drawn in float64, which these devices do not have")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device={name} is not available here; use device=cpu or device=auto"
        ) from error
    return device


def plan_for(
    network: nn.Module,
    positions: int,
    *,
    threads: int | None,
    workers: int | None = 1,
    devices: str | None = None,
    ranks: int = 1,
    can_share: bool = True,
) -> processors.Plan:
    """How many threads and processes a command uses with this network.

    Where the number of threads is not given, it is at most the one that torch has, which a program
    that uses the package may have set.

    Args:
        network: where it runs, and its weights, decide.
        positions: sequences times length of one call.
        threads: the setting of that name.
        workers: the setting of that name.
        devices: the setting of that name: `auto` is one process on each device.
        ranks: processes of a training on this machine.
        can_share: whether further processes could share the work. Where they cannot, as in
            training, a thread is worth having for less work, and one process is chosen.

    Raises:
        ConfigError: if several processes are to share a GPU, or `devices` has no effect.
    """
    weights = list(network.parameters())
    if lender() is not None:
        if devices is not None or workers not in (None, 1):
            setting = f"workers={workers}" if devices is None else f"devices={devices}"
            raise ConfigError(
                f"{setting} starts processes that have the whole model each, and torchrun started "
                f"ranks that share its weights; leave {setting} out, or start the command without "
                "torchrun"
            )
        workers = 1
    if devices is not None:
        if workers is not None:
            raise ConfigError(
                f"devices={devices} starts one process on each device, and workers={workers} says "
                "how many there are; leave one of the two settings out"
            )
        one = plan_for(network, positions, threads=threads)
        return on_every_device(one, weights[0].device)
    plan = processors.plan(
        processors.work_of_a_call(weights, positions),
        threads=threads,
        workers=1 if workers is None and not can_share else workers,
        on_cpu=all(weight.device.type == "cpu" for weight in weights),
        processes=ranks,
        work_per_thread=(
            processors.WORK_PER_THREAD if can_share else processors.WORK_PER_THREAD_OF_ONE_PROCESS
        ),
    )
    if threads is not None or plan.threads is None:
        return plan
    return replace(plan, threads=min(plan.threads, torch.get_num_threads()))
