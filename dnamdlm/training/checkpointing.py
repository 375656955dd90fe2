"""Lightning's checkpoint dictionary as a verified folder of safetensors and JSON, no pickle.

A checkpoint folder holds `weights.safetensors` (as trained), `average.safetensors` (the moving
average, what evaluation and sampling use), `trainer.safetensors` (optimizer moments),
`trainer.json` (counters) and `model.json` (what is needed to build the model again).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from torch import Tensor

from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import (
    AVERAGE,
    MODEL,
    WEIGHTS,
    json_writer,
    list_checkpoints,
    read_json,
    read_tensors,
    tensors_writer,
    verify_folder,
    write_folder,
)

_TRAINER_TENSORS = "trainer.safetensors"
_TRAINER_TREE = "trainer.json"
MODULE_PREFIX = "lm."


class FolderCheckpointIO(CheckpointIO):
    """Reads and writes Lightning checkpoints as folders that verify themselves.

    Args:
        description: content of `model.json`; JSON values only.
    """

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` at `path`, whole or not at all."""
        del storage_options
        rest = dict(checkpoint)
        weights = {
            name.removeprefix(MODULE_PREFIX): tensor
            for name, tensor in rest.pop("state_dict").items()
        }
        average = dict(rest.pop("average"))
        averaged = average.pop("weights")
        rest["average"] = average
        tensors: dict[str, Tensor] = {}
        tree = encode_tree(rest, tensors)
        description = self.description | {"step": checkpoint["global_step"]}
        write_folder(
            Path(path),
            {
                WEIGHTS: tensors_writer(weights),
                AVERAGE: tensors_writer(averaged),
                _TRAINER_TENSORS: tensors_writer(tensors),
                _TRAINER_TREE: json_writer(tree),
                MODEL: json_writer(description),
            },
        )

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint dictionary, after every file was verified."""
        del map_location, weights_only
        folder = Path(path)
        verify_folder(folder)
        tensors = read_tensors(folder / _TRAINER_TENSORS)
        checkpoint = decode_tree(read_json(folder / _TRAINER_TREE), tensors)
        checkpoint["state_dict"] = {
            MODULE_PREFIX + name: tensor for name, tensor in read_tensors(folder / WEIGHTS).items()
        }
        checkpoint["average"]["weights"] = read_tensors(folder / AVERAGE)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove one checkpoint folder."""
        shutil.rmtree(path)


def encode_tree(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """A JSON form of nested dicts, lists, tuples and scalars; tensors go into `tensors`.

    Raises:
        CheckpointError: for a value that has no such form, with its place in the tree.
    """
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        pairs = [[key, encode_tree(item, tensors, f"{path}/{key}")] for key, item in value.items()]
        if any(not isinstance(key, str | int) for key, _ in pairs):
            raise CheckpointError(f"the checkpoint entry {path or '/'} has a key that is no text")
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        items = [encode_tree(item, tensors, f"{path}/{i}") for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise CheckpointError(
        f"the checkpoint entry {path or '/'} is a {type(value).__name__}, which cannot be stored"
    )


def decode_tree(node: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `encode_tree`."""
    kind, content = next(iter(node.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: decode_tree(item, tensors) for key, item in content}
    if kind in ("list", "tuple"):
        items = [decode_tree(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    return content


def checkpoint_folder(run_dir: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies in a run folder."""
    return run_dir / "checkpoints" / f"step_{step:09d}"


def prune(folder: Path, keep: int) -> None:
    """Keep the newest `keep` checkpoints; the newest must verify before an older one goes."""
    found = list_checkpoints(folder)
    if len(found) > keep:
        verify_folder(found[-1])
        for path in found[:-keep]:
            shutil.rmtree(path)


def all_finite(tensors: dict[str, Tensor]) -> bool:
    """Whether no tensor holds a nan or an infinity."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
