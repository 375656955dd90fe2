"""Networks under the names of the original projects: the import in reverse."""

import json

import pytest
import torch
from safetensors.torch import load_file

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.bert import Bert
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.lm.published.import_bert import import_bert
from dnamdlm.lm.published.import_caduceus import import_caduceus
from dnamdlm.lm.published.import_mdlm import import_autoregressive, import_dit
from dnamdlm.lm.published.original_layout import original_layout
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.rounding import additions, rounding

COMPLEMENT = NUCLEOTIDE_VOCABULARY.complement
GOLDEN = {
    "dit": import_dit,
    "ar": import_autoregressive,
    "caduceus_ph": import_caduceus,
    "caduceus_ps": import_caduceus,
    "caduceus_ps_fused": import_caduceus,
    "dimamba": import_caduceus,
    "dimamba_tied": import_caduceus,
}


@pytest.mark.parity
@pytest.mark.parametrize("name", GOLDEN)
def test_an_original_file_comes_back_with_the_same_names_and_bytes(shared, name):
    state = load_file(shared / "parity" / f"{name}.weights.safetensors")
    found = original_layout(GOLDEN[name](state)).tensors
    found = {key.removeprefix("backbone."): tensor for key, tensor in found.items()}
    assert found.keys() == state.keys()
    for key, tensor in state.items():
        assert found[key].dtype == tensor.dtype, key
        assert torch.equal(found[key], tensor), key


@pytest.mark.parity
def test_the_names_of_mdlm_are_those_of_its_checkpoints(shared):
    layout = json.loads((shared / "parity" / "checkpoint_layout.json").read_text())
    state = load_file(shared / "parity" / "dit.weights.safetensors")
    found = original_layout(import_dit(state)).tensors
    assert sorted(found) == sorted(layout["mdlm_checkpoint"]["state_dict_keys"])


@pytest.mark.parity
@pytest.mark.parametrize("name", ["caduceus_ph", "caduceus_ps", "caduceus_ps_fused"])
def test_the_config_of_caduceus_says_what_the_original_says(shared, name):
    layout = json.loads((shared / "parity" / "checkpoint_layout.json").read_text())
    original = layout[f"{name}.weights"]["hf_config_json"]
    state = load_file(shared / "parity" / f"{name}.weights.safetensors")
    found = original_layout(import_caduceus(state)).config
    # precision of the residual stream is a choice of training, and the rows are rounded up already.
    left_out = {"residual_in_fp32", "pad_vocab_size_multiple", "ssm_cfg"}
    for key in found.keys() & original.keys() - left_out:
        assert found[key] == original[key], key
    sizes = {key: original["ssm_cfg"][key] for key in found["ssm_cfg"]}
    assert found["ssm_cfg"] == sizes


def filled(network):
    """The network with random weights everywhere."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network.eval()


NETWORKS = {
    "dit": (lambda: DiT(12, 16, 2, 2, time_conditioning=True, cond_size=8), import_dit),
    "ar": (lambda: CausalTransformer(12, 16, 2, 2), import_autoregressive),
    "ph": (lambda: Mamba(12, 16, 2, tie_embeddings=True), import_caduceus),
    "ps": (lambda: CaduceusPS(12, COMPLEMENT, 16, 2), import_caduceus),
    "ps_fused": (
        lambda: CaduceusPS(12, COMPLEMENT, 16, 2, exchange_strands=True), import_caduceus,
    ),
    "dimamba": (lambda: Mamba(12, 16, 2, time_conditioning=True, cond_size=8), import_caduceus),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_ours_comes_back_from_its_original_layout(name):
    make, read = NETWORKS[name]
    network = filled(make())
    again = read(original_layout(network).tensors)
    assert again.state_dict().keys() == network.state_dict().keys()
    for key, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key


def test_bert_comes_back_from_its_original_layout():
    network = filled(Bert(12, 16, 2, 2, max_length=32))
    layout = original_layout(network)
    again = import_bert(layout.tensors, layout.config)
    for key, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key


def test_a_network_without_time_gets_idle_norms_that_change_nothing():
    network = filled(DiT(12, 16, 2, 2))
    as_original = import_dit(original_layout(network).tensors)
    assert as_original.time_conditioning
    tokens = torch.arange(12)[None]
    expected = network(tokens)
    found = as_original(tokens, torch.zeros(1))
    # x + gate * branch with a gate of one is one fused operation more.
    allowed = rounding(additions(network), expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed)


@pytest.mark.parametrize(
    "network",
    [
        DiT(12, 16, 1, 2, conv_width=3),
        DiT(12, 16, 1, 2, stem_width=3),
        DiT(12, 16, 1, 2, local_radius=2),
        DiT(12, 16, 1, 2, attention_window=4),
        DiT(12, 16, 1, 2, mlp_ratio=2),
        DiT(12, 16, 1, 2, qkv_bias=True),
        DiT(12, 16, 1, 2, activation="relu"),
        DiT(12, 16, 1, 2, num_classes=3),
        Mamba(12, 16, 1, directions="forward"),
        Mamba(12, 16, 1, residual=False),
        torch.nn.Linear(2, 2),
    ],
    ids=lambda network: type(network).__name__,
)
def test_a_network_that_the_originals_do_not_have_has_no_layout(network):
    assert original_layout(network) is None
