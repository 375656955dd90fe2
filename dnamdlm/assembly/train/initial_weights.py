"""The weights that training begins with: those of a run, or of another project."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor, nn

from dnamdlm.assembly.building.model_config import ModelConfig, TrainedLM
from dnamdlm.assembly.building.published import check_same_form, check_same_use, read_published
from dnamdlm.assembly.models import (
    description_of,
    find_checkpoint,
    is_foreign,
    local_path,
    stored_weights,
)
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.module_weights import load_weights
from dnamdlm.lm.published.exported_folder import is_exported, read_record

logger = logging.getLogger(__name__)

_CONDITIONS = {"class_embedding": "classes", "number_embedding": "numbers"}


def initialise_from(lm: TrainedLM, model: str) -> Path:
    """Start from the averaged weights of a trained model, whatever its objective was.

    A network that is conditioned on classes or numbers may start from one that is not: what it adds
    for them is zero at first, so that it starts as the same function of the tokens.

    Args:
        lm: filled in place; every other tensor must be there and of the same shape.
        model: run folder, checkpoint folder, exported folder, or weights of another project.

    Returns:
        The folder or file that was read.

    Raises:
        CheckpointError: if it is missing, damaged, of another form or of another vocabulary.
    """
    path = local_path(model, setting="init_from")
    if is_foreign(path):
        published = read_published(path, lm.vocabulary)
        backbone = lm.get_submodule("backbone")
        check_same_form(published, backbone, f"init_from={model}")
        fill_start(backbone, published.network.state_dict(), path)
        return path
    folder, _ = find_checkpoint(str(path), setting="init_from")
    description = description_of(folder)
    if description["vocabulary"] != lm.vocabulary.fingerprint():
        raise CheckpointError(
            f"init_from={model} was trained with another vocabulary; train it again with this one"
        )
    config = ModelConfig.stored(description["config"])
    check_same_use(config.backbone_node, lm.get_submodule("backbone"), f"init_from={model}")
    weights = read_record(folder).weights if is_exported(folder) else "average"
    fill_start(lm, *stored_weights(lm, folder, weights))
    return folder


def fill_start(module: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Fill a module that was just built; what it adds for conditions that are new stays zero.

    Args:
        module: filled in place.
        weights: of every tensor, or of every one that serves no condition that is new.
        source: where they are from, for messages.

    Raises:
        CheckpointError: as `dnamdlm.lm.module_weights.load_weights`.
    """
    new: dict[str, Tensor] = {}
    for part, meaning in _CONDITIONS.items():
        own = {
            name: tensor for name, tensor in module.state_dict().items() if part in name.split(".")
        }
        if own and not any(part in name.split(".") for name in weights):
            logger.info("%s knows no %s; what the network adds for them begins at zero",
                        source, meaning)  # fmt: skip
            new |= own
    load_weights(module, new | weights, source)
