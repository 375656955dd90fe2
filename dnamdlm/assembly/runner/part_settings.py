"""The settings `shard` and `part_rows`, and how large a part is where nobody says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dnamdlm.data.output_streams import stream_of
from dnamdlm.data.parts.part_folders import HASHED
from dnamdlm.data.piped_files import on_disk
from dnamdlm.errors import DataError
from dnamdlm.lm.checkpoint import file_hash
from dnamdlm.ops.precision import precision_on

PART_WORK = {"cpu": 2e11}
"""Multiply-adds of a part by kind of device: ten to twenty seconds of one core."""
PART_SECONDS = 10.0
"""What a part of this size takes at least."""
_PART_WORK_ELSEWHERE = 2e13
_MOST_PARTS = 4096


def batches_of_part(
    network: nn.Module, *, positions: int, num_batches: int, batch_rows: int, part_rows: int | None
) -> int:
    """Batches of a part: as many as `part_rows` asks for, or as cost a fair amount of work.

    Does not depend on the machine, so that the shards of a result agree on it.

    Args:
        network: that reads them.
        positions: that it reads for a batch, in all calls together.
        num_batches: how many there are.
        batch_rows: rows of a batch; a part holds whole batches.
        part_rows: the setting of that name.
    """
    if part_rows is not None:
        return math.ceil(part_rows / batch_rows)
    weights = list(network.parameters())
    device = next((weight.device.type for weight in weights), "cpu")
    work = sum(weight.numel() for weight in weights if weight.ndim >= 2) * positions
    by_cost = round(PART_WORK.get(device, _PART_WORK_ELSEWHERE) / max(1, work))
    return max(1, by_cost, math.ceil(num_batches / _MOST_PARTS))


def why_without_parts(out: str) -> dict[str, str]:
    """Settings of parts that have no effect on this target, and why."""
    try:
        if stream_of(out) is None:
            return {}
    except OSError:
        return {}
    reason = f"out={out} is not a plain file, and has no place next to it for parts"
    return {"shard": reason, "part_rows": reason}


def hash_of_file(path: str) -> str:
    """What stands for the content of an input file in the identity of parts.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return f"{HASHED}{file_hash(on_disk(path))}"
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def surroundings_of(device: torch.device | str) -> Mapping[str, Any]:
    """What decides the last digits of a result besides model, inputs and settings."""
    place = torch.device(device)
    precision = precision_on(place)
    return {
        "device": place.type,
        "version of torch": torch.__version__,
        **({} if precision == "32-true" else {"precision": precision}),
    }
