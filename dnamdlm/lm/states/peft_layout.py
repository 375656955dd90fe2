"""Low-rank adapters in the layout of the library PEFT.

    adapter_config.json         rank, alpha, the layers that have adapters, the base model
    adapter_model.safetensors   base_model.model.<layer>.lora_A.weight (rank, in) and
                                ...lora_B.weight (out, rank); a trained head as a plain weight

The layers have their names in the classes of `dnamdlm.hf`: `classifier.lm.` and `classifier.head.`
of the sequence classifier, `lm.` of the masked language model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import read_description, read_tensors
from dnamdlm.lm.states.adapters import LowRankUpdate

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_WRAPPED = "base_model.model."
_CLASSIFIER = "classifier."
# before the names of the layers of a language model, in the order of the longest.
_BEFORE_LM = (f"{_WRAPPED}{_CLASSIFIER}lm.", f"{_WRAPPED}lm.")
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
# what may be set in adapter_config.json and would change the correction, and its idle value.
_IDLE: Mapping[str, Any] = {
    "use_dora": False, "rank_pattern": {}, "alpha_pattern": {}, "bias": "none",
    "fan_in_fan_out": False, "lora_bias": False, "layer_replication": None,
}  # fmt: skip


def adapter_tensors(classifier: nn.Module) -> dict[str, Tensor]:
    """The matrices of all adapters, and the head, under the names of PEFT.

    Args:
        classifier: a sequence classifier with adapters that are not merged.
    """
    found: dict[str, Tensor] = {}
    for name, layer in classifier.named_modules():
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            (update,) = layer.parametrizations["weight"]  # pyright: ignore[reportIndexIssue, reportArgumentType]
            assert isinstance(update, LowRankUpdate)
            found[f"{_WRAPPED}{_CLASSIFIER}{name}{_DOWN}"] = update.down.detach().clone()
            found[f"{_WRAPPED}{_CLASSIFIER}{name}{_UP}"] = update.up.detach().clone()
    for name, tensor in classifier.get_submodule("head").state_dict().items():
        found[f"{_WRAPPED}{_CLASSIFIER}head.{name}"] = tensor.clone()
    return found


def adapter_config(
    tensors: Mapping[str, Tensor], *, rank: int, alpha: float, base: str | None = None
) -> dict[str, Any]:
    """Content of `adapter_config.json`.

    Args:
        tensors: as `adapter_tensors` gives them.
        rank: of the corrections.
        alpha: strength; the correction is multiplied by alpha / rank.
        base: where the base model lies, for `from_pretrained`.
    """
    layers = sorted(name.removeprefix(_WRAPPED)[: -len(_DOWN)] for name in tensors if _DOWN in name)
    return {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": base,
        "inference_mode": True, "r": rank, "lora_alpha": alpha, "lora_dropout": 0.0,
        "use_rslora": False, **_IDLE, "init_lora_weights": True,
        "target_modules": layers, "modules_to_save": [f"{_CLASSIFIER}head"],
    }  # fmt: skip


def is_adapter(path: Path) -> bool:
    """Whether a path is a folder of adapters in the layout of PEFT."""
    try:
        content = read_json_file(path / ADAPTER_CONFIG)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "peft_type" in content


def base_of(folder: Path) -> str:
    """The base model that a folder of adapters names.

    Raises:
        CheckpointError: if it names none.
    """
    base = read_description(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"{folder / ADAPTER_CONFIG} names no base model; set base_model_name_or_path there"
        )
    return base


def merge_adapter_folder(lm: nn.Module, folder: Path) -> int:
    """Add the corrections of a folder to the weights of a language model, in place.

    A trained head in the folder is left out: a language model has no place for it.

    Returns:
        The number of layers that were changed.

    Raises:
        CheckpointError: for adapters of another kind, of other layers or shapes.
    """
    config, path = read_description(folder / ADAPTER_CONFIG), folder / ADAPTER_WEIGHTS
    scale = _scale_of(config, folder / ADAPTER_CONFIG)
    tensors = read_tensors(path)
    layers = sorted({name[: -len(_DOWN)] for name in tensors if name.endswith(_DOWN)})
    if not layers:
        raise CheckpointError(f"{path} holds no adapters; give the folder that PEFT wrote")
    modules = dict(lm.named_modules())
    with torch.no_grad():
        for name in layers:
            layer = modules.get(_name_in_lm(name))
            down, up = tensors[name + _DOWN], tensors.get(name + _UP)
            if not isinstance(layer, nn.Linear):
                raise CheckpointError(
                    f"{path} changes {name.removeprefix(_WRAPPED)}, which is not a layer of the "
                    "base model; give the base model that it was trained with"
                )
            shape = (tuple(layer.weight.shape), config["r"])
            if up is None or ((len(up), down.shape[-1]), len(down)) != shape:
                raise CheckpointError(
                    f"{path}: the adapter of {name.removeprefix(_WRAPPED)} does not have the shape "
                    f"of its layer, {shape[0]}, and rank {shape[1]}; give the base model that it "
                    "was trained with"
                )
            layer.weight += (scale * (up @ down)).to(layer.weight)
    return len(layers)


def _name_in_lm(name: str) -> str:
    for before in _BEFORE_LM:
        if name.startswith(before):
            return name.removeprefix(before)
    return name


def _scale_of(config: Mapping[str, Any], path: Path) -> float:
    """Alpha over rank, or over its root."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{path} has peft_type={kind}; LORA alone can be merged")
    for key, idle in _IDLE.items():
        if (config.get(key) or idle) != idle:
            raise CheckpointError(
                f"{path} has {key}={config[key]}, which is not supported; merge the adapters with "
                "PEFT (merge_and_unload) and save the model"
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise CheckpointError(f"{path} has r={rank} and lora_alpha={alpha}; both must be numbers")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
