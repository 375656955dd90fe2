"""Weights of GPN: equality with the formulas in numpy, every tensor accounted for, refusals."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.published.import_gpn import import_gpn

VOCAB, SIZE, INNER, BLOCKS = 7, 12, 20, 4
IDS = {"A": 3, "C": 4, "G": 5, "T": 6, "N": 2, ".": 1}
TEXT = "ACGTNACG.TTACGGATTACAGGCAT"
PLAIN = {"model_type": "ConvNet", "vocab_size": 7, "hidden_size": SIZE, "n_layers": BLOCKS,
         "kernel_size": 3, "dilation_max": 4, "dilation_cycle": 3, "dilation_base": 2,
         "dilation_double_every": 1, "n_aux_features": 0}  # fmt: skip
CONVNET = {"model_type": "GPN", "encoder": "convnet", "vocab_size": 7, "hidden_size": SIZE,
           "num_hidden_layers": BLOCKS, "dilation_cycle": 3, "dilation_base": 2,
           "dilation_double_every": 2, "dilation_max": 9, "n_aux_features": 0}  # fmt: skip
BYTENET = CONVNET | {"encoder": "bytenet", "embedding": "embedding"}
CONFIGS = {"plain": PLAIN, "convnet": CONVNET, "bytenet": BYTENET, "depthwise": CONVNET}
DILATIONS = {"plain": (1, 2, 4, 1), "convnet": (1, 1, 2, 1), "bytenet": (1, 1, 2, 1),
             "depthwise": (1, 1, 2, 1)}  # fmt: skip


def random_state(kind):
    """A table of random tensors under the original names, built without our code."""
    shapes = {}

    def put(name, *shape, bias):
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    for i in range(BLOCKS):
        layer, first = f"model.encoder.layer.{i}", i == 0
        if kind == "plain":
            layer = f"model.encoder.{i}"
            put(f"{layer}.conv.1", SIZE, SIZE, 3, bias=True)
            put(f"{layer}.ffn.0", SIZE, SIZE, bias=True)
            for norm in ("conv.4", "ffn.2"):
                put(f"{layer}.{norm}", SIZE, bias=True)
        elif kind == "bytenet":
            put(f"{layer}.layer.0", SIZE, bias=False)
            put(f"{layer}.layer.2", 6, SIZE, bias=False)
            put(f"{layer}.layer.3", 6, bias=False)
            put(f"{layer}.layer.6", 6, 6, 5 if first else 3, bias=False)
            put(f"{layer}.layer.8", 6, bias=False)
            put(f"{layer}.layer.10", SIZE, 6, bias=False)
        else:
            read = 1 if kind == "depthwise" and not first else SIZE
            put(f"{layer}.conv.0", SIZE, bias=False)
            put(f"{layer}.conv.2", SIZE, read, 5 if first else 3, bias=False)
            put(f"{layer}.conv.5", SIZE, SIZE, bias=False)
            put(f"{layer}.ffn.0", SIZE, bias=False)
            put(f"{layer}.ffn.1", INNER, SIZE, bias=False)
            put(f"{layer}.ffn.3", SIZE, INNER, bias=False)
    if kind == "plain":
        put("cls.decoder.0", SIZE, SIZE, bias=True)
        put("cls.decoder.2", SIZE, bias=True)
        put("cls.decoder.3", VOCAB, SIZE, bias=True)
    else:
        put("model.ln_f", SIZE, bias=False)
        put("cls.decoder", VOCAB, SIZE, bias=False)
    if kind in ("convnet", "depthwise"):
        put("cls.transform.0", SIZE, SIZE, bias=False)
        put("cls.transform.2", SIZE, bias=False)
    if kind == "bytenet":
        shapes["model.embeddings.word_embeddings.weight"] = (VOCAB, SIZE)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


class Formulas:
    """GPN written out in numpy, one base after the other, in float64."""

    def __init__(self, state, kind):
        self.state = {name: tensor.double().numpy() for name, tensor in state.items()}
        self.kind = kind

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.state[f"{name}.weight"] + self.state.get(f"{name}.bias", 0.0)

    def gelu(self, x):
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def conv(self, x, name, dilation):
        weight, length = self.state[f"{name}.weight"], len(x)
        size, read, width = weight.shape
        out = np.zeros((length, size)) + self.state.get(f"{name}.bias", 0.0)
        for place in range(length):
            for tap in range(width):
                source = place + (tap - width // 2) * dilation
                if 0 <= source < length:
                    out[place] += (x[source] * weight[:, 0, tap] if read < size
                                   else weight[:, :, tap] @ x[source])  # fmt: skip
        return out

    def block(self, x, i):
        dilation = DILATIONS[self.kind][i]
        if self.kind == "plain":
            layer = f"model.encoder.{i}"
            mixed = self.gelu(self.conv(x, f"{layer}.conv.1", dilation))
            x = x + self.norm(mixed, f"{layer}.conv.4")
            return x + self.norm(self.gelu(self.linear(x, f"{layer}.ffn.0")), f"{layer}.ffn.2")
        layer = f"model.encoder.layer.{i}"
        if self.kind == "bytenet":
            inner = self.linear(self.gelu(self.norm(x, f"{layer}.layer.0")), f"{layer}.layer.2")
            inner = self.gelu(self.norm(inner, f"{layer}.layer.3"))
            inner = self.norm(self.conv(inner, f"{layer}.layer.6", dilation), f"{layer}.layer.8")
            return x + self.linear(self.gelu(inner), f"{layer}.layer.10")
        mixed = self.gelu(self.conv(self.norm(x, f"{layer}.conv.0"), f"{layer}.conv.2", dilation))
        x = x + self.linear(mixed, f"{layer}.conv.5")
        inner = self.gelu(self.linear(self.norm(x, f"{layer}.ffn.0"), f"{layer}.ffn.1"))
        return x + self.linear(inner, f"{layer}.ffn.3")

    def __call__(self, text):
        """Hidden states and logits of the ids of GPN."""
        words = self.state.get("model.embeddings.word_embeddings.weight", np.eye(VOCAB, SIZE))
        x = words[[IDS[letter] for letter in text]]
        for i in range(BLOCKS):
            x = self.block(x, i)
        if self.kind == "plain":
            inner = self.norm(self.gelu(self.linear(x, "cls.decoder.0")), "cls.decoder.2")
            return x, self.linear(inner, "cls.decoder.3")
        x = self.norm(x, "model.ln_f")
        if self.kind == "bytenet":
            return x, self.linear(x, "cls.decoder")
        inner = self.norm(self.gelu(self.linear(x, "cls.transform.0")), "cls.transform.2")
        return x, self.linear(inner, "cls.decoder")


@pytest.fixture
def folder(tmp_path):
    def write(kind, **config):
        path = tmp_path / kind
        path.mkdir()
        save_file(random_state(kind), path / "model.safetensors")
        (path / "config.json").write_text(json.dumps(CONFIGS[kind] | config))
        return path

    return write


@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_of_the_bases_are_those_of_the_formulas(folder, kind):
    loaded = load_model(str(folder(kind)))
    assert loaded.modality.name == "dna"
    assert loaded.length == 512
    network = loaded.lm.backbone.double()
    tokens = torch.tensor([[{"A": 7, "C": 8, "G": 9, "T": 10, "N": 11, ".": 3}[x] for x in TEXT]])
    states, logits = Formulas(random_state(kind), kind)(TEXT)
    torch.testing.assert_close(network.hidden(tokens)[0].detach().numpy(), states)
    found = network(tokens)[0, :, 7:11].detach().numpy()
    torch.testing.assert_close(found, logits[:, 3:7])


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_parameter_is_filled_from_a_tensor_of_its_own(kind):
    state = random_state(kind)
    network = import_gpn(state, CONFIGS[kind])
    ours = torch.cat([tensor.flatten() for tensor in network.parameters()]).sort().values
    theirs = [tensor.flatten() for tensor in state.values()]
    if kind != "bytenet":
        theirs.append(torch.eye(VOCAB, SIZE).flatten())
    assert torch.equal(ours, torch.cat(theirs).sort().values)


def test_a_gpn_scores_and_embeds_as_any_model_of_dna(folder):
    model = dnamdlm.load(folder("convnet"), device="cpu")
    assert set(model.fill("ACGTNNNNACGT")) <= set("ACGT")
    assert model.embed(["ACGTTGCA", "ACG"]).shape == (2, SIZE)
    assert np.isfinite(model.log_probs(["ACGTTGCA"])[0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("model.ln_f.weight"), r"missing: model\.ln_f\.weight; left over: none"),
        (lambda s: s.update({"model.more": torch.ones(1)}), r"left over: model\.more"),
        (lambda s: s.pop("cls.decoder.weight"), r"has no cls\.decoder\.weight"),
        (
            lambda s: s.update({"model.ln_f.weight": torch.ones(5)}),
            r"model\.ln_f\.weight gives \(5,\), expected \(12,\)",
        ),
        (
            lambda s: [s.pop(name) for name in list(s) if ".layer." in name],
            r"missing: model\.encoder\.layer\.0\.conv\.0\.weight, .* and 1 more",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    state = random_state("convnet")
    change(state)
    with pytest.raises(CheckpointError, match=message):
        import_gpn(state, CONVNET)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_aux_features": 445}, "reads 445 further features of each base"),
        ({"encoder": "roformer"}, "encoder roformer, as GPN-MSA"),
        ({"model_type": "GPNRoFormer"}, "encoder roformer, as GPN-MSA"),
        ({"num_hidden_layers": 5}, "says num_hidden_layers=5, but the tensors have 4"),
    ],
)
def test_other_models_of_the_project_are_refused_in_one_sentence(config, message):
    with pytest.raises(CheckpointError, match=message):
        import_gpn(random_state("convnet"), CONVNET | config)
