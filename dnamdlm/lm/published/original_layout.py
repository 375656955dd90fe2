"""Networks under the tensor names of the original projects: the reverse of the import.

A network has such a layout if the original code computes the same with the same tensors: Caduceus
and DiMamba, the transformers of MDLM, and BERT. All names are written, those of shared tensors too,
so that the originals load the file strictly.

MDLM keeps its adaptive norm where time conditioning is off and feeds it zeros. A network without
time conditioning is written with shifts and scales of zero and gates of one, which changes nothing.

Source of the names: see `import_caduceus`, `import_mdlm` and `import_bert`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.backbone import takes_label
from dnamdlm.backbones.bert import Bert, BertBlock
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT, TransformerBlock
from dnamdlm.backbones.mamba import MambaBlock
from dnamdlm.lm.published.import_bert import ACTIVATIONS_OF_BERT, bert_names
from dnamdlm.lm.published.import_caduceus import caduceus_names
from dnamdlm.lm.published.import_mdlm import PREFIX, ROTARY_BUFFER, mdlm_names

Family = Literal["caduceus", "mdlm", "bd3lm", "udlm", "bert"]

_TIME_FEATURES, _COND_SIZE = 256, 128
_CADUCEUS_TRUNK, _DIMAMBA_TRUNK = "caduceus.backbone.", "model.bimamba.backbone."
_STRATEGIES = {"add": "add", "multiply": "ew_multiply"}


@dataclass(frozen=True)
class OriginalLayout:
    """A network as the original project stores it.

    Attributes:
        family: which project; the `model_type` of its `config.json`.
        config: further keys of its `config.json`.
        tensors: original names to tensors, which may share memory.
    """

    family: Family
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def original_layout(network: nn.Module, *, length: int | None = None) -> OriginalLayout | None:
    """The layout of a network, or None if the original projects have no such network.

    Args:
        network: a backbone.
        length: positions per window, for the config of MDLM.

    Example: a transformer with a local window is not one of MDLM, one without is.
        >>> tensors = original_layout(DiT(12, 16, 1, 2)).tensors
        >>> tensors["backbone.vocab_embed.embedding"].shape
        torch.Size([12, 16])
        >>> original_layout(DiT(12, 16, 1, 2, attention_window=8)) is None
        True
    """
    if takes_label(network):
        return None
    if isinstance(network, CaduceusPS | Mamba):
        return _caduceus(network, length)
    if isinstance(network, DiT | CausalTransformer):
        return _mdlm(network, length)
    return _bert(network) if isinstance(network, Bert) else None


def _caduceus(network: CaduceusPS | Mamba, length: int | None) -> OriginalLayout | None:
    strand = network.strand if isinstance(network, CaduceusPS) else network
    first = strand.blocks[0]
    assert isinstance(first, MambaBlock)
    if strand.directions not in _STRATEGIES or not first.residual:
        return None
    sees_time = strand.time_conditioning
    if sees_time and isinstance(network, CaduceusPS):
        return None
    names = caduceus_names(len(strand.blocks), time_conditioning=sees_time)
    found: dict[str, Tensor] = {}
    for ours, tensor in strand.state_dict(keep_vars=True).items():
        as_theirs = tensor.unsqueeze(1) if ours.endswith("conv_weight") else tensor
        for name in (names[ours], *_second_names(names[ours])):
            found[_wrapped(name, network, sees_time=sees_time)] = as_theirs
    if isinstance(network, CaduceusPS):
        table = network.complement
        found[f"{_CADUCEUS_TRUNK}embeddings.word_embeddings.complement_map"] = table
        found["lm_head.complement_map"] = table
    if sees_time:
        config = _of_diffusion(strand.vocab_size, length, sees_time=True)
        config |= {"hidden_dim": strand.hidden_size, "n_blocks": len(strand.blocks)}
        return OriginalLayout("mdlm", config | {"backbone": "dimamba"}, found)
    return OriginalLayout("caduceus", _config_of_caduceus(network, strand), found)


def _second_names(name: str) -> list[str]:
    """Further names of a tensor that both directions share."""
    is_shared = name.endswith(("in_proj.weight", "out_proj.weight"))
    return [name.replace("mamba_fwd", "mamba_rev")] if is_shared else []


def _wrapped(name: str, network: CaduceusPS | Mamba, *, sees_time: bool) -> str:
    """The whole original name, with the modules that wrap a network of this kind."""
    if sees_time:
        if name.startswith("sigma_map."):
            return name
        return f"model.{name}" if name.startswith("lm_head.") else f"{_DIMAMBA_TRUNK}{name}"
    is_ps = isinstance(network, CaduceusPS)
    if name.startswith("lm_head."):
        return f"lm_head.{name}" if is_ps else name
    if is_ps:
        name = name.replace(".mixer.", ".mixer.submodule.")
        name = name.replace("word_embeddings.", "word_embeddings.embedding.")
        # the fused code applies its norms without the wrapper that the other code needs.
        if not network.exchange_strands:
            name = name.replace(".norm.", ".norm.submodule.").replace(
                "norm_f.", "norm_f.submodule."
            )
    return f"{_CADUCEUS_TRUNK}{name}"


def _config_of_caduceus(network: CaduceusPS | Mamba, strand: Mamba) -> dict[str, Any]:
    first = strand.blocks[0]
    assert isinstance(first, MambaBlock)
    rates, taps = first.mixer.ahead.log_rates, first.mixer.ahead.conv_weight
    is_ps = isinstance(network, CaduceusPS)
    table = dict(enumerate(network.complement.tolist())) if is_ps else None
    return {
        "d_model": strand.hidden_size,
        "n_layer": len(strand.blocks),
        "vocab_size": strand.vocab_size,
        # the rows are what they are; nothing is rounded up once more.
        "pad_vocab_size_multiple": 1,
        "ssm_cfg": {
            "d_state": rates.shape[1],
            "d_conv": taps.shape[1],
            "expand": rates.shape[0] // strand.hidden_size,
            "dt_rank": "auto",
            "conv_bias": True,
            "bias": False,
        },
        "rms_norm": True,
        "norm_epsilon": 1e-5,
        "residual_in_fp32": first.wide_residual,
        "fused_add_norm": network.exchange_strands if is_ps else True,
        "bidirectional": True,
        "bidirectional_strategy": _STRATEGIES[strand.directions],
        "bidirectional_weight_tie": True,
        "rcps": is_ps,
        "complement_map": table and {str(one): other for one, other in table.items()},
        "tie_word_embeddings": strand.head.weight is strand.embedding.weight,
    }


def _mdlm(network: DiT | CausalTransformer, length: int | None) -> OriginalLayout | None:
    first = network.blocks[0]
    assert isinstance(first, TransformerBlock)
    is_plain = (
        first.conv is None
        and first.attention.qkv.bias is None
        and first.mlp.activation == "gelu_tanh"
        and first.mlp.input.out_features == 4 * first.mlp.input.in_features
    )
    if isinstance(network, DiT):
        is_plain &= network.stem is None and network.local is None and not network.attention_window
    if not is_plain:
        return None
    own = network.state_dict(keep_vars=True)
    is_causal, size = isinstance(network, CausalTransformer), first.mlp.input.in_features
    if not is_causal and not network.time_conditioning:
        own = own | _idle_time(len(network.blocks), network.head.weight)
    names = mdlm_names(len(network.blocks), sees_time=not is_causal)
    found = {PREFIX + theirs: own[ours] for ours, theirs in names.items()}
    halves = torch.arange(0, network.head_size, 2).float() / network.head_size
    found[PREFIX + ROTARY_BUFFER] = 1.0 / (10000**halves)
    config = _of_diffusion(network.vocab_size, length, sees_time=network.time_conditioning)
    config |= {
        "hidden_dim": size,
        "cond_dim": 0 if is_causal else len(found[f"{PREFIX}sigma_map.mlp.2.bias"]),
        "n_blocks": len(network.blocks),
        "n_heads": first.attention.num_heads,
        "dropout": first.dropout.p,
    }
    return OriginalLayout("mdlm", config | {"backbone": "ar" if is_causal else "dit"}, found)


def _of_diffusion(vocab_size: int, length: int | None, *, sees_time: bool) -> dict[str, Any]:
    return {"vocab_size": vocab_size, "model_length": length, "time_conditioning": sees_time}


def _idle_time(num_blocks: int, like: Tensor) -> dict[str, Tensor]:
    """Tensors of an adaptive norm, under our names, that leave a network as it is."""
    size, cond = like.shape[1], _COND_SIZE

    def layer(name: str, rows: int, columns: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": like.new_zeros(rows, columns),
            f"{name}.bias": like.new_zeros(rows),
        }

    found = layer("time_embedding.input", cond, _TIME_FEATURES)
    found |= layer("time_embedding.output", cond, cond) | layer("final_modulation", 2 * size, cond)
    for i in range(num_blocks):
        found |= layer(f"blocks.{i}.modulation", 6 * size, cond)
        # shift, scale and gate of attention, then those of the perceptron.
        for place in (2, 5):
            found[f"blocks.{i}.modulation.bias"][place * size : (place + 1) * size] = 1.0
    return found


def _bert(network: Bert) -> OriginalLayout:
    first = network.blocks[0]
    assert isinstance(first, BertBlock)
    own = network.state_dict(keep_vars=True)
    found: dict[str, Tensor] = {}
    for ours, theirs in bert_names(len(network.blocks)).items():
        found |= dict(zip(theirs, own[ours].chunk(len(theirs)), strict=True))
    config = {
        "vocab_size": network.vocab_size,
        "hidden_size": network.hidden_size,
        "num_hidden_layers": len(network.blocks),
        "num_attention_heads": first.attention.num_heads,
        "intermediate_size": first.mlp.input.out_features,
        "max_position_embeddings": network.max_length,
        "type_vocab_size": len(network.token_types.weight),
        "hidden_act": {ours: theirs for theirs, ours in reversed(ACTIVATIONS_OF_BERT.items())}[
            first.mlp.activation
        ],
        "layer_norm_eps": network.embedding_norm.epsilon,
        "hidden_dropout_prob": network.dropout.p,
        "attention_probs_dropout_prob": 0.0,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
    }
    return OriginalLayout("bert", config, found)
