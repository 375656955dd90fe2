"""Models for use from Python: read from disk, or trained."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from dnamdlm.assembly.api import Model
from dnamdlm.assembly.building.field_types import Strands, as_tuple
from dnamdlm.assembly.finetune.finetuning import SPLITS
from dnamdlm.assembly.head_model import Head
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.models import WeightSet, load_model
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.train.fitting import fit as fit_model
from dnamdlm.errors import ConfigError


def load(
    model: str | Path,
    *,
    weights: WeightSet = "average",
    device: str = "auto",
    strands: Strands = "one",
    trust: str | Sequence[str] = (),
    backbone: nn.Module | None = None,
) -> Model | Head:
    """Load a trained model, or the heads of a fine-tuning run.

    A model that is worse than a baseline on a split that its own run held out is loaded with a
    warning.

    Args:
        model: run folder, checkpoint folder, exported folder, name of a model that comes with the
            package ('yeast-demo'), published weights (folder or file), hub id, or run folder of
            `dnamdlm finetune`.
        weights: 'average', the moving average of the weights, or 'raw'.
        device: 'auto', 'cpu', 'cuda' or another device of torch.
        strands: 'both' averages the network over both strands, which takes twice the time; 'other'
            reads the reverse complement alone; for models of DNA.
        trust: packages besides dnamdlm whose classes the checkpoint may name; their code runs.
        backbone: for a model that was trained with a network of yours: such a network, which gets
            the weights.

    Returns:
        A model; of a fine-tuning run a `Head`, which has `predict`.

    Raises:
        CheckpointError: if the model is missing or damaged.
        ConfigError: if the model cannot do what is asked.

    Example:
        >>> import dnamdlm
        >>> model = dnamdlm.load("yeast-demo", device="cpu")
        >>> len(model.fill("ACGTNNNNACGT"))
        12
    """
    if (Path(model) / SPLITS).is_dir():
        if (weights, strands, backbone) != ("average", "one", None):
            raise ConfigError(
                f"{model} holds fine-tuned heads, for which weights, strands and backbone have no "
                "effect; leave them out"
            )
        return Head(model, device=device, trust=as_tuple(trust))
    loaded = load_model(
        str(model), weights=weights, device=device, trust=as_tuple(trust), backbone=backbone
    )
    warn_if_worse(loaded)
    return Model(replace(loaded, lm=with_strands(loaded.lm, strands)), strands=strands)


@functools.wraps(fit_model)
def fit(*arguments: Any, **settings: Any) -> Model:
    """Train as `fit_model` does, whose docstring this function gets."""
    return Model(fit_model(*arguments, **settings))
