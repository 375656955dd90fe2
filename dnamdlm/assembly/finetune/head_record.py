"""What is recorded of a fine-tuned head, `head.json`, checked when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from dnamdlm.data.tasks.labelled import Kind
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import read_description
from dnamdlm.lm.states.state_pooling import WindowSettings
from dnamdlm.training.head_fitting import TargetScale

HEAD = "head.json"


@dataclass(frozen=True)
class _Head:
    """Keys of the record; others are ignored."""

    model_config: dict[str, Any]
    vocabulary: str
    kind: Kind
    task: str
    label_names: list[str]
    strand: str
    windows: WindowSettings
    target_mean: list[FiniteFloat]
    target_deviation: list[FiniteFloat]
    text_columns: list[str] = field(default_factory=list)


_READER = TypeAdapter(_Head)


def head_of(folder: Path) -> dict[str, Any]:
    """What is recorded of the head of a split.

    Raises:
        CheckpointError: if the record is missing or damaged.
    """
    path = folder / HEAD
    content = read_description(path)
    try:
        # as JSON, so that a number is not taken for a text, or a text for a number.
        head = _READER.validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise CheckpointError(
            f"{path} has no {place} of the kind that dnamdlm writes; fine-tune again in another "
            "run_dir"
        ) from error
    outputs = len(head.label_names)
    scales = (head.target_mean, head.target_deviation)
    if not outputs or any(len(scale) not in (1, outputs) for scale in scales):
        raise CheckpointError(
            f"{path} does not have a mean and a deviation for each of its {outputs} outputs; "
            "fine-tune again in another run_dir"
        )
    return asdict(head)


def scale_of(head: Mapping[str, Any]) -> TargetScale:
    """The scale of the numbers of a head."""
    return TargetScale(np.array(head["target_mean"]), np.array(head["target_deviation"]))
