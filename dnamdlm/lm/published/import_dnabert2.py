"""Hugging Face weights of DNABERT-2 as an encoder, read strictly into our names.

The parts for masked language modelling and for whole sequences (`cls`, pooler) are left out: they
predict pieces, whose cuts depend on the bases that would be masked.

Source of the key names: `bert_layers.py` of zhihan1996/DNABERT-2-117M on the Hugging Face hub, a
copy of MosaicBERT.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnamdlm.backbones.dnabert2 import Dnabert2
from dnamdlm.data.json_files import read_json_file
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.import_mdlm import HUB_CONFIG
from dnamdlm.lm.published.strict_names import (
    check_names,
    check_only,
    check_sizes,
    filled,
    num_blocks_of,
    with_kinds,
)
from dnamdlm.tokens.base_pieces import BasePieces
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

DNABERT2_MARK = ".attention.self.Wqkv."
PIECES_FILE = "tokenizer.json"

_LAYER, _TOKENIZER = "bert.encoder.layer.", "(tokenizer.json)"
_LEFT_OUT = ("bert.pooler.", "cls.", "bert.encoder.alibi", "bert.embeddings.position_ids")
_WORDS = "bert.embeddings.word_embeddings.weight"
_TYPES = "bert.embeddings.token_type_embeddings.weight"
_BLOCK = {
    "qkv": "attention.self.Wqkv",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp_output": "mlp.wo",
    "mlp_norm": "mlp.layernorm",
}

logger = logging.getLogger(__name__)


def is_dnabert2(folder: Path) -> bool:
    """Whether a folder says that its model has slopes in place of positions, as DNABERT-2."""
    try:
        config = read_json_file(folder / HUB_CONFIG)
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "alibi_starting_size" in config


def import_dnabert2(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    tokenizer: bytes | None,
    *,
    source: str = "checkpoint",
) -> Dnabert2:
    """Build the encoder that these tensors belong to, in evaluation mode.

    Args:
        state: original names to tensors.
        config: content of `config.json`; the number of heads does not follow from the tensors.
        tokenizer: content of `tokenizer.json`; None where there is none.
        source: name of the source in messages.

    Raises:
        CheckpointError: if a tensor is missing, left over or of a shape that does not fit, the
            tokenizer is missing or of something else, or the config describes another computation.
        ConfigError: if the package `tokenizers` is missing.
        DataError: if the tokenizer cannot be read.
    """
    check_only(config, {"hidden_act": "gelu", "is_decoder": False}, source)
    if tokenizer is None or "num_attention_heads" not in config:
        raise CheckpointError(
            f"{source}: is a DNABERT-2, and needs its {PIECES_FILE} and a config.json with "
            "num_attention_heads; give its whole folder"
        )
    size_of_vocabulary = BasePieces(tokenizer).size
    tensors = {name: tensor for name, tensor in state.items() if not name.startswith(_LEFT_OUT)}
    if len(tensors) < len(state):
        logger.info("%s: parts that predict pieces are left out", source)
    num_blocks = num_blocks_of(tensors, _LAYER)
    names = _names(num_blocks)
    tensors[_TOKENIZER] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    check_names(tensors, names, f"a DNABERT-2 with {num_blocks} blocks", source)
    rows, size = tensors[_WORDS].shape
    inner_size = tensors[f"{_LAYER}0.mlp.wo.weight"].shape[1]
    found = {
        "vocab_size": rows,
        "hidden_size": size,
        "num_hidden_layers": num_blocks,
        "intermediate_size": inner_size,
        "type_vocab_size": len(tensors[_TYPES]),
    }
    check_sizes(config, found, source)
    if size_of_vocabulary > rows:
        raise CheckpointError(
            f"{source}: {PIECES_FILE} has {size_of_vocabulary} ids, and the weights have {rows} "
            "rows; the files do not belong together"
        )
    network = Dnabert2(
        len(NUCLEOTIDE_VOCABULARY),
        size,
        num_blocks,
        config["num_attention_heads"],
        num_pieces=rows,
        tokenizer_bytes=len(tokenizer),
        inner_size=inner_size,
        num_token_types=found["type_vocab_size"],
        norm_epsilon=float(config.get("layer_norm_eps", 1e-12)),
    )
    return filled(network, tensors, names, source)


def _names(num_blocks: int) -> dict[str, tuple[str, ...]]:
    """Our names to the original ones; the weights come first, whose type the network takes."""
    pairs = {"embedding_norm": "bert.embeddings.LayerNorm"}
    names: dict[str, tuple[str, ...]] = {
        "embedding.weight": (_WORDS,),
        "token_types.weight": (_TYPES,),
    }
    for i in range(num_blocks):
        pairs |= {f"blocks.{i}.{ours}": f"{_LAYER}{i}.{theirs}" for ours, theirs in _BLOCK.items()}
        names[f"blocks.{i}.gates.weight"] = (f"{_LAYER}{i}.mlp.gated_layers.weight",)
    return names | with_kinds(pairs) | {"tokenizer": (_TOKENIZER,)}
