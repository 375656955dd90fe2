"""Hugging Face weights of GPN for single sequences, read strictly into our names.

Three generations were published: `ConvNet` (gpn-brassicales), whose blocks are `plain`, and `GPN`
with the encoders `convnet` and `bytenet` (gpn-animal-promoter). Most read bases one-hot, which is
an embedding whose rows are those of the identity; here it is one, and trained with the rest in
fine-tuning. Models of alignments (GPN-MSA, GPN-Star) and the encoder `roformer` are refused.

Source of the key names: songlab-cal/gpn, commit 99293f8, `model.py`, `modules.py`, `legacy.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dnamdlm.backbones.convnet import BlockKind, ConvNet
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.strict_names import (
    check_names,
    check_sizes,
    filled,
    num_blocks_of,
    with_kinds,
)

GPN_TYPES = ("GPN", "ConvNet", "GPNRoFormer")
"""`model_type` of the models of the project."""
GPN_IDS = {"[PAD]": 0, "[MASK]": 1, "[UNK]": 2, "A": 3, "C": 4, "G": 5, "T": 6}
"""Ids of the tokenizer that all models of single sequences share; few of them come with it."""
GPN_LENGTH = 512
"""Bases per window in training, which no config says."""

_ONE_HOT, _WORDS = "(one-hot)", "model.embeddings.word_embeddings.weight"
_DECODER = {"plain": "cls.decoder.3", "convnet": "cls.decoder", "bytenet": "cls.decoder"}
_TRANSFORM = {
    "plain": "cls.decoder.{}",
    "convnet": "cls.transform.{}",
    "bytenet": "cls.transform.{}",
}
_BLOCK: Mapping[str, Mapping[str, str]] = {
    "convnet": {
        "conv_norm": "conv.0", "conv": "conv.2", "conv_output": "conv.5",
        "mlp_norm": "ffn.0", "mlp_input": "ffn.1", "mlp_output": "ffn.3",
    },
    "bytenet": {
        "input_norm": "layer.0", "input": "layer.2", "conv_norm": "layer.3",
        "conv": "layer.6", "output_norm": "layer.8", "output": "layer.10",
    },
    "plain": {"conv": "conv.1", "conv_norm": "conv.4", "mlp": "ffn.0", "mlp_norm": "ffn.2"},
}  # fmt: skip
# defaults of the two classes of configs, for keys that a file leaves out.
_DILATIONS = {
    "plain": {"max": 32, "cycle": 6, "base": 2, "double_every": 1},
    "convnet": {"max": 9999, "cycle": 8, "base": 2, "double_every": 1},
}


def import_gpn(
    state: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str = "checkpoint"
) -> ConvNet:
    """Build the network that these tensors belong to, in evaluation mode, with the ids of GPN.

    Args:
        state: original names to tensors.
        config: content of `config.json`, without which the dilations are not known.
        source: name of the source in messages.

    Raises:
        CheckpointError: if a tensor is missing, left over or of a shape that does not fit, or the
            config describes another network.
    """
    tensors = dict(state)
    kind = _kind_of(tensors, config, source)
    prefix = "model.encoder." if kind == "plain" else "model.encoder.layer."
    num_blocks = num_blocks_of(tensors, prefix)
    decoder = tensors.get(f"{_DECODER[kind]}.weight")
    if decoder is None:
        raise CheckpointError(
            f"{source}: has no {_DECODER[kind]}.weight; give the folder of a GPN for masked "
            "language modelling"
        )
    vocab_size, size = decoder.shape
    is_tied = bool(config.get("tie_word_embeddings", False)) and _WORDS in tensors
    if _WORDS not in tensors:
        tensors[_ONE_HOT] = torch.eye(vocab_size, size, dtype=decoder.dtype)
    bias = f"{_DECODER[kind]}.bias" in tensors
    transform = f"{_TRANSFORM[kind].format(0)}.weight" in tensors
    embedding = _ONE_HOT if _ONE_HOT in tensors else _WORDS
    names = _names(kind, num_blocks, embedding, bias=bias, transform=transform)
    check_names(tensors, names, f"a GPN ({kind}) with {num_blocks} blocks", source)
    if is_tied and not decoder.equal(tensors[_WORDS]):
        raise CheckpointError(f"{source}: {_WORDS} and the decoder differ, but should be tied")
    inner = {"convnet": "mlp_input", "bytenet": "input", "plain": "mlp"}[kind]
    inner_size = len(tensors[names[f"blocks.0.{inner}.weight"][0]])
    check_sizes(config, {"vocab_size": vocab_size, "hidden_size": size}, source)
    check_sizes(
        config, {"n_layers" if kind == "plain" else "num_hidden_layers": num_blocks}, source
    )
    convs = [tensors[names[f"blocks.{i}.conv.weight"][0]] for i in range(num_blocks)]
    last = convs[-1]
    network = ConvNet(
        vocab_size,
        size,
        num_blocks,
        block=kind,
        inner_size=None if kind == "plain" else inner_size,
        first_width=convs[0].shape[-1],
        width=last.shape[-1],
        dilations=_dilations(config, kind, num_blocks),
        depthwise=num_blocks > 1 and last.shape[1] == 1 < len(last),
        bias=bias,
        transform=transform,
        tie_embeddings=is_tied,
    )
    return filled(network, tensors, names, source)


def _kind_of(tensors: Mapping[str, Tensor], config: Mapping[str, Any], source: str) -> BlockKind:
    encoder = config.get("encoder", "convnet")
    if config.get("model_type") == "GPNRoFormer" or encoder == "roformer":
        raise CheckpointError(
            f"{source}: is a GPN with the encoder roformer, as GPN-MSA, which reads an "
            "alignment of genomes; give a GPN of single sequences (convnet or bytenet)"
        )
    if config.get("n_aux_features", 0):
        raise CheckpointError(
            f"{source}: reads {config['n_aux_features']} further features of each base, such as "
            "other genomes of an alignment, which dnamdlm does not have; give a GPN of single "
            "sequences"
        )
    if any(name.startswith("model.encoder.0.") for name in tensors):
        return "plain"
    is_bytenet = any(name.startswith("model.encoder.layer.0.layer.") for name in tensors)
    return "bytenet" if is_bytenet else "convnet"


def _names(
    kind: BlockKind, num_blocks: int, embedding: str, *, bias: bool, transform: bool
) -> dict[str, tuple[str, ...]]:
    """Our parameter names to the original ones."""
    prefix = "model.encoder." if kind == "plain" else "model.encoder.layer."
    pairs = {
        f"blocks.{i}.{ours}": f"{prefix}{i}.{theirs}"
        for i in range(num_blocks)
        for ours, theirs in _BLOCK[kind].items()
    }
    if kind != "plain":
        pairs["final_norm"] = "model.ln_f"
    pairs["head"] = _DECODER[kind]
    if transform:
        pairs["head.transform"] = _TRANSFORM[kind].format(0)
        pairs["head.norm"] = _TRANSFORM[kind].format(2)
    return {"embedding.weight": (embedding,)} | with_kinds(pairs, bias=bias)


def _dilations(config: Mapping[str, Any], kind: BlockKind, num_blocks: int) -> tuple[int, ...]:
    """The dilations of the blocks, as short as repeating them allows."""
    usual = _DILATIONS["plain" if kind == "plain" else "convnet"]
    value = {key: int(config.get(f"dilation_{key}", default)) for key, default in usual.items()}
    steps = [
        min(value["max"], value["base"] ** (i % value["cycle"] // value["double_every"]))
        for i in range(num_blocks)
    ]
    period = next(
        n
        for n in range(1, num_blocks + 1)
        if all(step == steps[i % n] for i, step in enumerate(steps))
    )
    return tuple(steps[:period])
