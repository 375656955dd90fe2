"""Original Caduceus and DiMamba weights, read strictly into our names.

Every tensor of the source must be used and every parameter of the network must be filled. Sizes
follow from the shapes. Tensors that the original shares between two names may be stored under
both, if they are equal, or under the first alone, as Hugging Face does.

The network that comes out is an ordinary backbone: `MaskedDiffusionLM` continues its training as a
diffusion model, with the mask it was pre-trained with.

Source of the key names: kuleshov-group/caduceus, commit 0060a6d; kuleshov-group/mdlm, commit
c112c52.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.import_mdlm import hub_weights, read_mdlm_checkpoint

_TRUNKS = ("backbone.model.bimamba.backbone.", "model.bimamba.backbone.", "caduceus.backbone.")
_TIME = {
    "time_embedding.input.weight": "sigma_map.mlp.0.weight",
    "time_embedding.input.bias": "sigma_map.mlp.0.bias",
    "time_embedding.output.weight": "sigma_map.mlp.2.weight",
    "time_embedding.output.bias": "sigma_map.mlp.2.bias",
    "final_modulation.weight": "adaLN_modulation_final.weight",
    "final_modulation.bias": "adaLN_modulation_final.bias",
}
_STATE = {
    "conv_weight": "conv1d.weight",
    "conv_bias": "conv1d.bias",
    "select.weight": "x_proj.weight",
    "step_weight": "dt_proj.weight",
    "step_bias": "dt_proj.bias",
    "log_rates": "A_log",
    "direct": "D",
}
_DIRECTIONS = {"ahead": "mamba_fwd", "back": "mamba_rev"}
_COMPLEMENT = "complement_map"
_STRATEGIES = {"add": "add", "ew_multiply": "multiply"}


def read_caduceus(folder: Path, *, exchange_strands: bool | None = None) -> Mamba | CaduceusPS:
    """The network of a Hugging Face folder of Caduceus, in evaluation mode.

    Args:
        folder: holds `config.json` and `model.safetensors`, or `pytorch_model.bin`, of which
            tensors alone are read.
        exchange_strands: see `import_caduceus`; None takes it from the config.

    Raises:
        CheckpointError: if a file is missing, damaged, or describes another kind of network.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder}: needs a readable config.json ({error})") from error
    state = read_mdlm_checkpoint(hub_weights(folder))
    wanted = {"rms_norm": True, "bidirectional": True, "bidirectional_weight_tie": True}
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"{folder}: {key}={config[key]} is not supported, only {value}")
    strategy = config.get("bidirectional_strategy") or "add"
    if strategy not in _STRATEGIES:
        raise CheckpointError(
            f"{folder}: bidirectional_strategy={strategy} is unknown; expected one of "
            f"{', '.join(_STRATEGIES)}"
        )
    if exchange_strands is None and config.get("rcps"):
        exchange_strands = bool(config.get("fused_add_norm"))
    return import_caduceus(
        state,
        exchange_strands=exchange_strands,
        directions=_STRATEGIES[strategy],
        source=str(folder),
    )


def import_caduceus(
    state: Mapping[str, Tensor],
    *,
    exchange_strands: bool | None = None,
    directions: str = "add",
    source: str = "checkpoint",
) -> Mamba | CaduceusPS:
    """Build the network that these tensors belong to, in evaluation mode.

    Args:
        state: original names to tensors, of Caduceus-PH, Caduceus-PS or DiMamba.
        exchange_strands: the fused order of strand halves, for PS alone: whether the strands
            change places in every block, as they do in the fused code that published weights were
            trained with. None infers it from the names of the norms, which differ.
        directions: 'add', or 'multiply' for bidirectional_strategy=ew_multiply.
        source: name of the source in messages.

    Returns:
        `CaduceusPS` for PS, `Mamba` for the others; the vocabulary is as large as the source's.

    Raises:
        CheckpointError: if a tensor is missing, left over, of a shape that does not fit, or
            differs from the one it should be shared with.
    """
    is_ps = any(".mixer.submodule." in name for name in state)
    if exchange_strands is None:
        exchange_strands = not any(".norm.submodule." in name for name in state)
    tensors = {_plain_name(name): tensor for name, tensor in state.items()}
    complements = [tensors.pop(name) for name in list(tensors) if name.endswith(_COMPLEMENT)]
    if is_ps and (not complements or any(not c.equal(complements[0]) for c in complements)):
        raise CheckpointError(f"{source}: needs one {_COMPLEMENT}, found {len(complements)}")
    num_blocks = len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
    sees_time = any(name.startswith("sigma_map.") for name in tensors)
    names = caduceus_names(num_blocks, time_conditioning=sees_time)
    is_tied = _drop_shared(tensors, num_blocks, source)
    if is_tied:
        del names["head.weight"]
    _check_names(tensors, names, source, num_blocks)

    embedding, rates = tensors["embeddings.word_embeddings.weight"], "layers.0.mixer.mamba_fwd."
    vocab_size, hidden_size = embedding.shape
    sizes = {
        "directions": directions,
        "state_size": tensors[f"{rates}A_log"].shape[1],
        "conv_width": tensors[f"{rates}conv1d.weight"].shape[-1],
        "expand": tensors[f"{rates}D"].numel() // hidden_size,
        "time_conditioning": sees_time,
        "cond_size": tensors["sigma_map.mlp.2.bias"].numel() if sees_time else 1,
        "tie_embeddings": is_tied,
    }
    if is_ps:
        network = CaduceusPS(
            vocab_size,
            complements[0].tolist(),
            hidden_size,
            num_blocks,
            exchange_strands=exchange_strands,
            **sizes,
        )
        _fill(network.strand, tensors, names, source)
    else:
        network = Mamba(vocab_size, hidden_size, num_blocks, **sizes)
        _fill(network, tensors, names, source)
    return network.eval()


def _plain_name(name: str) -> str:
    """A name without the wrappers that differ between the variants."""
    for prefix in _TRUNKS:
        name = name.removeprefix(prefix)
    name = name.removeprefix("backbone.").removeprefix("model.")
    name = name.replace(".submodule.", ".").replace("lm_head.lm_head.", "lm_head.")
    return name.replace("word_embeddings.embedding.", "word_embeddings.")


def caduceus_names(num_blocks: int, *, time_conditioning: bool) -> dict[str, str]:
    """Our parameter names to the original ones without their wrappers."""
    names = {
        "embedding.weight": "embeddings.word_embeddings.weight",
        "final_norm.weight": "norm_f.weight",
        "head.weight": "lm_head.weight",
    }
    if time_conditioning:
        names |= _TIME
    for i in range(num_blocks):
        ours, theirs = f"blocks.{i}.", f"layers.{i}."
        names[f"{ours}norm.weight"] = f"{theirs}norm.weight"
        names[f"{ours}mixer.input.weight"] = f"{theirs}mixer.mamba_fwd.in_proj.weight"
        names[f"{ours}mixer.output.weight"] = f"{theirs}mixer.mamba_fwd.out_proj.weight"
        for direction, original in _DIRECTIONS.items():
            names |= {
                f"{ours}mixer.{direction}.{new}": f"{theirs}mixer.{original}.{old}"
                for new, old in _STATE.items()
            }
        if time_conditioning:
            for kind in ("weight", "bias"):
                names[f"{ours}modulation.{kind}"] = f"{theirs}adaLN_modulation.{kind}"
    return names


def _drop_shared(tensors: dict[str, Tensor], num_blocks: int, source: str) -> bool:
    """Drop second names of shared tensors; returns whether the head is the embedding."""
    for i in range(num_blocks):
        for projection in ("in_proj", "out_proj"):
            first = f"layers.{i}.mixer.mamba_fwd.{projection}.weight"
            second = first.replace("mamba_fwd", "mamba_rev")
            copy = tensors.pop(second, None)
            if copy is not None and first in tensors and not torch.equal(copy, tensors[first]):
                raise CheckpointError(
                    f"{source}: {second} differs from {first}; only directions with shared "
                    "projections are supported"
                )
    head, embedding = tensors.get("lm_head.weight"), "embeddings.word_embeddings.weight"
    is_tied = head is None or (embedding in tensors and torch.equal(head, tensors[embedding]))
    if is_tied:
        tensors.pop("lm_head.weight", None)
    return is_tied


def _check_names(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], source: str, num_blocks: int
) -> None:
    """Refuse a table with missing or left-over tensors."""
    missing = sorted(set(names.values()) - set(tensors))
    left_over = sorted(set(tensors) - set(names.values()))
    if missing or left_over:
        raise CheckpointError(
            f"{source}: not the tensors of a bidirectional Mamba with {num_blocks} blocks; "
            f"missing: {', '.join(missing) or 'none'}; left over: {', '.join(left_over) or 'none'}"
        )


def _fill(
    network: nn.Module, tensors: Mapping[str, Tensor], names: Mapping[str, str], source: str
) -> None:
    """Copy every tensor into the parameter that it belongs to."""
    network.to(next(iter(tensors.values())).dtype)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            tensor = tensors[names[name]]
            if name.endswith("conv_weight"):
                tensor = tensor.squeeze(1)
            if tensor.shape != parameter.shape:
                raise CheckpointError(
                    f"{source}: {names[name]} has shape {tuple(tensor.shape)}, expected "
                    f"{tuple(parameter.shape)}"
                )
            parameter.copy_(tensor)
