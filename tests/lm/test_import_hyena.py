"""Weights of HyenaDNA: equality with formulas in numpy, every tensor accounted for, refusals."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.backbones.hyena import Hyena
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.published.import_hyena import import_hyena

ROWS, SIZE, INNER, BLOCKS, PLACES, FEATURES, WIDTH = 16, 6, 10, 2, 90, 5, 7
BASES = "ACGTN"
FILTER = "mixer.filter_fn"
CONFIG = {"model_type": "hyenadna", "d_model": SIZE, "n_layer": BLOCKS, "max_seq_len": PLACES,
          "hyena_order": 2, "layer_norm_epsilon": 1e-5}  # fmt: skip
FIRST_CONFIG = {"d_model": SIZE, "n_layer": BLOCKS, "vocab_size": 12,
                "layer": {"_name_": "hyena", "l_max": PLACES, "emb_dim": FEATURES}}  # fmt: skip


def features():
    """What HyenaDNA stores of each distance: t, then cosines and sines of -f w."""
    place = np.arange(PLACES)
    waves = np.exp(-1j * 2 * math.pi * place[:, None] / PLACES * np.array([1e-4, 1.0]))
    columns = [place / (PLACES - 1), *waves.real.T, *waves.imag.T]
    return torch.from_numpy(np.stack(columns, axis=-1)).float()


def random_state(*, copies=False, wrapped=False):
    """A table of random tensors under the original names, built without our code.

    With `copies` as in the first checkpoints: shared tensors under all their names. With `wrapped`
    as those that were trained with recomputation.
    """
    shapes = {"backbone.embeddings.word_embeddings.weight": (ROWS, SIZE)}

    def put(name, *shape, bias=True):
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    put("backbone.ln_f", SIZE)
    for i in range(BLOCKS):
        layer = f"backbone.layers.{i}"
        for name, shape in {
            "mixer.in_proj": (3 * SIZE, SIZE), "mixer.out_proj": (SIZE, SIZE),
            "mixer.short_filter": (3 * SIZE, 1, 3), "norm1": (SIZE,), "norm2": (SIZE,),
            "mlp.fc1": (INNER, SIZE), "mlp.fc2": (SIZE, INNER),
            f"{FILTER}.implicit_filter.0": (WIDTH, FEATURES),
            f"{FILTER}.implicit_filter.2": (WIDTH, WIDTH),
            f"{FILTER}.implicit_filter.4": (WIDTH, WIDTH),
        }.items():  # fmt: skip
            put(f"{layer}.{name}", *shape)
        put(f"{layer}.{FILTER}.implicit_filter.6", SIZE, WIDTH, bias=False)
        shapes[f"{layer}.{FILTER}.implicit_filter.1.freq"] = (1, WIDTH)
        shapes[f"{layer}.{FILTER}.bias"] = (SIZE,)
        shapes[f"{layer}.{FILTER}.modulation.deltas"] = (1, 1, SIZE)
    generator = torch.Generator().manual_seed(0)
    found = {name: 0.6 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for i in range(BLOCKS):
        taps = f"backbone.layers.{i}.{FILTER}"
        found[f"{taps}.pos_emb.z"] = features()[None]
        found[f"{taps}.pos_emb.t"] = torch.linspace(0, 1, PLACES)[None, :, None]
        if copies:
            for j in (3, 5):
                found[f"{taps}.implicit_filter.{j}.freq"] = found[f"{taps}.implicit_filter.1.freq"]
    if copies:
        found["lm_head.weight"] = found["backbone.embeddings.word_embeddings.weight"]
    if wrapped:
        inside = {".mixer.": ".mixer.layer.", ".mlp.": ".mlp.layer."}
        for plain, layer in inside.items():
            found = {name.replace(plain, layer): tensor for name, tensor in found.items()}
        found = {f"model.{name}": tensor for name, tensor in found.items()}
        found["val_torchmetrics.num_tokens.count"] = torch.tensor(7)
    return found


class Formulas:
    """HyenaDNA written out in numpy, the convolution distance by distance, in float64."""

    def __init__(self, state):
        self.state = {name: tensor.double().numpy() for name, tensor in state.items()}

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def taps(self, layer, length):
        name = f"{layer}.{FILTER}"
        x = self.state[f"{name}.pos_emb.z"][0, :length]
        for j in (0, 2, 4):
            x = self.linear(x, f"{name}.implicit_filter.{j}")
            x = np.sin(self.state[f"{name}.implicit_filter.1.freq"] * x)
        time = self.state[f"{name}.pos_emb.t"][0, :length]
        window = np.exp(-time * np.abs(self.state[f"{name}.modulation.deltas"][0]))
        return self.linear(x, f"{name}.implicit_filter.6") * (window + 0.05)

    def convolved(self, x, taps):
        out = np.zeros_like(x)
        for place in range(len(x)):
            for distance in range(min(place + 1, len(taps))):
                out[place] += taps[distance] * x[place - distance]
        return out

    def mixer(self, x, layer):
        x = self.linear(x, f"{layer}.mixer.in_proj")
        short = self.state[f"{layer}.mixer.short_filter.weight"][:, 0]
        x = self.convolved(x, short.T[::-1]) + self.state[f"{layer}.mixer.short_filter.bias"]
        out, gate, value = np.split(x, 3, axis=-1)
        value = value * gate
        mixed = self.convolved(value, self.taps(layer, len(x)))
        mixed = mixed + self.state[f"{layer}.{FILTER}.bias"] * value
        return self.linear(mixed * out, f"{layer}.mixer.out_proj")

    def __call__(self, ids):
        """Hidden states and logits."""
        words = self.state["backbone.embeddings.word_embeddings.weight"]
        x = words[ids]
        for i in range(BLOCKS):
            layer = f"backbone.layers.{i}"
            x = x + self.mixer(self.norm(x, f"{layer}.norm1"), layer)
            inner = self.linear(self.norm(x, f"{layer}.norm2"), f"{layer}.mlp.fc1")
            inner = 0.5 * inner * (1 + np.tanh(math.sqrt(2 / math.pi)
                                               * (inner + 0.044715 * inner**3)))  # fmt: skip
            x = x + self.linear(inner, f"{layer}.mlp.fc2")
        x = self.norm(x, "backbone.ln_f")
        return x, x @ words.T


@pytest.fixture
def folder(tmp_path):
    state = {f"hyena.{name}": tensor for name, tensor in random_state().items()}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


@pytest.mark.parametrize("length", [1, 40, 90], ids=["one", "direct", "by-frequencies"])
def test_logits_are_those_of_the_formulas(length):
    network = import_hyena(random_state(), CONFIG).double()
    ids = 7 + np.arange(length) ** 2 % 5
    states, logits = Formulas(random_state())(ids)
    found = network.hidden(torch.from_numpy(ids)[None])[0].detach().numpy()
    torch.testing.assert_close(found, states)
    # the mask is not among these rows: it is read as N.
    found = network(torch.from_numpy(ids)[None])[0, :, 7:12].detach().numpy()
    torch.testing.assert_close(found, logits[:, 7:12])


def test_a_folder_is_a_causal_model_of_dna(folder):
    model = dnamdlm.load(folder, device="cpu")
    assert model.window_length == PLACES - 2
    assert model.embed(["ACGTTGCA", "ACN"]).shape == (2, SIZE)
    # left to right from N, in place of the mark of a start that the original does not have.
    text = "ACGTTGCANAC"
    ids = np.array([11, *(7 + BASES.index(letter) for letter in text)])
    logits = Formulas(random_state())(ids[:-1])[1][:, 7:11]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = sum(log_probs[i, ids[i + 1] - 7] for i in range(len(text)) if text[i] != "N")
    # float32 rounds a sum of ten terms of order one, after sines of angles of order ten.
    assert model.log_likelihood([text]) == pytest.approx([expected], rel=1e-4)


def test_the_first_checkpoints_hold_the_same_network(tmp_path, folder):
    first = tmp_path / "first"
    first.mkdir()
    torch.save({"state_dict": random_state(copies=True, wrapped=True)}, first / "weights.ckpt")
    (first / "config.json").write_text(json.dumps(FIRST_CONFIG))
    ours, theirs = (load_model(str(path)).lm.backbone for path in (folder, first))
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def test_a_new_network_starts_from_the_published_features_of_distances():
    positions = Hyena(12, 8, 1, max_length=PLACES).blocks[0].mixer.filter.positions
    # float32 rounds numbers of order one.
    torch.testing.assert_close(positions.detach(), features(), rtol=0, atol=1e-6)


def test_every_parameter_is_filled_from_a_tensor_of_its_own():
    state = random_state()
    ours = import_hyena(state, CONFIG).state_dict()
    del ours["head.weight"]
    theirs = {name: tensor for name, tensor in state.items() if not name.endswith(".t")}
    words = theirs["backbone.embeddings.word_embeddings.weight"]
    words[3] = words[11]
    flat = [torch.cat([t.flatten() for t in table.values()]) for table in (ours, theirs)]
    assert torch.equal(flat[0].sort().values, flat[1].sort().values)


LAYER = "backbone.layers.1."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(f"{LAYER}norm2.bias"), r"missing: backbone\.layers\.1\.norm2\.bias; left"),
        (lambda s: s.update({"backbone.more": torch.ones(1)}), r"left over: backbone\.more"),
        (
            lambda s: s.update({f"{LAYER}{FILTER}.implicit_filter.3.freq": torch.ones(1, WIDTH)}),
            r"implicit_filter\.3\.freq differs from its copies",
        ),
        (lambda s: s.update({"lm_head.weight": torch.ones(ROWS, SIZE)}), "lm_head.weight differs"),
        (
            lambda s: s.update({f"{LAYER}{FILTER}.pos_emb.t": torch.ones(1, PLACES, 1)}),
            "is not evenly spaced",
        ),
        (
            lambda s: s.update({f"{LAYER}mixer.out_proj.weight": torch.ones(SIZE, 5)}),
            r"out_proj\.weight gives \(6, 5\), expected \(6, 6\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    state = random_state()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        import_hyena(state, CONFIG)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"hyena_order": 3}, "hyena_order=3 is not supported, only 2"),
        (CONFIG | {"d_model": 8}, "says d_model=8, but the tensors have 6"),
        ({"layer": {"_name_": "hyena", "num_heads": 2}}, "num_heads=2 is not supported, only 1"),
        ({"layer": {"_name_": "hyena", "l_max": 91}}, "says l_max=91, but the tensors have 90"),
    ],
)
def test_a_config_of_another_network_is_refused(config, message):
    with pytest.raises(CheckpointError, match=message):
        import_hyena(random_state(), config)


def test_longer_rows_than_the_filters_are_refused_in_one_sentence(folder):
    network = load_model(str(folder)).lm.backbone
    with pytest.raises(ConfigError, match=r"rows of 91 tokens are longer than .*max_length=90"):
        network(torch.zeros(1, 91, dtype=torch.long))
