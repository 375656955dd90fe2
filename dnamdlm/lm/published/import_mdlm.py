"""Original MDLM weights of the transformers, read strictly into our names.

BD3-LM, UDLM and DUO store the same transformer; see `published_process` for what differs.

Every tensor of the source must be used and every parameter of the network must be filled. The sizes
follow from the shapes. The original keeps its adaptive norm where time conditioning is off and
feeds it zeros; `fold_time` turns such a network into a plain one with the same logits.

Source of the key names: kuleshov-group/mdlm, commit c112c52.
"""

import copy
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.dit import DiT, TransformerBlock
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.published_process import PROCESS_BUFFERS

PREFIX = "backbone."
ROTARY_BUFFER = "rotary_emb.inv_freq"
HUB_CONFIG = "config.json"
HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "weights.ckpt")
Network = TypeVar("Network", bound=torch.nn.Module)
_COMPILED = "_orig_mod."
_TIME_NAMES = ("time_embedding", "final_modulation", "modulation")

_TRUNK = {
    "embedding.weight": "vocab_embed.embedding",
    "time_embedding.input.weight": "sigma_map.mlp.0.weight",
    "time_embedding.input.bias": "sigma_map.mlp.0.bias",
    "time_embedding.output.weight": "sigma_map.mlp.2.weight",
    "time_embedding.output.bias": "sigma_map.mlp.2.bias",
    "final_norm.weight": "output_layer.norm_final.weight",
    "final_modulation.weight": "output_layer.adaLN_modulation.weight",
    "final_modulation.bias": "output_layer.adaLN_modulation.bias",
    "head.weight": "output_layer.linear.weight",
    "head.bias": "output_layer.linear.bias",
}
_BLOCK = {
    "attention_norm.weight": "norm1.weight",
    "attention.qkv.weight": "attn_qkv.weight",
    "attention.output.weight": "attn_out.weight",
    "mlp_norm.weight": "norm2.weight",
    "mlp.input.weight": "mlp.0.weight",
    "mlp.input.bias": "mlp.0.bias",
    "mlp.output.weight": "mlp.2.weight",
    "mlp.output.bias": "mlp.2.bias",
    "modulation.weight": "adaLN_modulation.weight",
    "modulation.bias": "adaLN_modulation.bias",
}


class _Inert:
    """Replaces any class in a checkpoint other than tensors; it runs and keeps nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_mdlm_checkpoint(
    path: Path, *, weights: Literal["ema", "trained"] = "ema"
) -> dict[str, Tensor]:
    """Original tensors by name, from safetensors, a Lightning checkpoint or a Hugging Face folder.

    Args:
        path: a `.safetensors` file, a checkpoint written by torch, or a folder with `config.json`
            and `model.safetensors` or `pytorch_model.bin`. No code that a checkpoint may carry is
            run: objects other than tensors and plain containers are dropped.
        weights: which of the two sets of a Lightning checkpoint; a file without averaged weights
            holds one set, which is returned.

    Raises:
        CheckpointError: if the file is missing, damaged or without tensors, or if the sizes in
            `config.json` are not those of the tensors.
    """
    if path.is_dir():
        state = read_mdlm_checkpoint(hub_weights(path), weights=weights)
        _check_hub_config(path / HUB_CONFIG, state)
        return state
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a .safetensors or .ckpt file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(
                f"{path}: not a readable safetensors file; download it again"
            ) from error
    content = load_without_code(path)
    state = content.get("state_dict", content)
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no table of tensors under `state_dict`")
    # training with torch.compile puts a mark into the names.
    state = {name.replace(_COMPILED, ""): tensor for name, tensor in state.items()}
    if weights == "trained" or "ema" not in content:
        return state
    return _averaged(path, state, content["ema"]["shadow_params"])


def import_dit(
    state: Mapping[str, Tensor], *, num_heads: int | None = None, source: str = "checkpoint"
) -> DiT:
    """Build the network that these tensors belong to, in evaluation mode.

    Args:
        state: original names to tensors, with or without the prefix `backbone.`.
        num_heads: needed only if the rotary buffer, from which it follows, is absent.
        source: name of the source in messages.

    Raises:
        CheckpointError: if a tensor is missing, left over or of a shape that does not fit.
    """
    tensors = _Originals(state, source, num_heads=num_heads, sees_time=True)
    network = DiT(
        *tensors.sizes,
        mlp_ratio=tensors.mlp_ratio,
        time_conditioning=True,
        cond_size=tensors["sigma_map.mlp.2.bias"].numel(),
    )
    return tensors.fill(network)


def import_autoregressive(
    state: Mapping[str, Tensor], *, num_heads: int | None = None, source: str = "checkpoint"
) -> CausalTransformer:
    """Build the autoregressive network that these tensors belong to, in evaluation mode.

    Args:
        state: original names to tensors, with or without the prefix `backbone.`.
        num_heads: needed only if the rotary buffer, from which it follows, is absent.
        source: name of the source in messages.

    Raises:
        CheckpointError: if a tensor is missing, left over or of a shape that does not fit.
    """
    tensors = _Originals(state, source, num_heads=num_heads, sees_time=False)
    return tensors.fill(CausalTransformer(*tensors.sizes, mlp_ratio=tensors.mlp_ratio))


class _Originals:
    """The tensors of one checkpoint under their original names, complete and with none left over.

    Attributes:
        sizes: vocab_size, hidden_size, num_blocks, num_heads.
        mlp_ratio: inner width of the perceptrons over the hidden size.
    """

    def __init__(
        self, state: Mapping[str, Tensor], source: str, *, num_heads: int | None, sees_time: bool
    ) -> None:
        tensors = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
        rotary = tensors.pop(ROTARY_BUFFER, None)
        blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
        names = mdlm_names(len(blocks), sees_time=sees_time)
        missing = sorted(set(names.values()) - set(tensors))
        left_over = sorted(set(tensors) - set(names.values()))
        if missing or left_over:
            kind = "MDLM transformer" if sees_time else "autoregressive transformer of MDLM"
            raise CheckpointError(
                f"{source}: not the tensors of an {kind} with {len(blocks)} blocks; "
                f"missing: {', '.join(missing) or 'none'}; left over: "
                f"{', '.join(left_over) or 'none'}"
            )
        vocab_size, hidden_size = tensors["vocab_embed.embedding"].shape
        if num_heads is None:
            if rotary is None:
                raise CheckpointError(f"{source}: has no {ROTARY_BUFFER}; give num_heads")
            num_heads = hidden_size // (2 * rotary.numel())
        inner_size = tensors["blocks.0.mlp.0.bias"].numel() if blocks else 4 * hidden_size
        self.sizes = (vocab_size, hidden_size, len(blocks), num_heads)
        self.mlp_ratio = inner_size / hidden_size
        self._tensors, self._names, self._source = tensors, names, source

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def fill(self, network: Network) -> Network:
        """Give the network these weights, in their type."""
        network = network.to(self["vocab_embed.embedding"].dtype)
        renamed = {ours: self[original] for ours, original in self._names.items()}
        for name, parameter in network.state_dict().items():
            if parameter.shape != renamed[name].shape:
                raise CheckpointError(
                    f"{self._source}: {self._names[name]} has shape {tuple(renamed[name].shape)}, "
                    f"expected {tuple(parameter.shape)}"
                )
        network.load_state_dict(renamed)
        return network.eval()


@torch.no_grad()
def fold_time(network: DiT, time: float = 0.0) -> DiT:
    """A network without time conditioning whose logits are those of `network` at one time.

    Scales go into norm gains, shifts into the biases behind them, gates into the last layer of
    their branch. The states of `hidden` differ from the original's by the shift of the final norm.

    Args:
        network: built with time conditioning.
        time: the conditioning value to fix; the original feeds 0 where conditioning is off.

    Raises:
        ValueError: if the network has no time conditioning, or has convolutions in its blocks,
            which smear a shift unevenly at the ends of a sequence.
    """
    if network.time_embedding is None or network.final_modulation is None:
        raise ValueError("the network has no time conditioning to fold")
    cond = network.time_embedding(network.head.weight.new_tensor([time]))
    folded = copy.deepcopy(network)
    folded.time_conditioning, folded.time_embedding = False, None
    for block in folded.blocks:
        assert isinstance(block, TransformerBlock)
        _fold_block(block, cond)
    shift, scale = (chunk.flatten() for chunk in network.final_modulation.chunks(cond))
    folded.final_norm.weight.mul_(1.0 + scale)
    folded.head.bias.add_(folded.head.weight @ shift)
    folded.final_modulation = None
    return folded


def _fold_block(block: TransformerBlock, cond: Tensor) -> None:
    """Fix the modulation of one block in place."""
    assert block.modulation is not None
    if block.conv is not None:
        raise ValueError("a network with convolutions in its blocks cannot be folded")
    chunks = (chunk.flatten() for chunk in block.modulation.chunks(cond))
    shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = chunks
    attention, mlp = block.attention, block.mlp
    block.attention_norm.weight.mul_(1.0 + scale)
    bias = attention.qkv.weight @ shift
    attention.qkv.bias = torch.nn.Parameter(
        bias if attention.qkv.bias is None else bias + attention.qkv.bias
    )
    attention.output.weight.mul_(gate[:, None])
    block.mlp_norm.weight.mul_(1.0 + mlp_scale)
    mlp.input.bias.add_(mlp.input.weight @ mlp_shift)
    mlp.output.weight.mul_(mlp_gate[:, None])
    mlp.output.bias.mul_(mlp_gate)
    block.modulation = None


def mdlm_names(num_blocks: int, *, sees_time: bool) -> dict[str, str]:
    """Our parameter names to the original ones."""
    trunk, block = (
        {
            ours: theirs
            for ours, theirs in table.items()
            if sees_time or not ours.startswith(_TIME_NAMES)
        }
        for table in (_TRUNK, _BLOCK)
    )
    names = dict(trunk)
    for i in range(num_blocks):
        names |= {f"blocks.{i}.{ours}": f"blocks.{i}.{theirs}" for ours, theirs in block.items()}
    return names


def hub_weights(folder: Path) -> Path:
    """The file with the weights in a Hugging Face folder.

    Raises:
        CheckpointError: if the folder has none.
    """
    for name in HUB_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    *names, last = HUB_WEIGHTS
    raise CheckpointError(f"{folder}: holds neither {', '.join(names)} nor {last}")


def _check_hub_config(path: Path, state: Mapping[str, Tensor]) -> None:
    """Compare the sizes that the folder declares with those of its tensors."""
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: missing or not readable as JSON") from error
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    embedding = tensors.get("vocab_embed.embedding")
    if embedding is None or not isinstance(declared, dict):
        raise CheckpointError(f"{path.parent}: not the weights of an MDLM transformer")
    found = {
        "vocab_size": embedding.shape[0],
        "hidden_dim": embedding.shape[1],
        "n_blocks": len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}),
    }
    if ROTARY_BUFFER in tensors:
        found["n_heads"] = embedding.shape[1] // (2 * tensors[ROTARY_BUFFER].numel())
    for key, value in found.items():
        if key in declared and declared[key] != value:
            raise CheckpointError(
                f"{path}: says {key}={declared[key]}, but the tensors have {value}; the files do "
                "not belong together"
            )


def load_without_code(path: Path) -> dict[str, Any]:
    """Read a file of torch; classes other than those of tensors become inert objects.

    Raises:
        CheckpointError: if it is damaged or not a table.
    """
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stand_ins: list[Any] = [(_Inert, name) for name in foreign]
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint of torch") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a table of tensors")
    return content


def _averaged(path: Path, state: Mapping[str, Tensor], shadow: list[Tensor]) -> dict[str, Tensor]:
    """The averaged weights, which the original stores by position, under their names."""
    buffers = (ROTARY_BUFFER, *PROCESS_BUFFERS)
    names = [name for name in state if not name.endswith(buffers)]
    if len(names) != len(shadow):
        raise CheckpointError(
            f"{path}: {len(shadow)} averaged tensors for {len(names)} parameters; "
            "read the trained weights instead"
        )
    for name, average in zip(names, shadow, strict=True):
        if average.shape != state[name].shape:
            raise CheckpointError(
                f"{path}: the averaged tensor for {name} has shape {tuple(average.shape)}, "
                f"expected {tuple(state[name].shape)}"
            )
    return {**state, **dict(zip(names, shadow, strict=True))}
