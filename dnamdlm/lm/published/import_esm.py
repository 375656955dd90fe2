"""Hugging Face weights of the Nucleotide Transformer, version 2, read strictly into our names.

Rows of the embedding and of the output layer are put in the order of their words. What the network
never reads or predicts is left out: marks other than <cls> and <mask>, the head for contacts of
proteins, and tables that follow from the config. Version 1, which has learned positions and no
gates, is refused.

Source of the key names: `modeling_esm.py` of nucleotide-transformer-v2 on the Hugging Face hub, a
copy of the ESM of transformers with gated perceptrons.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dnamdlm.backbones.nucleotide_transformer import NucleotideTransformer
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.strict_names import (
    check_names,
    check_only,
    check_sizes,
    filled,
    num_blocks_of,
    with_kinds,
)
from dnamdlm.lm.published.word_rows import BEGIN, MASK, ordered_words, word_size
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

ESM_MARK = "esm.encoder.layer."

_WORDS, _DECODER = "esm.embeddings.word_embeddings.weight", "lm_head.decoder.weight"
_DECODER_BIAS, _BIAS = "lm_head.decoder.bias", "lm_head.bias"
_LEFT_OUT = ("esm.contact_head.", "esm.embeddings.position_ids", "esm.pooler.")
_FREQUENCIES = ".rotary_embeddings.inv_freq"
_TRUNK = {
    "final_norm": "esm.encoder.emb_layer_norm_after",
    "word_head.transform": "lm_head.dense",
    "word_head.norm": "lm_head.layer_norm",
}
_BLOCK = {
    "attention_norm": "attention.LayerNorm",
    "attention.output": "attention.output.dense",
    "mlp_norm": "LayerNorm",
}
_MLP = {"mlp.input": "intermediate.dense", "mlp.output": "output.dense"}
# what other values of a config would compute is not what the network computes.
_WANTED = {"position_embedding_type": "rotary", "token_dropout": False, "is_decoder": False,
           "emb_layer_norm_before": False, "add_cross_attention": False,
           "is_folding_model": False}  # fmt: skip

logger = logging.getLogger(__name__)


def import_esm(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    ids: Mapping[str, int] | None,
    *,
    source: str = "checkpoint",
) -> NucleotideTransformer:
    """Build the network that these tensors belong to, in evaluation mode.

    Args:
        state: original names to tensors.
        config: content of `config.json`; the number of heads does not follow from the tensors.
        ids: symbols to rows, see `word_ids`; None where the source has no such vocabulary.
        source: name of the source in messages.

    Raises:
        CheckpointError: if a tensor is missing, left over or of a shape that does not fit, the
            words are not known, or the config describes another computation.
    """
    check_only(config, _WANTED, source)
    size = None if ids is None else word_size(ids)
    if ids is None or size is None or "num_attention_heads" not in config:
        raise CheckpointError(
            f"{source}: is a transformer of words, and needs its vocab.txt with all words of one "
            "length and a config.json with num_attention_heads; give its whole folder"
        )
    tensors = _plain(state, source)
    num_blocks = num_blocks_of(tensors, ESM_MARK)
    bias = f"{ESM_MARK}0.intermediate.dense.bias" in tensors
    names = _names(num_blocks, bias=bias)
    check_names(tensors, names, f"a Nucleotide Transformer v2 with {num_blocks} blocks", source)
    rows, hidden_size = tensors[_WORDS].shape
    inner_size = tensors[f"{ESM_MARK}0.output.dense.weight"].shape[1]
    found = {
        "vocab_size": rows,
        "hidden_size": hidden_size,
        "num_hidden_layers": num_blocks,
        "intermediate_size": inner_size,
    }
    check_sizes(config, found, source)
    network = NucleotideTransformer(
        len(NUCLEOTIDE_VOCABULARY),
        hidden_size,
        num_blocks,
        config["num_attention_heads"],
        word_size=size,
        inner_size=inner_size,
        mlp_bias=bias,
        norm_epsilon=float(config.get("layer_norm_eps", 1e-12)),
    )
    return filled(network, _ordered(tensors, ids, size, source), names, source)


def _plain(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors that the network has, the output weights under their own name."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(_FREQUENCIES):
            half = len(tensor)
            usual = 10000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
            # float32 rounds powers to some seven digits, half precision to three.
            if not torch.allclose(tensor.double(), usual, rtol=1e-2, atol=0.0):
                raise CheckpointError(f"{source}: {name} is not of rotary positions of base 10000")
        elif name.startswith(_LEFT_OUT):
            logger.info("%s: %s is not for bases and is left out", source, name)
        else:
            tensors[name] = tensor
    copy = tensors.pop(_DECODER_BIAS, None)
    if copy is not None and _BIAS in tensors and not copy.equal(tensors[_BIAS]):
        raise CheckpointError(
            f"{source}: {_DECODER_BIAS} differs from {_BIAS}, and the network has one for both"
        )
    if _DECODER not in tensors and _WORDS in tensors:
        tensors[_DECODER] = tensors[_WORDS]
    return tensors


def _names(num_blocks: int, *, bias: bool) -> dict[str, tuple[str, ...]]:
    """Our parameter names to the original ones; several are joined along the first axis."""
    modules, gates = dict(_TRUNK), {}
    names: dict[str, tuple[str, ...]] = {
        "embedding.weight": (_WORDS,),
        "word_head.weight": (_DECODER,),
        "word_head.bias": (_BIAS,),
    }
    for i in range(num_blocks):
        ours, theirs = f"blocks.{i}.", f"{ESM_MARK}{i}."
        modules |= {ours + new: theirs + old for new, old in _BLOCK.items()}
        gates |= {ours + new: theirs + old for new, old in _MLP.items()}
        for kind in ("weight", "bias"):
            names[f"{ours}attention.qkv.{kind}"] = tuple(
                f"{theirs}attention.self.{part}.{kind}" for part in ("query", "key", "value")
            )
    return names | with_kinds(modules) | with_kinds(gates, bias=bias)


def _ordered(
    tensors: Mapping[str, Tensor], ids: Mapping[str, int], size: int, source: str
) -> dict[str, Tensor]:
    """The tensors with their rows in the order of `WordIds`."""
    words = ordered_words(size)
    rows = [ids[word] for word in (*words, MASK, BEGIN)]
    if max(rows) >= min(len(tensors[name]) for name in (_WORDS, _DECODER, _BIAS)):
        raise CheckpointError(
            f"{source}: the vocabulary has the id {max(rows)}, and the weights have "
            f"{len(tensors[_WORDS])} rows; the files do not belong together"
        )
    # N is read and never predicted.
    read, predicted = torch.tensor(rows), torch.tensor(rows[: len(words) - 1])
    moved = {_WORDS: tensors[_WORDS][read]}
    moved |= {name: tensors[name][predicted] for name in (_DECODER, _BIAS)}
    return dict(tensors) | moved
