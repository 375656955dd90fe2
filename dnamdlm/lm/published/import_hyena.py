"""Weights of HyenaDNA, read strictly into our names.

Read are the folders for transformers (`...-hf`, `model.safetensors`) and the first ones
(`weights.ckpt`), of which counters of the training are left out. The ids are ours. The mask, which
HyenaDNA was never trained on, marks the start of a row here, and gets the vectors of N.

Source of the key names: HazyResearch/hyena-dna, commit d553021, `standalone_hyenadna.py`; its port
to the Hugging Face hub, `modeling_hyena.py`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dnamdlm.backbones.hyena import Hyena
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.strict_names import (
    check_names,
    check_only,
    check_sizes,
    filled,
    num_blocks_of,
    with_kinds,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

HYENA_MARK = ".filter_fn.implicit_filter."
SPECIAL_POSITIONS = 2
"""Positions of a row beyond its bases in training."""

_WORDS, _HEAD = "backbone.embeddings.word_embeddings.weight", "lm_head.weight"
_SINE = re.compile(r"(.*\.implicit_filter)\.\d+\.freq")
_BLOCK = {
    "mixer_norm": "norm1",
    "mixer.input": "mixer.in_proj",
    "mixer.output": "mixer.out_proj",
    "mlp_norm": "norm2",
    "mlp.input": "mlp.fc1",
    "mlp.output": "mlp.fc2",
}
_FLAT = {
    "mixer.short_weight": "mixer.short_filter.weight",
    "mixer.short_bias": "mixer.short_filter.bias",
    "mixer.filter.positions": "mixer.filter_fn.pos_emb.z",
    "mixer.filter.frequency": "mixer.filter_fn.implicit_filter.freq",
    "mixer.filter.direct": "mixer.filter_fn.bias",
    "mixer.filter.rates": "mixer.filter_fn.modulation.deltas",
}
# what other values of a config would compute is not what `Hyena` computes.
_WANTED = {"hyena_order": 2, "layer_norm_epsilon": 1e-5, "use_bias": True}
_WANTED_OF_LAYER = {"_name_": "hyena", "order": 2, "num_heads": 1, "inner_factor": 1,
                    "num_blocks": 1, "outer_mixing": False, "post_order_ffn": False,
                    "activation": "id", "modulate": True, "shift": 0.05,
                    "normalized": False, "bidirectional": False}  # fmt: skip

logger = logging.getLogger(__name__)


def import_hyena(
    state: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str = "checkpoint"
) -> Hyena:
    """Build the network that these tensors belong to, in evaluation mode.

    Args:
        state: original names to tensors.
        config: content of `config.json`, empty for a single file; its sizes are compared.
        source: name of the source in messages.

    Raises:
        CheckpointError: if a tensor is missing, left over or of a shape that does not fit, copies
            of one tensor differ, or the config describes another computation.
    """
    layer = config.get("layer") if isinstance(config.get("layer"), Mapping) else {}
    check_only(config, _WANTED, source)
    check_only(layer or {}, _WANTED_OF_LAYER, source)
    tensors = _plain(state, source)
    num_blocks = num_blocks_of(tensors, "backbone.layers.")
    first = "backbone.layers.0.mixer.filter_fn."
    num_linear = sum(
        name.startswith(f"{first}implicit_filter.") and name.endswith(".bias") for name in tensors
    )
    names = _names(num_blocks, num_linear)
    check_names(tensors, names, f"a HyenaDNA with {num_blocks} blocks", source)
    rows, size = tensors[_WORDS].shape
    places, num_features = tensors[f"{first}pos_emb.z"].shape
    inner_size = len(tensors["backbone.layers.0.mlp.fc1.bias"])
    found = {"d_model": size, "n_layer": num_blocks, "max_seq_len": places}
    check_sizes(config, found, source)
    check_sizes(layer or {}, {"l_max": places, "emb_dim": num_features}, source)
    ratio = inner_size / size
    network = Hyena(
        rows,
        size,
        num_blocks,
        max_length=places,
        mlp_ratio=int(ratio) if ratio.is_integer() else ratio,
        num_features=num_features,
        filter_size=len(tensors[f"{first}implicit_filter.freq"]),
        filter_layers=num_linear - 1,
        short_width=tensors["backbone.layers.0.mixer.short_filter.weight"].shape[-1],
        vocab_multiple=8 if rows % 8 == 0 else 1,
    )
    network = filled(network, tensors, names, source)
    _read_start_as_n(network, source)
    return network


def _plain(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Tensors without wrappers in their names, second copies, tables of times and idle axes."""
    tensors: dict[str, Tensor] = {}
    for full, tensor in state.items():
        if "torchmetrics." in full:
            logger.info("%s: %s is a counter of the training and is left out", source, full)
            continue
        name = full.removeprefix("hyena.").removeprefix("model.")
        name = name.replace(".mixer.layer.", ".mixer.").replace(".mlp.layer.", ".mlp.")
        sine = _SINE.fullmatch(name)
        name = f"{sine[1]}.freq" if sine is not None else name
        if name.endswith(".pos_emb.t"):
            _check_times(tensor, full, source)
            continue
        plain = _without_idle_axes(name, tensor)
        if name in tensors and not plain.equal(tensors[name]):
            raise CheckpointError(f"{source}: {full} differs from its copies under other names")
        tensors[name] = plain
    head = tensors.pop(_HEAD, None)
    if head is not None and _WORDS in tensors and not head.equal(tensors[_WORDS]):
        raise CheckpointError(
            f"{source}: {_HEAD} differs from {_WORDS}, and the network has one for both"
        )
    return tensors


def _without_idle_axes(name: str, tensor: Tensor) -> Tensor:
    """Filters of one channel each, and tables with leading axes of one, as ours are."""
    if name.endswith(".short_filter.weight") and tensor.ndim == 3:
        return tensor.squeeze(1)
    if name.endswith(".pos_emb.z"):
        return tensor.flatten(0, -2)
    return tensor.flatten() if name.endswith((".freq", ".deltas")) else tensor


def _check_times(tensor: Tensor, name: str, source: str) -> None:
    times = tensor.flatten()
    # a few units in the last place of numbers up to 1, as different ways of spacing differ.
    if not torch.allclose(times, torch.linspace(0, 1, len(times), dtype=times.dtype), atol=1e-5):
        raise CheckpointError(f"{source}: {name} is not evenly spaced from 0 to 1, as it should be")


def _names(num_blocks: int, num_linear: int) -> dict[str, tuple[str, ...]]:
    """Our names to the original ones without wrappers."""
    modules, flat = {"final_norm": "backbone.ln_f"}, {}
    for i in range(num_blocks):
        ours, theirs = f"blocks.{i}.", f"backbone.layers.{i}."
        modules |= {ours + new: theirs + old for new, old in _BLOCK.items()}
        flat |= {ours + new: (theirs + old,) for new, old in _FLAT.items()}
        made = f"{theirs}mixer.filter_fn.implicit_filter."
        # linear layers and sines take turns.
        modules |= {f"{ours}mixer.filter.layers.{j}": f"{made}{2 * j}" for j in range(num_linear)}
        flat[f"{ours}mixer.filter.output.weight"] = (f"{made}{2 * num_linear}.weight",)
    words = {"embedding.weight": (_WORDS,), "head.weight": (_WORDS,)}
    return words | with_kinds(modules) | flat


@torch.no_grad()
def _read_start_as_n(network: Hyena, source: str) -> None:
    vocabulary = NUCLEOTIDE_VOCABULARY
    if network.vocab_size >= len(vocabulary):
        unknown = vocabulary.symbols.index("N")
        network.embedding.weight[vocabulary.mask_id] = network.embedding.weight[unknown]
        logger.info("%s: the start of a row is read as N, since no mark for it was trained", source)
