"""Hugging Face weights of BERT for masked language modelling, read strictly into our names.

Every tensor of the source must be used and every parameter of the network must be filled. The parts
for next-sentence prediction (pooler and its classifier), which a masked language model does not
have, are the only ones left out. Gains and biases of norms may have their older names gamma, beta.

Source of the key names: the class BertForMaskedLM of transformers.
"""

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dnamdlm.backbones.bert import Bert
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.strict_names import check_names, check_only, check_sizes, filled

BERT_MARK = ".attention.self.query.weight"
_TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
_LEFT_OUT = ("bert.pooler.", "cls.seq_relationship.", "bert.embeddings.position_ids")
_TRUNK = {
    "embedding.weight": "bert.embeddings.word_embeddings.weight",
    "positions.weight": "bert.embeddings.position_embeddings.weight",
    "token_types.weight": "bert.embeddings.token_type_embeddings.weight",
    "embedding_norm": "bert.embeddings.LayerNorm",
    "head.transform": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.bias": "cls.predictions.bias",
}
_BLOCK = {
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.input": "intermediate.dense",
    "mlp.output": "output.dense",
    "mlp_norm": "output.LayerNorm",
}
ACTIVATIONS_OF_BERT = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
    "silu": "silu", "swish": "silu",
}  # fmt: skip
# what other values of a config would compute is not what `Bert` computes.
_WANTED = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}

logger = logging.getLogger(__name__)


def import_bert(
    state: Mapping[str, Tensor], config: Mapping[str, Any], *, source: str = "checkpoint"
) -> Bert:
    """Build the network that these tensors belong to, in evaluation mode.

    Args:
        state: original names to tensors.
        config: content of `config.json`; of its sizes only the number of heads is needed, since
            it does not follow from the tensors.
        source: name of the source in messages.

    Raises:
        CheckpointError: if a tensor is missing, left over or of a shape that does not fit, or the
            config describes another computation.
    """
    tensors = {_renamed(name): tensor for name, tensor in state.items()}
    for name in [name for name in tensors if name.startswith(_LEFT_OUT)]:
        logger.info("%s: %s is for next sentences and is left out", source, name)
        del tensors[name]
    for copy, original in _TIED.items():
        tensor = tensors.pop(copy, None)
        if tensor is not None and original in tensors and not tensor.equal(tensors[original]):
            raise CheckpointError(
                f"{source}: {copy} differs from {original}, and the network has one for both"
            )
    num_blocks = len({name.split(".")[3] for name in tensors if ".layer." in name})
    names = bert_names(num_blocks)
    kind = f"a BERT with {num_blocks} blocks for masked language modelling"
    check_names(tensors, names, kind, source)
    network = _network(tensors, config, num_blocks, source)
    # the table of embeddings is the output layer, too.
    names["head.weight"] = names["embedding.weight"]
    return filled(network, tensors, names, source)


def _network(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], num_blocks: int, source: str
) -> Bert:
    """A network of the sizes that the tensors have and the config agrees with."""
    check_only(config, _WANTED, source)
    if "num_attention_heads" not in config:
        raise CheckpointError(
            f"{source}: nothing says how many attention heads it has; give its folder, with a "
            "config.json that has num_attention_heads"
        )
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS_OF_BERT:
        raise CheckpointError(
            f"{source}: hidden_act={activation} is not supported, only "
            f"{', '.join(ACTIVATIONS_OF_BERT)}"
        )
    vocab_size, hidden_size = tensors["bert.embeddings.word_embeddings.weight"].shape
    inner_size = tensors["bert.encoder.layer.0.intermediate.dense.bias"].numel()
    found = {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": num_blocks,
        "intermediate_size": inner_size,
        "max_position_embeddings": len(tensors["bert.embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(tensors["bert.embeddings.token_type_embeddings.weight"]),
    }
    check_sizes(config, found, source)
    ratio = inner_size / hidden_size
    return Bert(
        vocab_size,
        hidden_size,
        num_blocks,
        config["num_attention_heads"],
        mlp_ratio=int(ratio) if ratio.is_integer() else ratio,
        max_length=found["max_position_embeddings"],
        num_token_types=found["type_vocab_size"],
        activation=ACTIVATIONS_OF_BERT[activation],
        norm_epsilon=float(config.get("layer_norm_eps", 1e-12)),
    )


def bert_names(num_blocks: int) -> dict[str, tuple[str, ...]]:
    """Our parameter names to the original ones; several are joined along the first axis."""
    pairs = dict(_TRUNK)
    for i in range(num_blocks):
        prefix = f"bert.encoder.layer.{i}."
        pairs |= {f"blocks.{i}.{ours}": prefix + theirs for ours, theirs in _BLOCK.items()}
    names: dict[str, tuple[str, ...]] = {}
    for ours, theirs in pairs.items():
        if ours.endswith((".weight", ".bias")):
            names[ours] = (theirs,)
        else:
            names |= {f"{ours}.{kind}": (f"{theirs}.{kind}",) for kind in ("weight", "bias")}
    for i in range(num_blocks):
        prefix = f"bert.encoder.layer.{i}.attention.self."
        for kind in ("weight", "bias"):
            names[f"blocks.{i}.attention.qkv.{kind}"] = tuple(
                f"{prefix}{part}.{kind}" for part in ("query", "key", "value")
            )
    return names


def _renamed(name: str) -> str:
    """The newer name of gains and biases."""
    if name.endswith(".gamma"):
        return name.removesuffix("gamma") + "weight"
    return name.removesuffix("beta") + "bias" if name.endswith(".beta") else name
