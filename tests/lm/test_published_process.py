"""Weights of BD3-LM, UDLM and DUO: which model they become, their logits, refusals, and back."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from dnamdlm.assembly.models import load_model
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.block_pass import block_reader_of
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import batch_of_ids
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.published.exported_folder import layout_of
from dnamdlm.lm.published.import_mdlm import import_dit, read_mdlm_checkpoint
from dnamdlm.lm.published.published_process import PublishedProcess, process_of, without_buffers
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.lm.test_import_mdlm import _random_state, _without_time

HEADS, SIZE, BLOCKS, LENGTH = 2, 8, 2, 8
RATES = {"sampling_eps_min": torch.tensor(1e-3), "sampling_eps_max": torch.tensor(0.999)}
BD3LM = {"model_type": "bd3lm", "block_size": 4, "model_length": LENGTH, "cross_attn": True,
         "adaln": True, "causal": False, "time_conditioning": False, "n_heads": HEADS,
         "hidden_dim": SIZE, "n_blocks": BLOCKS, "vocab_size": 12, "var_min": True}  # fmt: skip
UDLM = {"model_type": "udlm", "model_length": LENGTH, "time_conditioning": True, "cfg": False,
        "cfg_num_classes": -1, "n_heads": HEADS, "vocab_size": 12}  # fmt: skip
DUO = {"model_type": "DUO", "model_length": LENGTH, "causal": False, "var_min": True}


def weights():
    """Random tensors of a network of DNA, a fifth as large, so that the softmax is not flat."""
    state = _random_state(prefix="backbone.", heads=HEADS, size=SIZE, blocks=BLOCKS, vocab=12)
    return {name: tensor if "inv_freq" in name else 0.5 * tensor for name, tensor in state.items()}


@pytest.fixture
def folder(tmp_path):
    """Writes a folder as these projects do."""

    def write(config, state, name="published"):
        path = tmp_path / name
        path.mkdir()
        save_file(state, path / "model.safetensors")
        (path / "config.json").write_text(json.dumps(config))
        return path

    return write


def described(state, tokens, positions, allowed, sigma):
    """Logits of the transformer as the papers describe it, in float64, without our code.

    Args:
        state: original names to tensors.
        tokens: (T,) ids.
        positions: (T,) rotary positions.
        allowed: (T, T), which query may look at which key.
        sigma: the conditioning value, -log alpha.
    """
    w = {name.removeprefix("backbone."): tensor.double() for name, tensor in state.items()}

    def affine(name, x):
        bias = w.get(f"{name}.bias")
        return x @ w[f"{name}.weight"].T + (0 if bias is None else bias)

    def norm(name, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[name]

    half = torch.arange(128, dtype=torch.float64)
    angles = sigma * torch.exp(-math.log(10000) * half / 128)
    features = torch.cat([angles.cos(), angles.sin()])
    inner = functional.silu(affine("sigma_map.mlp.0", features))
    cond = functional.silu(affine("sigma_map.mlp.2", inner))

    turn = positions.double()[:, None] * 10000 ** (
        -torch.arange(0, SIZE // HEADS, 2).double() / (SIZE // HEADS)
    )

    def rotated(x):
        first, second = x.chunk(2, dim=-1)
        cos, sin = turn.cos()[:, None], turn.sin()[:, None]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    x = w["vocab_embed.embedding"][tokens]
    for i in range(BLOCKS):
        name = f"blocks.{i}"
        shift, scale, gate, shift2, scale2, gate2 = affine(f"{name}.adaLN_modulation", cond).chunk(
            6
        )
        y = norm(f"{name}.norm1.weight", x) * (1 + scale) + shift
        q, k, v = affine(f"{name}.attn_qkv", y).reshape(len(tokens), 3, HEADS, -1).unbind(1)
        scores = torch.einsum("qhd,khd->hqk", rotated(q), rotated(k)) / math.sqrt(SIZE // HEADS)
        shares = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
        mixed = torch.einsum("hqk,khd->qhd", shares, v).flatten(1)
        x = x + gate * affine(f"{name}.attn_out", mixed)
        y = norm(f"{name}.norm2.weight", x) * (1 + scale2) + shift2
        inner = functional.gelu(affine(f"{name}.mlp.0", y), approximate="tanh")
        x = x + gate2 * affine(f"{name}.mlp.2", inner)
    shift, scale = affine("output_layer.adaLN_modulation", cond).chunk(2)
    x = norm("output_layer.norm_final.weight", x) * (1 + scale) + shift
    return affine("output_layer.linear", x)


def block_logits(state, noisy, clean, size):
    """One pass over noisy and clean halves under the mask of BD3-LM, written as its three cases."""
    length = len(noisy)
    place = torch.arange(2 * length) % length
    is_clean = torch.arange(2 * length) >= length
    block = place // size
    allowed = torch.zeros(2 * length, 2 * length, dtype=torch.bool)
    for q in range(2 * length):
        for k in range(2 * length):
            if is_clean[q]:
                allowed[q, k] = is_clean[k] and block[k] <= block[q]
            else:
                allowed[q, k] = block[k] < block[q] if is_clean[k] else block[k] == block[q]
    logits = described(state, torch.cat([noisy, clean]), place, allowed, sigma=0.0)
    return logits[:length]


def read_blocks(backbone, *, times=None, clean_time=None):
    """Logits of the package for the blocks of four of the one row."""
    reader = block_reader_of(backbone)
    states = reader.block_states(CLEAN[None], NOISY[None], times=times, clean_time=clean_time,
                                 present=None, block_length=4)  # fmt: skip
    return reader.head(states)[0]


CLEAN = torch.tensor([7, 8, 9, 10, 10, 8, 7, 9])
NOISY = torch.tensor([3, 8, 3, 3, 10, 3, 3, 9])


def test_block_weights_become_a_block_model_with_the_logits_of_the_description(folder):
    state = weights()
    loaded = load_model(str(folder(BD3LM, {**state, **RATES})))
    lm = loaded.lm.double()
    assert isinstance(lm, BlockDiffusionLM)
    assert (lm.block_length, loaded.length) == (4, LENGTH)
    expected = block_logits(state, NOISY, CLEAN, 4)
    # time is folded into the weights in float32, which rounds each of them once, 6e-8 of logits
    # up to 30, in two blocks.
    torch.testing.assert_close(read_blocks(lm.backbone), expected, rtol=0, atol=1e-4)
    whole = import_dit(without_buffers({**state, **RATES}, "")).double()
    zeros = torch.zeros(1, 2, dtype=torch.float64)
    found = read_blocks(whole, times=zeros, clean_time=zeros[:, 0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    # another length of blocks is another mask, and not near.
    assert (block_logits(state, NOISY, CLEAN, 2) - expected).abs().max() > 0.01


def test_block_weights_give_the_likelihood_of_their_logits(folder):
    state = weights()
    config = {**BD3LM, "block_size": 1}
    lm = load_model(str(folder(config, state))).lm.double()
    batch = batch_of_ids([CLEAN.numpy()], NUCLEOTIDE_VOCABULARY)
    found = lm.log_likelihood(batch, estimator="count")
    masks = torch.full_like(CLEAN, 3)
    log_probs = block_logits(state, masks, CLEAN, 1)[:, 7:11].log_softmax(-1)
    expected = -log_probs.gather(-1, (CLEAN - 7)[:, None]).squeeze(-1)
    assert found.kind == "exact"
    torch.testing.assert_close(found.nats[0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("config", [UDLM, DUO], ids=["udlm", "duo"])
def test_uniform_weights_become_a_uniform_model_that_sees_the_time(folder, config):
    state = weights()
    loaded = load_model(str(folder(config, state)))
    lm = loaded.lm.double()
    assert isinstance(lm, UniformDiffusionLM)
    assert (lm.uniform_share, lm.sees_time, loaded.length) == (1.0, True, LENGTH)
    noisy = torch.tensor([7, 8, 9, 9, 10, 7, 7, 9])
    everywhere = torch.ones(LENGTH, LENGTH, dtype=torch.bool)
    time = torch.tensor([0.3], dtype=torch.float64)
    sigma = -math.log(1 - 0.3)
    expected = described(state, noisy, torch.arange(LENGTH), everywhere, sigma)
    expected = expected[:, 7:11].log_softmax(-1)
    # the conditioning value is handed over in float32.
    found = lm.predict(noisy[None], time)[0, :, 7:11]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert lm.generate(row_keys(1, torch.arange(2)), LENGTH, num_steps=3).tokens.shape == (2, 8)


def test_uniform_weights_trained_without_the_time_are_read_without_it(folder):
    state = weights()
    lm = load_model(str(folder({**UDLM, "time_conditioning": False}, state))).lm.double()
    assert isinstance(lm, UniformDiffusionLM)
    assert not lm.sees_time
    everywhere = torch.ones(LENGTH, LENGTH, dtype=torch.bool)
    expected = described(state, CLEAN, torch.arange(LENGTH), everywhere, 0.0)
    torch.testing.assert_close(lm.backbone(CLEAN[None])[0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "time", "kind"),
    [
        ({"cross_attn": False}, True, MaskedDiffusionLM),
        ({"cross_attn": False, "causal": True, "adaln": False}, False, CausalLM),
    ],
    ids=["mdlm", "ar"],
)
def test_the_baselines_in_the_folders_of_bd3lm_are_what_they_say(folder, changes, time, kind):
    state = weights() if time else _without_time(weights())
    lm = load_model(str(folder({**BD3LM, **changes, "var_min": False}, state))).lm
    assert type(lm) is kind


def lightning(path, state, **more):
    """A checkpoint of Lightning: buffers first, names of a compiled network, averages by order."""
    compiled = {name.replace("backbone.", "backbone._orig_mod."): t for name, t in state.items()}
    shadow = [2 * tensor for name, tensor in state.items() if "inv_freq" not in name]
    content = {"state_dict": {**more, **compiled}, "ema": {"shadow_params": shadow}}
    torch.save(content, path)
    return path


def test_averages_of_a_compiled_network_find_their_names_past_the_buffers(tmp_path):
    state = weights()
    path = lightning(tmp_path / "last.ckpt", state, **RATES)
    averaged = without_buffers(read_mdlm_checkpoint(path), "last")
    trained = without_buffers(read_mdlm_checkpoint(path, weights="trained"), "last")
    assert averaged.keys() == trained.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(trained[name], tensor)
        assert torch.equal(averaged[name], tensor if "inv_freq" in name else 2 * tensor)


def test_a_file_of_block_weights_needs_a_folder_that_says_how_long_blocks_are(tmp_path):
    path = lightning(tmp_path / "last.ckpt", weights(), **RATES)
    with pytest.raises(CheckpointError, match=r"does not say how long its blocks are; put it into"):
        load_model(str(path))
    folder = tmp_path / "folder"
    folder.mkdir()
    path.rename(folder / "pytorch_model.bin")
    (folder / "config.json").write_text('{"model_type": "bd3lm", "block_size": 16}')
    loaded = load_model(str(folder), weights="raw")
    assert loaded.lm.block_length == 16
    head = weights()["backbone.output_layer.linear.weight"]
    assert loaded.lm.backbone.head.weight.shape == head.shape


def test_the_noise_of_a_file_of_udlm_says_what_it_is(tmp_path):
    noise = torch.full((1, 1, 12), 1 / 12)
    path = lightning(tmp_path / "last.ckpt", weights(), limiting_distribution=noise)
    lm = load_model(str(path)).lm
    assert isinstance(lm, UniformDiffusionLM)
    assert lm.sees_time


@pytest.mark.parametrize(
    ("config", "more", "message"),
    [
        ({**BD3LM, "time_conditioning": True}, {}, "clean blocks at the time of the noisy ones"),
        ({**BD3LM, "causal": True}, {}, "causal=true and cross_attn=true"),
        ({**BD3LM, "adaln": False}, {}, "adaln=false of a network that is not causal"),
        ({**BD3LM, "block_size": 0}, {}, "block_size=0, and a length of at least 1"),
        ({**BD3LM, "block_size": None}, {}, "block_size=None"),
        ({**BD3LM, "block_size": 3}, {}, "block_size=3, which does not divide model_length=8"),
        ({**BD3LM, "n_blocks": 3}, {}, "says n_blocks=3, but the tensors have 2"),
        (BD3LM, {"sampling_eps_min": torch.tensor(0.1)}, "are not two rates"),
        (BD3LM, {**RATES, "sampling_eps_max": torch.tensor(-1.0)}, "are not two rates"),
        (BD3LM, {"backbone.mask": torch.zeros(2)}, "left over: mask"),
        ({**UDLM, "cfg": True}, {}, "network with classes"),
        (UDLM, {"backbone.cond_map.embedding_table.weight": torch.zeros(3, 8)}, "with classes"),
        (UDLM, {"limiting_distribution": torch.tensor([0.4, 0.6])}, "is not uniform"),
        ({**DUO, "causal": True}, {}, "uniform noise needs both sides"),
        (DUO, {"teacher.blocks.0.norm1.weight": torch.zeros(8)}, "left over: teacher"),
    ],
)  # fmt: skip
def test_what_would_be_computed_otherwise_is_refused_in_one_sentence(folder, config, more, message):
    path = folder(config, {**weights(), **more})
    with pytest.raises(CheckpointError, match=message) as raised:
        load_model(str(path))
    assert "\n" not in str(raised.value)


def test_a_missing_tensor_and_one_of_another_shape_are_named(folder):
    state = weights()
    del state["backbone.blocks.1.norm2.weight"]
    with pytest.raises(CheckpointError, match=r"missing: blocks\.1\.norm2\.weight"):
        load_model(str(folder(BD3LM, state, "a")))
    state = weights() | {"backbone.blocks.0.attn_qkv.weight": torch.zeros(8, 8)}
    with pytest.raises(CheckpointError, match=r"attn_qkv\.weight has shape \(8, 8\)"):
        load_model(str(folder(UDLM, state, "b")))


def test_folders_of_mdlm_are_what_they_were():
    for config in ({}, {"model_type": "mdlm"}, {"model_type": "mdlm", "backbone": "dit"}):
        process = process_of(config, weights(), "folder")
        assert process == PublishedProcess()


def network(**options):
    """A transformer that these projects have, with random weights everywhere."""
    made = DiT(12, SIZE, BLOCKS, HEADS, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return made.eval()


MODELS = {
    "bd3lm": lambda: BlockDiffusionLM(network(), NUCLEOTIDE_VOCABULARY, block_length=4),
    "udlm": lambda: UniformDiffusionLM(network(time_conditioning=True), NUCLEOTIDE_VOCABULARY),
}


@pytest.mark.parametrize("family", MODELS)
def test_a_model_of_ours_comes_back_from_the_layout_of_its_project(folder, family):
    lm = MODELS[family]().double()
    layout = layout_of(lm, length=LENGTH)
    assert layout.family == family
    config = {"model_type": family, **layout.config}
    state = {name: tensor.contiguous() for name, tensor in layout.tensors.items()}
    again = load_model(str(folder(config, state))).lm.double()
    assert type(again) is type(lm)
    assert getattr(again, "block_length", None) == getattr(lm, "block_length", None)
    batch = batch_of_ids([CLEAN.numpy()], NUCLEOTIDE_VOCABULARY)
    found, expected = (each.log_likelihood(batch, estimator="time") for each in (again, lm))
    # published weights are read in float32.
    torch.testing.assert_close(found.nats, expected.nats, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("lm", "length"),
    [
        (BlockDiffusionLM(network(time_conditioning=True), NUCLEOTIDE_VOCABULARY), 16),
        (BlockDiffusionLM(network(), NUCLEOTIDE_VOCABULARY, block_length=16), 24),
        (UniformDiffusionLM(network(), NUCLEOTIDE_VOCABULARY, uniform_share=0.5), 16),
    ],
    ids=["block with time", "block that does not divide", "hybrid"],
)
def test_a_model_that_its_project_does_not_have_keeps_our_names(lm, length):
    assert layout_of(lm, length=length) is None


def test_hybrid_noise_of_masks_alone_is_mdlm():
    lm = UniformDiffusionLM(network(), NUCLEOTIDE_VOCABULARY, uniform_share=0)
    assert layout_of(lm, length=LENGTH).family == "mdlm"
    assert layout_of(CausalLM(CausalTransformer(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY)) is not None
