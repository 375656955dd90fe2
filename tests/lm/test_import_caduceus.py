"""Original Caduceus and DiMamba weights give the original logits."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.published.import_caduceus import import_caduceus, read_caduceus
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.lm.test_import_mdlm import assert_close_in_float32

MODELS = ("caduceus_ph", "caduceus_ps", "caduceus_ps_fused")
DIMAMBAS = ("dimamba", "dimamba_tied")
TIMES = ("sigma_zero", "sigma")


@pytest.fixture
def golden(shared):
    """Reads weights, inputs and outputs of an original network."""

    def read(name):
        folder = shared / "parity"
        return (
            load_file(folder / f"{name}.weights.safetensors"),
            load_file(folder / f"{name}.io.safetensors"),
        )

    return read


def random_state(*, ps=True, size=8, blocks=2, vocab=16):
    """A table of random tensors under the original names, built without our code."""
    wrapper, inner, rank = (".submodule" if ps else ""), 2 * size, -(-size // 16)
    trunk = "caduceus.backbone."
    shapes = {f"{trunk}norm_f.weight": (size,)}
    embedding = "embeddings.word_embeddings" + (".embedding" if ps else "")
    shapes[f"{trunk}{embedding}.weight"] = (vocab, size)
    for i in range(blocks):
        shapes[f"{trunk}layers.{i}.norm.weight"] = (size,)
        for direction in ("mamba_fwd", "mamba_rev"):
            mixer = f"{trunk}layers.{i}.mixer{wrapper}.{direction}."
            shapes |= {
                f"{mixer}A_log": (inner, 4),
                f"{mixer}D": (inner,),
                f"{mixer}conv1d.weight": (inner, 1, 4),
                f"{mixer}conv1d.bias": (inner,),
                f"{mixer}x_proj.weight": (rank + 8, inner),
                f"{mixer}dt_proj.weight": (inner, rank),
                f"{mixer}dt_proj.bias": (inner,),
            }
        ahead = f"{trunk}layers.{i}.mixer{wrapper}.mamba_fwd."
        shapes[f"{ahead}in_proj.weight"] = (2 * inner, size)
        shapes[f"{ahead}out_proj.weight"] = (size, inner)
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    if ps:
        table = torch.tensor([*range(7), 10, 9, 8, 7, *range(11, vocab)])
        state[f"{trunk}embeddings.word_embeddings.complement_map"] = table
        state["lm_head.complement_map"] = table.clone()
    return state


def _tokens():
    return torch.randint(7, 12, (2, 13), generator=torch.Generator().manual_seed(1))


@pytest.mark.parity
@pytest.mark.parametrize("name", MODELS)
def test_caduceus_logits_equal_the_original(golden, name):
    weights, io = golden(name)
    network = import_caduceus(weights)
    for inputs, outputs in (("input_ids", "logits"), ("input_ids_special", "logits_special")):
        assert_close_in_float32(network(io[inputs]), io[outputs], network)
    wide = network.double()(io["input_ids"])
    torch.testing.assert_close(wide, io["logits_f64"], rtol=0, atol=1e-10)


@pytest.mark.parity
@pytest.mark.parametrize("name", MODELS)
def test_caduceus_states_equal_the_original(golden, name):
    weights, io = golden(name)
    network = import_caduceus(weights)
    states = network.hidden(io["input_ids"])
    assert_close_in_float32(states, io["last_hidden_state"], network)


@pytest.mark.parity
@pytest.mark.parametrize("name", MODELS[1:])
def test_caduceus_ps_logits_of_the_reverse_complement_equal_the_original(golden, name):
    weights, io = golden(name)
    network = import_caduceus(weights)
    assert_close_in_float32(network(io["input_ids_rc"]), io["logits_rc"], network)


@pytest.mark.parity
def test_the_order_of_strands_follows_from_the_names_and_can_be_given(golden):
    fused, io = golden("caduceus_ps_fused")
    assert import_caduceus(fused).exchange_strands
    plain, _ = golden("caduceus_ps")
    assert not import_caduceus(plain).exchange_strands
    # both files hold the same values, so that the flag alone makes the difference.
    network = import_caduceus(plain, exchange_strands=True)
    assert_close_in_float32(network(io["input_ids"]), io["logits"], network)
    other = import_caduceus(fused, exchange_strands=False)(io["input_ids"])
    assert (other - io["logits"]).abs().max() > 1


@pytest.mark.parity
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("name", DIMAMBAS)
def test_dimamba_logits_equal_the_original(golden, name, time):
    weights, io = golden(name)
    network = import_caduceus(weights)
    assert network.time_conditioning
    logits = network(io["input_ids"], io[time])
    assert_close_in_float32(logits, io[f"logits.{time}"], network)
    wide = network.double()(io["input_ids"], io[time].double())
    # the original keeps its frequencies rounded to float32.
    torch.testing.assert_close(wide, io[f"logits_f64.{time}"], rtol=0, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("name", [*MODELS, *DIMAMBAS])
def test_a_file_without_the_second_names_of_shared_tensors_is_the_same(golden, shared, name):
    layout = json.loads((shared / "parity" / "checkpoint_layout.json").read_text())
    weights, io = golden(name)
    shared_names = layout[f"{name}.weights"]["safetensors_generic_dedup"].values()
    dropped = {second for group in shared_names for second in group}
    state = {key: value for key, value in weights.items() if key not in dropped}
    assert len(state) < len(weights)
    args = (io["input_ids"], io.get("sigma"))
    assert torch.equal(import_caduceus(state)(*args), import_caduceus(weights)(*args))


@pytest.mark.parametrize("ps", [True, False], ids=["ps", "ph"])
def test_sizes_follow_from_the_shapes(ps):
    network = import_caduceus(random_state(ps=ps, size=24, blocks=3, vocab=16))
    assert isinstance(network, CaduceusPS if ps else Mamba)
    stack = network.strand if ps else network
    assert (network.vocab_size, stack.hidden_size, len(stack.blocks)) == (16, 24, 3)
    assert stack.head.weight is stack.embedding.weight
    assert not network.training


def test_a_missing_and_a_left_over_tensor_are_both_named():
    state = random_state()
    state["caduceus.backbone.layers.1.gain"] = state.pop("caduceus.backbone.layers.1.norm.weight")
    with pytest.raises(CheckpointError) as raised:
        import_caduceus(state, source="old")
    assert "missing: layers.1.norm.weight" in str(raised.value)
    assert "left over: layers.1.gain" in str(raised.value)


def test_a_tensor_of_another_shape_is_named():
    state = random_state(ps=False)
    state["caduceus.backbone.norm_f.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"norm_f\.weight has shape \(3,\), expected \(8,\)"):
        import_caduceus(state)


def test_projections_that_are_not_shared_are_refused():
    state = random_state(ps=False)
    name = "caduceus.backbone.layers.0.mixer.mamba_fwd.in_proj.weight"
    state[name.replace("fwd", "rev")] = state[name] + 1
    with pytest.raises(CheckpointError, match="only directions with shared projections"):
        import_caduceus(state)


def test_strands_without_a_complement_are_refused():
    state = {k: v for k, v in random_state().items() if "complement_map" not in k}
    with pytest.raises(CheckpointError, match="needs one complement_map, found 0"):
        import_caduceus(state)


@pytest.fixture
def folder(tmp_path):
    """Writes a folder as Hugging Face does."""

    def write(*, ps=True, **config):
        save_file(random_state(ps=ps), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({"rcps": ps, **config}))
        return tmp_path

    return write


@pytest.mark.parametrize("fused", [True, False])
def test_the_config_of_a_folder_gives_the_order_of_strands(folder, fused):
    path = folder(fused_add_norm=fused)
    assert read_caduceus(path).exchange_strands == fused
    assert read_caduceus(path, exchange_strands=True).exchange_strands


def test_the_config_of_a_folder_gives_the_strategy(folder):
    network = read_caduceus(folder(ps=False, bidirectional_strategy="ew_multiply"))
    assert network.directions == "multiply"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rms_norm": False}, "rms_norm=False is not supported, only True"),
        ({"bidirectional_weight_tie": False}, "bidirectional_weight_tie=False"),
        ({"bidirectional_strategy": "mean"}, "strategy=mean is unknown; expected one of add"),
    ],
    ids=["norm", "tie", "strategy"],
)
def test_a_config_that_is_not_supported_is_refused(folder, config, message):
    with pytest.raises(CheckpointError, match=message):
        read_caduceus(folder(**config))


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"needs a readable config\.json"):
        read_caduceus(tmp_path)


def test_imported_weights_go_on_as_a_diffusion_model():
    lm = MaskedDiffusionLM(
        import_caduceus(random_state()), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified()
    )
    present = torch.ones(2, 13, dtype=torch.bool)
    tokens = _tokens()
    batch = Batch(
        tokens=tokens, present=present, valid=tokens < 11, weight=None,
        key=torch.tensor([1, 2]), row=torch.tensor([0, 1]), global_size=2, start=None,
    )  # fmt: skip
    lm.loss_terms(batch).nats.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in lm.parameters())
