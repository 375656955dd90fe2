"""`devices=auto`: one process for each GPU, or for each group of processors that a process uses."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from dnamdlm import threads as processors
from dnamdlm.errors import ConfigError
from dnamdlm.threads import Place, Plan

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable by which a process sees some GPUs alone."""


def on_every_device(plan: Plan, device: torch.device) -> Plan:
    """A plan of one process on each device.

    A process sees one GPU, which it calls the first, or may use one group of processors, as many as
    it has threads. The result does not depend on how many there are: the work is cut as for one.

    Args:
        plan: of one process; says how many threads it has.
        device: where the model is in this process.

    Raises:
        ConfigError: if there is one device, or a device other than the first was asked for.

    >>> on_every_device(Plan(threads=10**6), torch.device("cpu"))
    Traceback (most recent call last):
    dnamdlm.errors.ConfigError: devices=auto has no effect: a process of 1000000 threads ...
    """
    places = _gpus(device) if device.type == "cuda" else _groups(plan.threads)
    reason = f"devices=auto: one process on each of {len(places)} devices"
    return replace(plan, workers=len(places), is_patient=False, reason=reason, places=places)


def _gpus(device: torch.device) -> tuple[Place, ...]:
    if device.index:
        raise ConfigError(
            f"devices=auto uses every GPU, and device=cuda:{device.index} is one of them; leave "
            "one of the two settings out"
        )
    number = torch.cuda.device_count()
    if number < 2:
        raise ConfigError(
            "devices=auto has no effect: one GPU is visible, which one process fills; leave "
            "devices out"
        )
    chosen = os.environ.get(VISIBLE)
    names = [str(i) for i in range(number)] if chosen is None else chosen.split(",")[:number]
    return tuple(Place(environment={VISIBLE: name.strip()}) for name in names)


def _groups(threads: int | None) -> tuple[Place, ...]:
    available = processors.available_processors()
    size = threads or 1
    number = available // size
    if number < 2:
        raise ConfigError(
            f"devices=auto has no effect: a process of {size} threads uses all of the {available} "
            "available processors; leave devices out, or give fewer threads"
        )
    if not hasattr(os, "sched_getaffinity"):
        return (Place(),) * number
    own = sorted(os.sched_getaffinity(0))
    return tuple(Place(tuple(own[i * size : (i + 1) * size])) for i in range(number))
