"""Weights of BERT: equality with transformers, every tensor accounted for, refusals."""

import json

import pytest
import torch

from dnamdlm.backbones.bert import Bert
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.published.import_bert import import_bert

CONFIG = {"num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
PREDICTIONS = "cls.predictions."


def random_state(*, vocab=13, size=8, blocks=2, positions=12, old_names=False):
    """A table of random tensors under the original names, built without our code."""
    gain, shift = ("gamma", "beta") if old_names else ("weight", "bias")
    shapes = {
        "bert.embeddings.word_embeddings.weight": (vocab, size),
        "bert.embeddings.position_embeddings.weight": (positions, size),
        "bert.embeddings.token_type_embeddings.weight": (2, size),
    }
    norms = ["bert.embeddings.LayerNorm", f"{PREDICTIONS}transform.LayerNorm"]
    linear = {f"{PREDICTIONS}transform.dense": (size, size)}
    for i in range(blocks):
        layer = f"bert.encoder.layer.{i}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear[f"{layer}attention.{part}"] = (size, size)
        linear[f"{layer}intermediate.dense"] = (4 * size, size)
        linear[f"{layer}output.dense"] = (size, 4 * size)
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.{gain}": (size,), f"{name}.{shift}": (size,)}
    shapes[f"{PREDICTIONS}bias"] = (vocab,)
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder that transformers wrote, tokens, and its logits with and without padding."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=40, max_position_embeddings=20, initializer_range=0.3,
    )  # fmt: skip
    network = transformers.BertForMaskedLM(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name or "LayerNorm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("bert")
    network.save_pretrained(folder)
    tokens = torch.randint(61, (3, 20))
    present = torch.ones(3, 20, dtype=torch.bool)
    present[1, 11:] = False
    # float64: the weights that were written are the same numbers.
    network.double()
    with torch.no_grad():
        whole = network(tokens).logits
        padded = network(tokens, attention_mask=present.long()).logits
    return folder, tokens, present, whole, padded


@pytest.mark.parity
def test_logits_equal_those_of_transformers(original):
    from dnamdlm.lm.published.import_mdlm import read_mdlm_checkpoint

    folder, tokens, present, whole, padded = original
    config = json.loads((folder / "config.json").read_text())
    state = read_mdlm_checkpoint(folder / "model.safetensors")
    network = import_bert(state, config).double()
    torch.testing.assert_close(network(tokens), whole)
    ours = network(tokens, None, present)[present]
    torch.testing.assert_close(ours, padded[present])


@pytest.mark.parametrize("old_names", [False, True], ids=["weight-bias", "gamma-beta"])
def test_every_parameter_is_filled_from_the_tensor_of_its_place(old_names):
    state = random_state(old_names=old_names)
    network = import_bert(state, CONFIG)
    used = {name: tensor.flatten() for name, tensor in network.named_parameters()}
    ours = torch.cat(list(used.values())).sort().values
    theirs = torch.cat([tensor.flatten() for tensor in state.values()]).sort().values
    assert torch.equal(ours, theirs)
    assert network.head.weight is network.embedding.weight
    qkv = network.blocks[1].attention.qkv.weight
    key = state["bert.encoder.layer.1.attention.self.key.weight"]
    assert torch.equal(qkv[8:16], key)


def test_parts_for_next_sentences_and_copies_of_tied_tensors_are_no_hindrance():
    state = random_state()
    plain = import_bert(state, CONFIG)
    more = state | {
        "bert.pooler.dense.weight": torch.zeros(8, 8),
        "bert.pooler.dense.bias": torch.zeros(8),
        "cls.seq_relationship.weight": torch.zeros(2, 8),
        "cls.seq_relationship.bias": torch.zeros(2),
        "bert.embeddings.position_ids": torch.arange(12)[None],
        f"{PREDICTIONS}decoder.weight": state["bert.embeddings.word_embeddings.weight"].clone(),
        f"{PREDICTIONS}decoder.bias": state[f"{PREDICTIONS}bias"].clone(),
    }
    other = import_bert(more, CONFIG).state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in plain.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop(f"{PREDICTIONS}bias"),
            r"missing: cls\.predictions\.bias; left over: none",
        ),
        (lambda s: s.update({"bert.more": torch.ones(1)}), r"left over: bert\.more"),
        (
            lambda s: s.update({f"{PREDICTIONS}decoder.weight": torch.ones(13, 8)}),
            r"decoder\.weight differs from bert\.embeddings\.word_embeddings\.weight",
        ),
        (
            lambda s: s.update({"bert.encoder.layer.0.output.dense.weight": torch.ones(8, 7)}),
            r"output\.dense\.weight gives \(8, 7\), expected \(8, 32\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    state = random_state()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        import_bert(state, CONFIG)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "nothing says how many attention heads"),
        (CONFIG | {"position_embedding_type": "relative_key"}, "position_embedding_type="),
        (CONFIG | {"hidden_act": "mish"}, "hidden_act=mish is not supported"),
        (CONFIG | {"vocab_size": 14}, "says vocab_size=14, but the tensors have 13"),
    ],
)
def test_a_config_of_another_network_is_refused(config, message):
    with pytest.raises(CheckpointError, match=message):
        import_bert(random_state(), config)


def test_rows_beyond_the_positions_are_refused_in_one_sentence():
    network = Bert(13, 8, 1, 2, max_length=12)
    with pytest.raises(ConfigError, match=r"rows of 13 tokens are longer than .*max_length=12"):
        network(torch.zeros(1, 13, dtype=torch.long))
