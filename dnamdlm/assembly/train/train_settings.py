"""The settings of `train`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dnamdlm.assembly.building.entry_settings import read_settings
from dnamdlm.assembly.building.field_types import Positive, Seed, check_fields
from dnamdlm.assembly.building.model_config import NODES, ModelConfig
from dnamdlm.data.data_source import DataSource
from dnamdlm.training.optimizers import AdamWSettings, LearningRateSchedule
from dnamdlm.training.trainer_settings import ResumeSettings, TrainerSettings


@dataclass(frozen=True)
class TrainSettings:
    """What is trained, on what, and how; `configs/train.yaml` has the meaning of each field.

    The model is a config rather than an object, since its vocabulary is that of the data; `record`
    is the whole config as it is written down.
    """

    name: str
    run_dir: str
    data: DataSource
    optimizer: AdamWSettings
    learning_rate: LearningRateSchedule
    trainer: TrainerSettings
    init_from: str | None = None
    seed: Seed = 1
    resume: ResumeSettings = field(default_factory=ResumeSettings)
    ops: str = "auto"
    threads: Positive | None = None
    overlap_report: bool = False
    dry_run: bool = False
    trust: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def config(self) -> ModelConfig:
        """What a checkpoint of this training keeps."""
        return ModelConfig(self.record, self.trust)


def read_train_settings(tree: Mapping[str, Any], given: Collection[str] = ()) -> TrainSettings:
    """The settings of a composed training config, every key of it checked.

    Args:
        tree: the resolved config tree.
        given: dotted names of the settings that the user gave on the command line.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    return read_settings(TrainSettings, tree, given, left_out=(*NODES, "logger"))
