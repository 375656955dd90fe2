"""Folders that `dnamdlm export` makes: the layout of Hugging Face, with everything of the model.

    config.json          what transformers or the original project needs, and under the key
                         `dnamdlm` what a checkpoint records: config, step, classes, vocabulary
    model.safetensors    one set of weights, under the original names where the original project
                         has such a network, else under ours; counts of experts are packed
    tokenizer.json       of the vocabulary, where a file can describe it
    README.md            the model card

The record names the SHA-256 of the weights, which is checked whenever they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import file_hash, read_description, read_tensors
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.packed_counts import pack_counts, unpack_counts
from dnamdlm.lm.published.import_bert import import_bert
from dnamdlm.lm.published.import_caduceus import import_caduceus
from dnamdlm.lm.published.import_mdlm import (
    HUB_CONFIG,
    HUB_WEIGHTS,
    import_autoregressive,
    import_dit,
)
from dnamdlm.lm.published.original_layout import OriginalLayout, original_layout
from dnamdlm.lm.published.process_layout import layout_of_process

RECORD = "dnamdlm"
"""Key of `config.json` that holds the record of the model."""
CARD = "README.md"
WEIGHTS_FILE = HUB_WEIGHTS[0]
FORMAT_VERSION = 1

_BACKBONE = "backbone."
_COUNTS = ".counts"


@dataclass(frozen=True)
class Record:
    """What an exported folder says of its model.

    Attributes:
        layout: whose tensor names the weights have.
        weights: which of the two sets of a checkpoint they are.
        sha256: of the file with the weights.
        description: as `model.json` of a checkpoint has it.
        held_out: split -> figures, as `held_out.json` of a run has them.
        run: as `run.json` of a run has it, without folders; empty if unknown.
        head: as `head.json` of a fine-tuned head has it, without the config of the model; empty
            for a language model.
    """

    layout: Literal["own", "caduceus", "mdlm", "bd3lm", "udlm", "bert"]
    weights: Literal["average", "raw"]
    sha256: str
    description: dict[str, Any]
    held_out: dict[str, Any]
    run: dict[str, Any]
    head: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The value of the key `dnamdlm`."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}


def is_exported(path: Path) -> bool:
    """Whether a path is a folder that `dnamdlm export` made."""
    try:
        content = read_json_file(path / HUB_CONFIG)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and isinstance(content.get(RECORD), dict)


def read_record(folder: Path) -> Record:
    """What an exported folder says of its model.

    Raises:
        CheckpointError: if it is damaged, or written by a later version.
    """
    content = read_description(folder / HUB_CONFIG)[RECORD]
    if content.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} was exported in format {content.get('format_version')}, this version reads "
            f"{FORMAT_VERSION}; use the version of dnamdlm that wrote it"
        )
    kinds: Mapping[str, type] = {
        "layout": str, "weights": str, "sha256": str, "description": dict, "held_out": dict,
        "run": dict,
        "head": dict,
    }  # fmt: skip
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise CheckpointError(
                f"{folder / HUB_CONFIG}: {RECORD}.{key} is not what dnamdlm writes; export again"
            )
    return Record(**{key: content[key] for key in kinds})


def verify_exported(folder: Path) -> Record:
    """Check the weights of an exported folder against its record.

    Raises:
        CheckpointError: if they are missing, or are not those that were exported.
    """
    record, path = read_record(folder), folder / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; export again, or copy the whole folder")
    if file_hash(path) != record.sha256:
        raise CheckpointError(
            f"{path} does not have the content it was exported with (SHA-256 differs); export "
            "again, or copy the whole folder"
        )
    return record


def exported_tensors(lm: nn.Module, layout: OriginalLayout | None) -> dict[str, Tensor]:
    """The tensors of `model.safetensors`, original names in an original layout, else ours."""
    if layout is not None:
        return dict(layout.tensors)
    return {
        name: pack_counts(tensor) if name.endswith(_COUNTS) else tensor
        for name, tensor in lm.state_dict().items()
    }


def layout_of(lm: nn.Module, *, length: int | None = None) -> OriginalLayout | None:
    """The original layout of a model that is a network and nothing else, if there is one.

    Args:
        lm: a language model; with experts, codes or a head its network alone is not the model.
        length: positions per window.
    """
    network = lm.get_submodule("backbone")
    is_all = all(name.startswith(_BACKBONE) for name in lm.state_dict())
    is_all &= not isinstance(lm, IupacDiffusionLM)
    layout = original_layout(network, length=length) if is_all else None
    return None if layout is None else layout_of_process(lm, layout)


def read_exported(folder: Path, lm: nn.Module) -> dict[str, Tensor]:
    """The tensors of an exported folder under our names.

    Args:
        folder: the exported folder.
        lm: the model that they are for.

    Raises:
        CheckpointError: if they cannot be read or are not those of its layout.
    """
    path = folder / WEIGHTS_FILE
    state, record = read_tensors(path), read_record(folder)
    if record.layout == "own":
        return {name: _unpacked(name, tensor, path) for name, tensor in state.items()}
    config = read_description(folder / HUB_CONFIG)
    network = _network(record.layout, state, config, str(path))
    # of MDLM, the idle norms of a network without time conditioning are left out.
    wanted = lm.get_submodule("backbone").state_dict().keys()
    found = {name: tensor for name, tensor in network.state_dict().items() if name in wanted}
    return {_BACKBONE + name: tensor for name, tensor in found.items()}


def _network(
    layout: str, state: Mapping[str, Tensor], config: Mapping[str, Any], source: str
) -> nn.Module:
    if layout == "bert":
        return import_bert(state, config, source=source)
    if layout == "caduceus" or config.get("backbone") == "dimamba":
        return import_caduceus(state, source=source)
    if config.get("backbone") == "ar":
        return import_autoregressive(state, num_heads=config.get("n_heads"), source=source)
    return import_dit(state, num_heads=config.get("n_heads"), source=source)


def _unpacked(name: str, tensor: Tensor, path: Path) -> Tensor:
    if not name.endswith(_COUNTS):
        return tensor
    try:
        return unpack_counts(tensor)
    except ValueError as error:
        raise CheckpointError(f"{path}: {name} is damaged, {error}; export again") from error
