"""Original MDLM weights: names, sizes, equality with the golden numbers, refusals."""

import json

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.import_mdlm import (
    fold_time,
    import_autoregressive,
    import_dit,
    read_mdlm_checkpoint,
)
from tests.helpers.rounding import additions, rounding

TIMES = ("sigma_zero", "sigma")


@pytest.fixture
def parity(shared):
    """Weights, inputs and outputs of the original network."""
    folder = shared / "parity"
    return {
        name: load_file(folder / f"dit.{name}.safetensors") for name in ("weights", "io", "grads")
    }


@pytest.fixture
def layout(shared):
    """How the original writes its checkpoints."""
    return json.loads((shared / "parity" / "checkpoint_layout.json").read_text())


def _random_state(*, prefix="", heads=4, size=16, blocks=2, cond=8, vocab=13):
    """A table of random tensors under the original names, built without our code."""
    shapes = {
        "vocab_embed.embedding": (vocab, size),
        "sigma_map.mlp.0.weight": (cond, 256),
        "sigma_map.mlp.0.bias": (cond,),
        "sigma_map.mlp.2.weight": (cond, cond),
        "sigma_map.mlp.2.bias": (cond,),
        "rotary_emb.inv_freq": (size // heads // 2,),
    }
    for i in range(blocks):
        shapes |= {
            f"blocks.{i}.norm1.weight": (size,),
            f"blocks.{i}.attn_qkv.weight": (3 * size, size),
            f"blocks.{i}.attn_out.weight": (size, size),
            f"blocks.{i}.norm2.weight": (size,),
            f"blocks.{i}.mlp.0.weight": (4 * size, size),
            f"blocks.{i}.mlp.0.bias": (4 * size,),
            f"blocks.{i}.mlp.2.weight": (size, 4 * size),
            f"blocks.{i}.mlp.2.bias": (size,),
            f"blocks.{i}.adaLN_modulation.weight": (6 * size, cond),
            f"blocks.{i}.adaLN_modulation.bias": (6 * size,),
        }
    shapes |= {
        "output_layer.norm_final.weight": (size,),
        "output_layer.linear.weight": (vocab, size),
        "output_layer.linear.bias": (vocab,),
        "output_layer.adaLN_modulation.weight": (2 * size, cond),
        "output_layer.adaLN_modulation.bias": (2 * size,),
    }
    generator = torch.Generator().manual_seed(0)
    return {
        prefix + name: torch.randn(shape, generator=generator) for name, shape in shapes.items()
    }


def assert_close_in_float32(found, expected, network, *, more=0):
    """Equal up to the order of sums in the network, and of `more` terms after it."""
    allowed = rounding(additions(network) + more, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed)


@pytest.mark.parity
@pytest.mark.parametrize("time", TIMES)
def test_logits_equal_the_original(parity, time):
    io = parity["io"]
    network = import_dit(parity["weights"])
    logits = network(io["input_ids"], io[time])
    assert_close_in_float32(logits, io[f"logits.{time}"], network)


@pytest.mark.parity
@pytest.mark.parametrize("time", TIMES)
def test_logits_equal_the_original_in_float64(parity, time):
    io = parity["io"]
    network = import_dit(parity["weights"]).double()
    logits = network(io["input_ids"], io[time].double())
    # the original keeps its frequencies rounded to float32, times positions up to 47.
    torch.testing.assert_close(logits, io[f"logits_f64.{time}"], rtol=0, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("time", TIMES)
def test_bfloat16_is_as_far_from_float32_as_the_original_is(parity, time):
    io = parity["io"]
    network = import_dit(parity["weights"])
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(io["input_ids"], io[time])
    ours = (logits - io[f"logits.{time}"]).abs().mean()
    theirs = (io[f"logits_bf16_autocast.{time}"] - io[f"logits.{time}"]).abs().mean()
    assert ours <= 1.1 * theirs


@pytest.mark.parity
@pytest.mark.parametrize("time", TIMES)
def test_states_equal_the_original_block_by_block(parity, time):
    io = parity["io"]
    network = import_dit(parity["weights"])
    seen = {}

    def keep(name):
        return lambda module, inputs, output: seen.__setitem__(name, output)

    network.embedding.register_forward_hook(keep("embed"))
    network.time_embedding.register_forward_hook(keep("cond"))
    for i, block in enumerate(network.blocks):
        block.register_forward_hook(keep(f"block_{i}"))
    network(io["input_ids"], io[time])
    assert sorted(seen) == ["block_0", "block_1", "cond", "embed"]
    for name, state in seen.items():
        assert_close_in_float32(state, io[f"hidden.{time}.{name}"], network)


@pytest.mark.parity
def test_gradients_equal_the_original(parity, shared, layout):
    objectives = load_file(shared / "parity" / "objectives.safetensors")
    x0, xt, t = (objectives[f"dit.{name}"] for name in ("x0", "xt", "t"))
    attended = objectives["dit.attention_mask"].float()
    network = import_dit(parity["weights"])
    names = {id(p): n for n, p in network.named_parameters()}
    logits = network(xt, torch.zeros(len(xt)))
    mask_id = logits.shape[-1] - 1
    logits = logits.index_fill(-1, torch.tensor([mask_id]), float("-inf"))
    token_nats = -logits.log_softmax(-1).gather(-1, x0[..., None]).squeeze(-1)
    weight = (1 - 1e-3) / torch.expm1(-torch.log1p(-(1 - 1e-3) * t)) / (1 - (1 - 1e-3) * t)
    nats = torch.where(xt == mask_id, token_nats * weight.reshape(-1, 1), 0.0) * attended
    loss = nats.sum() / attended.sum()
    tokens = xt.numel()
    assert_close_in_float32(loss, parity["grads"]["loss"].squeeze(), network, more=tokens)
    loss.backward()
    compared = 0
    for parameter in network.parameters():
        original = _original_name(names[id(parameter)])
        expected = parity["grads"].get(f"grad.{original}")
        if expected is not None:
            compared += 1
            # forth and back, and a sum over all tokens.
            more = additions(network) + tokens
            assert_close_in_float32(parameter.grad, expected, network, more=more)
    assert compared == sum(name.startswith("grad.") for name in parity["grads"])


def _original_name(ours):
    """Our parameter name in the original's words, written down once more."""
    for new, old in (
        ("final_modulation", "output_layer.adaLN_modulation"),
        ("modulation", "adaLN_modulation"),
        ("final_norm", "output_layer.norm_final"),
        ("head", "output_layer.linear"),
        ("time_embedding.input", "sigma_map.mlp.0"),
        ("time_embedding.output", "sigma_map.mlp.2"),
        ("attention_norm", "norm1"),
        ("mlp_norm", "norm2"),
        ("attention.qkv", "attn_qkv"),
        ("attention.output", "attn_out"),
        ("mlp.input", "mlp.0"),
        ("mlp.output", "mlp.2"),
        ("embedding.weight", "vocab_embed.embedding"),
    ):
        if new in ours:
            return ours.replace(new, old)
    return ours


@pytest.mark.parity
@pytest.mark.parametrize("time", TIMES)
def test_a_folded_network_gives_the_logits_of_the_original(parity, time):
    io = parity["io"]
    network = import_dit(parity["weights"])
    for row in range(2):
        folded = fold_time(network, float(io[time][row]))
        logits = folded(io["input_ids"][row : row + 1])
        expected = io[f"logits.{time}"][row : row + 1]
        assert_close_in_float32(logits, expected, network)


@pytest.mark.parity
def test_every_key_of_an_original_checkpoint_is_known(parity, layout):
    names = layout["mdlm_checkpoint"]["state_dict_keys"]
    state = {name: parity["weights"][name.removeprefix("backbone.")] for name in names}
    import_dit(state)


def test_a_folded_network_is_a_plain_one_that_can_be_rebuilt():
    network = import_dit(_random_state()).double()
    folded = fold_time(network)
    plain = DiT(13, 16, 2, 4, qkv_bias=True).double()
    plain.load_state_dict(folded.state_dict())
    tokens = torch.arange(13).reshape(1, 13)
    expected = network(tokens, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(plain.eval()(tokens), expected)


def test_folding_leaves_the_source_as_it_was():
    network = import_dit(_random_state())
    before = {name: p.clone() for name, p in network.named_parameters()}
    fold_time(network)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


@pytest.mark.parametrize("options", [{}, {"time_conditioning": True, "conv_width": 3}], ids=str)
def test_a_network_that_cannot_be_folded_is_refused(options):
    with pytest.raises(ValueError, match=r"no time conditioning|cannot be folded"):
        fold_time(DiT(13, 16, 1, 4, **options))


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_sizes_follow_from_the_shapes(prefix):
    state = _random_state(prefix=prefix, heads=2, size=24, blocks=3, cond=5, vocab=9)
    network = import_dit(state)
    assert (network.vocab_size, network.hidden_size, len(network.blocks)) == (9, 24, 3)
    assert network.blocks[0].attention.num_heads == 2
    assert not network.training


def test_a_missing_and_a_left_over_tensor_are_both_named():
    state = _random_state()
    state["blocks.1.norm3.weight"] = state.pop("blocks.1.norm2.weight")
    with pytest.raises(CheckpointError) as raised:
        import_dit(state, source="old.ckpt")
    assert "missing: blocks.1.norm2.weight" in str(raised.value)
    assert "left over: blocks.1.norm3.weight" in str(raised.value)


def test_a_tensor_of_another_shape_is_named():
    state = _random_state()
    state["blocks.0.attn_qkv.weight"] = torch.zeros(16, 16)
    with pytest.raises(CheckpointError, match=r"blocks\.0\.attn_qkv\.weight has shape \(16, 16\)"):
        import_dit(state)


def test_without_the_rotary_buffer_the_heads_must_be_given():
    state = _random_state()
    del state["rotary_emb.inv_freq"]
    with pytest.raises(CheckpointError, match="give num_heads"):
        import_dit(state)
    assert import_dit(state, num_heads=2).blocks[0].attention.num_heads == 2


def test_safetensors_are_read(tmp_path):
    state = _random_state()
    save_file(state, tmp_path / "old.safetensors")
    read = read_mdlm_checkpoint(tmp_path / "old.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def _rebuild():
    raise AssertionError("code of a checkpoint was run")


class Trap:
    """An object whose loading would run a function."""

    def __reduce__(self):
        return _rebuild, ()


@pytest.fixture
def lightning_checkpoint(tmp_path):
    """A checkpoint with weights, averaged weights and a foreign object."""
    state = _random_state(prefix="backbone.")
    averaged = [2 * tensor for name, tensor in state.items() if "inv_freq" not in name]
    content = {
        "state_dict": state,
        "ema": {"decay": 0.9999, "num_updates": 3, "shadow_params": averaged},
        "hyper_parameters": {"config": OmegaConf.create({"model": {"length": 9}}), "x": Trap()},
    }
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt", state


def test_averaged_weights_are_taken_by_their_order(lightning_checkpoint):
    path, state = lightning_checkpoint
    read = read_mdlm_checkpoint(path)
    for name, tensor in state.items():
        factor = 1 if "inv_freq" in name else 2
        assert torch.equal(read[name], factor * tensor)
    import_dit(read)


def test_trained_weights_are_read_on_demand(lightning_checkpoint):
    path, state = lightning_checkpoint
    read = read_mdlm_checkpoint(path, weights="trained")
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_averaged_weights_of_another_number_are_refused(tmp_path):
    state = _random_state()
    torch.save({"state_dict": state, "ema": {"shadow_params": [torch.zeros(1)]}}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="1 averaged tensors for 30 parameters"):
        read_mdlm_checkpoint(tmp_path / "a")


@pytest.mark.parametrize("name", ["absent.ckpt", "damaged.ckpt", "damaged.safetensors", "list.pt"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, name):
    (tmp_path / "damaged.ckpt").write_bytes(b"nothing of the kind" * 9)
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing of the kind" * 9)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match=name):
        read_mdlm_checkpoint(tmp_path / name)


@pytest.mark.parity
def test_the_autoregressive_network_gives_the_logits_of_the_original(shared):
    weights, io = (
        load_file(shared / "parity" / f"ar.{name}.safetensors") for name in ("weights", "io")
    )
    network = import_autoregressive(weights)
    logits = network(io["input_ids"])
    assert_close_in_float32(logits, io["logits"], network)
    real = torch.arange(13) != 12
    log_probs = logits.masked_fill(~real, -torch.inf).log_softmax(-1)
    # the original sets the mask to -1000 and normalises in float32, over 13 numbers.
    assert_close_in_float32(log_probs[..., :12], io["log_probs"][..., :12], network, more=13)
    wide = network.double()(io["input_ids"]).masked_fill(~real, -torch.inf).log_softmax(-1)
    # the original keeps its rotary frequencies rounded to float32.
    torch.testing.assert_close(wide[..., :12], io["log_probs_f64"][..., :12], rtol=0, atol=1e-6)
    target = io["input_ids"][:, 1:, None]
    nats = -log_probs[:, :-1].gather(-1, target).squeeze(-1)
    attended = io["token_mask"]
    scored = attended.bool()
    assert_close_in_float32(nats[scored], io["nlls"][scored], network, more=13)
    mean = (nats * attended).sum() / attended.sum()
    more = 13 + target.numel()
    assert_close_in_float32(mean, io["token_nll"].squeeze(), network, more=more)


def _without_time(state):
    return {
        name: tensor
        for name, tensor in state.items()
        if "adaLN" not in name and "sigma_map" not in name
    }


def test_an_autoregressive_network_and_a_diffusion_network_are_not_confused():
    state = _random_state(prefix="backbone.")
    network = import_autoregressive(_without_time(state))
    assert (network.vocab_size, network.hidden_size, len(network.blocks)) == (13, 16, 2)
    with pytest.raises(CheckpointError, match=r"left over: blocks\.0\.adaLN_modulation\.bias"):
        import_autoregressive(state)
    with pytest.raises(CheckpointError, match=r"missing: blocks\.0\.adaLN_modulation\.bias"):
        import_dit(_without_time(state))


def test_a_hugging_face_folder_is_read_and_its_sizes_are_compared(tmp_path):
    state = _random_state(prefix="backbone.")
    config = {"model_type": "mdlm", "vocab_size": 13, "hidden_dim": 16, "n_blocks": 2, "n_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="holds neither"):
        read_mdlm_checkpoint(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    read = read_mdlm_checkpoint(tmp_path)
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())
    import_dit(read)
    save_file({name: 2 * tensor for name, tensor in state.items()}, tmp_path / "model.safetensors")
    first = next(iter(state))
    assert torch.equal(read_mdlm_checkpoint(tmp_path)[first], 2 * state[first])
    (tmp_path / "config.json").write_text(json.dumps(config | {"n_blocks": 3}))
    with pytest.raises(CheckpointError, match="says n_blocks=3, but the tensors have 2"):
        read_mdlm_checkpoint(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="missing or not readable"):
        read_mdlm_checkpoint(tmp_path)
