"""Settings of a training that come as keywords, in the objects that the command `train` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dnamdlm.assembly.building.object_nodes import settings_node
from dnamdlm.assembly.train.train_settings import TrainSettings
from dnamdlm.data.data_source import DataSource
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.errors import ConfigError
from dnamdlm.suggestions import did_you_mean
from dnamdlm.training.launch import launched_shape
from dnamdlm.training.muon import MuonSettings
from dnamdlm.training.optimizers import AdamWSettings, WarmupCosine
from dnamdlm.training.trainer_settings import ResumeSettings, TrainerSettings

OPTIMIZERS: Mapping[str, type[AdamWSettings]] = {
    "adamw": AdamWSettings,
    "muon": MuonSettings,
}
"""The settings of each optimizer by its name."""


@dataclass(frozen=True)
class ChosenSettings:
    """Settings objects of a run that was described by keywords."""

    source: DataSource
    trainer: TrainerSettings
    optimizer: AdamWSettings
    learning_rate: WarmupCosine


def run_settings(
    chosen: ChosenSettings,
    of_command: Mapping[str, Any],
    resume: ResumeSettings,
    nodes: Mapping[str, Any],
) -> TrainSettings:
    """The settings of the command `train` for the same run, with the config that it would record.

    Args:
        chosen: settings objects.
        of_command: plain settings of the command.
        resume: what may differ.
        nodes: of the model.
    """
    groups = {
        "data": chosen.source,
        "optimizer": chosen.optimizer,
        "learning_rate": chosen.learning_rate,
        "trainer": chosen.trainer,
        "resume": resume,
    }
    record = {
        **of_command,
        "trust": list(of_command["trust"]),
        "init_from": None,
        "dry_run": False,
        "debug": False,
        "logger": None,
        **nodes,
        **{name: settings_node(group) for name, group in groups.items()},
    }
    return TrainSettings(**of_command, **groups, record=record)  # pyright: ignore[reportArgumentType]


def chosen_settings(
    data: str | Path | DataSource,
    max_steps: int,
    device: str,
    optimizer: str,
    settings: Mapping[str, Any],
) -> ChosenSettings:
    """Each setting in the object that has it.

    Args:
        data: path of a genome, or settings of data.
        max_steps: optimizer steps of the whole run.
        device: as for `fit`.
        optimizer: its name, a key of `OPTIMIZERS`.
        settings: further settings of `fit` by name.

    Raises:
        ConfigError: for a setting that no object has, or one that is out of range.
    """
    is_path = isinstance(data, str | Path)
    if is_path and Path(data).is_dir():
        raise ConfigError(
            f"data={data} is a folder; give a FASTA file, or TextData(corpus=...) for a prepared "
            "corpus of text"
        )
    if optimizer not in OPTIMIZERS:
        raise ConfigError(f"optimizer={optimizer} must be one of {', '.join(OPTIMIZERS)}")
    kinds = {
        "data": GenomeData,
        "trainer": TrainerSettings,
        "optimizer": OPTIMIZERS[optimizer],
        "learning_rate": WarmupCosine,
    }
    reserved = {"fasta", "max_steps"}
    group_of = {
        field.name: group
        for group, kind in kinds.items()
        for field in fields(kind)
        if field.name not in reserved
    }
    groups: dict[str, dict[str, Any]] = {group: {} for group in kinds}
    for key, value in settings.items():
        if key not in group_of:
            hint = did_you_mean(key, group_of)
            raise ConfigError(f"{key}={value} is not a setting of fit{hint}; see help(dnamdlm.fit)")
        groups[group_of[key]][key] = value
    if not is_path and groups["data"]:
        key = next(iter(groups["data"]))
        raise ConfigError(
            f"{key}= is for data that are given as a path; set {key} in the {type(data).__name__}"
        )
    if not is_path and not isinstance(data, DataSource):
        raise ConfigError(
            f"data is a {type(data).__name__}; give the path of a FASTA file, or settings of data "
            "such as GenomeData and TextData"
        )
    trainer = _devices(device, groups["trainer"]) | groups["trainer"]
    return ChosenSettings(
        GenomeData(str(data), **groups["data"]) if is_path else data,
        TrainerSettings(max_steps, **trainer),
        OPTIMIZERS[optimizer](**groups["optimizer"]),
        WarmupCosine(**groups["learning_rate"]),
    )


def _devices(device: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer settings that one device means."""
    if "accelerator" in given or "devices" in given:
        if device != "auto":
            raise ConfigError(
                f"device={device} and accelerator= or devices= are both given; leave one out"
            )
        return {}
    name, _, number = device.partition(":")
    if number:
        raise ConfigError(
            f"device={device} names one of several; make it the only visible one with "
            f"CUDA_VISIBLE_DEVICES={number}, and give device={name}"
        )
    # a launcher has started one process per device.
    return {"accelerator": name, "devices": 1 if launched_shape() is None else "auto"}
