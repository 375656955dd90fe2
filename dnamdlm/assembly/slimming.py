"""A copy of a run for other people: the model, its record and its figures, and nothing local.

Left out are the optimizer state, which is half of a checkpoint, older checkpoints, the command line
and the folders in every path.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from dnamdlm.assembly.building.field_types import check_fields
from dnamdlm.assembly.models import find_checkpoint
from dnamdlm.assembly.without_folders import without_folders
from dnamdlm.data.files import whole_folder, write_text
from dnamdlm.data.json_files import read_json_file
from dnamdlm.data.targets import check_new_folder
from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import MANIFEST, MODEL, Writer, json_writer, read_json, write_folder
from dnamdlm.lm.published.exported_folder import is_exported
from dnamdlm.training.checkpointing import TRAINER_FILES
from dnamdlm.training.run_folder import CONFIG, METRICS, RUN, read_run, read_run_config

_EVALUATION = "evaluation"


@dataclass(frozen=True)
class SlimSettings:
    """What is copied, and where to; the meaning of each field stands in `configs/slim.yaml`."""

    run_dir: str
    out: str

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Slimmed:
    """The copy, with the bytes of the run and of the copy."""

    folder: Path
    bytes_before: int
    bytes_after: int

    @property
    def sentence(self) -> str:
        """What was made, for people."""
        return (
            f"wrote {self.folder}: {self.bytes_after / 1e6:,.1f} MB instead of "
            f"{self.bytes_before / 1e6:,.1f} MB; model={self.folder} works in every command"
        )


def slim(settings: SlimSettings) -> Slimmed:
    """Copy the newest checkpoint of a run, its config, record, metrics and evaluations.

    Raises:
        ConfigError: if the target exists.
        CheckpointError: if the run has no checkpoint that verifies.
        DataError: if the copy cannot be written; nothing stays of it.
    """
    run_dir, out = Path(settings.run_dir), Path(settings.out)
    check_new_folder(out)
    checkpoint, _ = find_checkpoint(str(run_dir), setting="run_dir")
    if is_exported(checkpoint):
        raise ConfigError(
            f"run_dir={run_dir} is an exported model, of which nothing can be left out; copy the "
            "folder as it is"
        )
    with whole_folder(out) as partial:
        (partial / "checkpoints").mkdir()
        write_folder(partial / "checkpoints" / checkpoint.name, _writers(checkpoint))
        _copy_records(run_dir, partial)
    return Slimmed(out, _size(run_dir), _size(out))


def _writers(checkpoint: Path) -> dict[str, Writer]:
    """The files of a checkpoint that a model needs."""
    kept = [
        path
        for path in sorted(checkpoint.iterdir())
        if path.name not in (MANIFEST, MODEL, *TRAINER_FILES) and not path.name.startswith(".")
    ]

    def copy_of(source: Path) -> Writer:
        return lambda target: shutil.copyfile(source, target) and None

    description = without_folders(read_json(checkpoint / MODEL))
    return {path.name: copy_of(path) for path in kept} | {MODEL: json_writer(description)}


def _copy_records(run_dir: Path, target: Path) -> None:
    config = read_run_config(run_dir)
    if config is not None:
        write_text(target / CONFIG, yaml.safe_dump(without_folders(config), sort_keys=False))
    if record := read_run(run_dir):
        write_text(target / RUN, json.dumps(without_folders(record), indent=1) + "\n")
    if (run_dir / METRICS).is_file():
        shutil.copyfile(run_dir / METRICS, target / METRICS)
    for path in sorted((run_dir / _EVALUATION).glob("*.json")):
        (target / _EVALUATION).mkdir(exist_ok=True)
        content = without_folders(read_json_file(path))
        write_text(target / _EVALUATION / path.name, json.dumps(content, indent=1) + "\n")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
