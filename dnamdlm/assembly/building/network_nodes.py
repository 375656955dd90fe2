"""Networks as the config nodes `backbone` that build others of the same form."""

from __future__ import annotations

from typing import Any

from torch import nn

from dnamdlm.assembly.building.class_targets import TARGET
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.bert import Bert, BertBlock
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.convnet import ConvNet
from dnamdlm.backbones.dit import DiT, TransformerBlock
from dnamdlm.backbones.dnabert2 import Dnabert2
from dnamdlm.backbones.hyena import Hyena
from dnamdlm.backbones.kept_arguments import MADE_WITH
from dnamdlm.backbones.mamba import MambaBlock
from dnamdlm.backbones.nucleotide_transformer import NucleotideTransformer

_NOT_OF_THE_FORM = ("vocab_size", "dropout", "gradient_checkpointing")


def describe_network(network: nn.Module) -> dict[str, Any]:
    """The config node `backbone` of a network; empty for a kind that nobody published."""
    if isinstance(network, CaduceusPS):
        return _of_mamba(network.strand) | {
            TARGET: _target(network),
            "exchange_strands": network.exchange_strands,
        }
    if isinstance(network, Mamba):
        first = network.blocks[0]
        assert isinstance(first, MambaBlock)
        return _of_mamba(network) | {"residual": first.residual}
    if isinstance(network, DiT | CausalTransformer):
        return _of_transformer(network)
    if isinstance(network, Bert):
        return _of_bert(network)
    if isinstance(network, ConvNet | Dnabert2 | Hyena | NucleotideTransformer):
        return _of_arguments(network)
    return {}


def _of_arguments(network: nn.Module) -> dict[str, Any]:
    """What a network was made with, as far as its form follows from it."""
    made_with = getattr(network, MADE_WITH)
    kept = {name: value for name, value in made_with.items() if name not in _NOT_OF_THE_FORM}
    listed = {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}
    return {TARGET: _target(network), **listed}


def _of_mamba(network: Mamba) -> dict[str, Any]:
    """Settings of a stack of Mamba blocks."""
    first = network.blocks[0]
    assert isinstance(first, MambaBlock)
    rates, taps = first.mixer.ahead.log_rates, first.mixer.ahead.conv_weight
    node = {
        TARGET: _target(network),
        "hidden_size": network.hidden_size,
        "num_blocks": len(network.blocks),
        "directions": network.directions,
        "state_size": rates.shape[1],
        "conv_width": taps.shape[1],
        "expand": rates.shape[0] // network.hidden_size,
        "tie_embeddings": network.head.weight is network.embedding.weight,
        "vocab_multiple": _multiple(network.vocab_size),
        "time_conditioning": network.time_conditioning,
    }
    if network.time_embedding is not None:
        node["cond_size"] = network.time_embedding.output.out_features
    return node


def _of_transformer(network: DiT | CausalTransformer) -> dict[str, Any]:
    """Settings of a stack of transformer blocks."""
    first = network.blocks[0]
    assert isinstance(first, TransformerBlock)
    ratio = first.mlp.input.out_features / first.mlp.input.in_features
    node = {
        TARGET: _target(network),
        "hidden_size": first.mlp.input.in_features,
        "num_blocks": len(network.blocks),
        "num_heads": first.attention.num_heads,
        "mlp_ratio": int(ratio) if ratio.is_integer() else ratio,
        "qkv_bias": first.attention.qkv.bias is not None,
        "activation": first.mlp.activation,
        "tie_embeddings": network.head.weight is network.embedding.weight,
    }
    if isinstance(network, DiT):
        node["attention_window"] = network.attention_window
        node["time_conditioning"] = network.time_conditioning
        if network.time_embedding is not None:
            node["cond_size"] = network.time_embedding.output.out_features
    return node


def _of_bert(network: Bert) -> dict[str, Any]:
    """Settings of a transformer of BERT."""
    first = network.blocks[0]
    assert isinstance(first, BertBlock)
    ratio = first.mlp.input.out_features / network.hidden_size
    return {
        TARGET: _target(network),
        "hidden_size": network.hidden_size,
        "num_blocks": len(network.blocks),
        "num_heads": first.attention.num_heads,
        "mlp_ratio": int(ratio) if ratio.is_integer() else ratio,
        "max_length": network.max_length,
        "num_token_types": len(network.token_types.weight),
        "activation": first.mlp.activation,
        "norm_epsilon": network.embedding_norm.epsilon,
    }


def _target(network: nn.Module) -> str:
    """The class as a config names it."""
    return f"{type(network).__module__}.{type(network).__qualname__}"


def _multiple(size: int) -> int:
    """What a vocabulary was rounded up to a multiple of, eight being usual."""
    return 1 if size == 12 else 8 if size % 8 == 0 else size
