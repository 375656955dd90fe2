"""With what the parts of a result were made, as far as it may differ between them.

Kind of device, version of torch and precision are part of what a result is, see `surroundings_of`,
and parts that differ in them are refused. Threads and instructions may change when a command is
resumed on another machine, which is allowed, and changes the last digits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from dnamdlm.data.parts.part_files import PartHead
from dnamdlm.threads import Plan
from dnamdlm.training.surroundings import instruction_set

_log = logging.getLogger(__name__)


def made_with(plan: Plan, identity: Mapping[str, Any]) -> str:
    """Threads of a process and instructions of the processor; nothing where a GPU computes.

    Args:
        plan: how the processors are used.
        identity: what the result depends on, `device` among it.

    >>> made_with(Plan(threads=2), {"device": "cpu"}).partition(",")[0]
    '2 threads'
    >>> made_with(Plan(threads=2), {"device": "cuda"})
    ''
    """
    if identity.get("device", "cpu") != "cpu":
        return ""
    threads = torch.get_num_threads() if plan.threads is None else plan.threads
    return f"{threads} thread{'s' * (threads != 1)}, {instruction_set()}"


def warn_of_makers(folder: Path, heads: Iterable[PartHead]) -> None:
    """Say so if parts of a result were made with other threads or instructions."""
    makers = sorted({head.made_with for head in heads if head.made_with})
    if len(makers) > 1:
        _log.warning(
            "%s: some parts were made with %s; the last digits of a result depend on that: for "
            "equal bytes give threads=1 to all jobs, on processors of one kind",
            folder, ", others with ".join(makers),
        )  # fmt: skip
