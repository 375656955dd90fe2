"""Lightning's checkpoint dictionary as a verified folder of safetensors and JSON, no pickle.

A checkpoint folder holds `weights.safetensors` (as trained), `average.safetensors` (the moving
average, what evaluation and sampling use), `trainer.safetensors` (optimizer moments),
`trainer.json` (counters) and `model.json` (what is needed to rebuild the model); that of a model of
text also holds the files of its tokenizer, so that it needs no corpus.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from torch import Tensor

from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import (
    AVERAGE,
    FILES,
    MODEL,
    WEIGHTS,
    json_writer,
    list_checkpoints,
    read_json,
    read_tensors,
    remove_checkpoint_folder,
    tensors_writer,
    text_writer,
    verify_checkpoint,
    verify_folder,
    write_folder,
)
from dnamdlm.lm.module_weights import check_finite

logger = logging.getLogger(__name__)

_TRAINER_TENSORS = "trainer.safetensors"
_TRAINER_TREE = "trainer.json"
TRAINER_FILES = (_TRAINER_TENSORS, _TRAINER_TREE)
"""Files of a checkpoint that only training reads."""
MODULE_PREFIX = "lm."


class FolderCheckpointIO(CheckpointIO):
    """Reads and writes Lightning checkpoints as folders that verify themselves.

    A failed save is kept in `failure` and not raised: only one of several processes writes, and the
    others wait for it behind a barrier.

    Args:
        description: content of `model.json`; JSON values only. What it has under `files`, name ->
            text, is written to files of these names instead.
    """

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.failure: CheckpointError | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` at `path`, whole or not at all, and read it back to verify it."""
        del storage_options
        self.failure = None
        try:
            self._write(checkpoint, Path(path))
            verify_folder(Path(path))
        except CheckpointError as error:
            self.failure = error

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
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
        files: dict[str, str] = description.pop(FILES, {})
        write_folder(
            path,
            {
                WEIGHTS: tensors_writer(weights),
                AVERAGE: tensors_writer(averaged),
                _TRAINER_TENSORS: tensors_writer(tensors),
                _TRAINER_TREE: json_writer(tree),
                MODEL: json_writer(description),
                **{name: text_writer(content) for name, content in files.items()},
            },
        )

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint dictionary, after every file was verified."""
        del map_location, weights_only
        folder = Path(path)
        verify_folder(folder)
        if not all((folder / name).is_file() for name in TRAINER_FILES):
            raise CheckpointError(
                f"{folder} has no optimizer state, as in a copy made by slim, so that no run can "
                f"resume from it; train in another run_dir with init_from={folder.parent.parent}"
            )
        # a run saves what is finite alone, so that whatever is not was damaged later.
        tensors, weights, average = (
            _finite_tensors(folder / name) for name in (_TRAINER_TENSORS, WEIGHTS, AVERAGE)
        )
        checkpoint = _decoded(folder / _TRAINER_TREE, tensors)
        checkpoint["state_dict"] = {MODULE_PREFIX + name: item for name, item in weights.items()}
        checkpoint["average"]["weights"] = average
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove one checkpoint folder."""
        remove_checkpoint_folder(Path(path))


def _finite_tensors(path: Path) -> dict[str, Tensor]:
    tensors = read_tensors(path)
    check_finite(tensors, path)
    return tensors


def _decoded(path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The tree of a file with its tensors.

    Raises:
        CheckpointError: if it is not one that was written here.
    """
    tree = None
    with suppress(KeyError, TypeError, ValueError, AttributeError, StopIteration, RecursionError):
        tree = decode_tree(read_json(path), tensors)
    if not isinstance(tree, dict) or not isinstance(tree.get("average"), dict):
        raise CheckpointError(f"{path} is not what dnamdlm wrote; use another checkpoint")
    return tree


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
            raise CheckpointError(
                f"the checkpoint entry {path or '/'} has a key that is not a string"
            )
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
    """Path of the checkpoint after `step` updates in a run folder."""
    return run_dir / "checkpoints" / f"step_{step:09d}"


def is_saved(folder: Path) -> bool:
    """Whether a checkpoint folder exists and verifies."""
    try:
        verify_checkpoint(folder)
    except (CheckpointError, OSError):
        return False
    return True


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, once the newest one verifies.

    A folder with foreign files stays, and so does everything that is not named like a checkpoint.

    Raises:
        CheckpointError: if the newest one does not verify, or the disk refuses; older ones then
            stay.
    """
    found = list_checkpoints(folder)
    if len(found) <= keep:
        return
    verify_checkpoint(found[-1])
    for path in found[:-keep]:
        try:
            if not remove_checkpoint_folder(path):
                logger.warning("%s is kept, since it holds foreign files", path)
        except (CheckpointError, OSError) as error:
            logger.warning("%s cannot be deleted (%s)", path, error)
