"""Weights of DNABERT-2 as an encoder: equality with formulas in numpy, its tokenizer, refusals."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.lm.published.import_dnabert2 import import_dnabert2

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

SIZE, INNER, BLOCKS, HEADS, ROWS = 12, 10, 2, 3, 24
CONFIG = {"architectures": ["BertForMaskedLM"], "alibi_starting_size": 512, "vocab_size": ROWS,
          "hidden_size": SIZE, "intermediate_size": INNER, "num_hidden_layers": BLOCKS,
          "num_attention_heads": HEADS, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
          "type_vocab_size": 2}  # fmt: skip
OURS = {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}
TEXT = "ACGTTGNCATTACGGATTACA"
# three heads: those of two, and the first of those of four.
SLOPES = [2**-4, 2**-8, 2**-2]


@pytest.fixture(scope="module")
def tokenizer():
    """A small tokenizer of the kind of DNABERT-2."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    marks = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=20, special_tokens=marks,
                                             show_progress=False)  # fmt: skip
    made.train_from_iterator(["ACGATTACAGATTACATTGACGTT" * 3], trainer)
    return made


def random_state():
    """A table of random tensors under the original names, built without our code."""
    shapes = {"bert.embeddings.word_embeddings.weight": (ROWS, SIZE),
              "bert.embeddings.token_type_embeddings.weight": (2, SIZE),
              "cls.predictions.bias": (ROWS,), "bert.pooler.dense.bias": (SIZE,)}  # fmt: skip

    def put(name, *shape, bias=True):
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    put("bert.embeddings.LayerNorm", SIZE)
    for i in range(BLOCKS):
        layer = f"bert.encoder.layer.{i}"
        put(f"{layer}.attention.self.Wqkv", 3 * SIZE, SIZE)
        put(f"{layer}.attention.output.dense", SIZE, SIZE)
        put(f"{layer}.attention.output.LayerNorm", SIZE)
        put(f"{layer}.mlp.gated_layers", 2 * INNER, SIZE, bias=False)
        put(f"{layer}.mlp.wo", SIZE, INNER)
        put(f"{layer}.mlp.layernorm", SIZE)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.6 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


class Formulas:
    """The network of pieces written out in numpy, head by head, in float64."""

    def __init__(self, state):
        self.state = {name: tensor.double().numpy() for name, tensor in state.items()}

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def attention(self, x, layer):
        parts = np.split(self.linear(x, f"{layer}.attention.self.Wqkv"), 3, axis=-1)
        width, out = SIZE // HEADS, np.zeros_like(x)
        for head in range(HEADS):
            q, k, v = (part[:, head * width : (head + 1) * width] for part in parts)
            scores = q @ k.T / math.sqrt(width)
            for i in range(len(x)):
                for j in range(len(x)):
                    scores[i, j] -= SLOPES[head] * abs(i - j)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, head * width : (head + 1) * width] = weights / weights.sum(-1, keepdims=True) @ v
        return self.linear(out, f"{layer}.attention.output.dense")

    def __call__(self, ids):
        """Hidden states of pieces."""
        words = self.state["bert.embeddings.word_embeddings.weight"]
        x = words[ids] + self.state["bert.embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, "bert.embeddings.LayerNorm")
        for i in range(BLOCKS):
            layer = f"bert.encoder.layer.{i}"
            x = self.norm(x + self.attention(x, layer), f"{layer}.attention.output.LayerNorm")
            a, b = np.split(self.linear(x, f"{layer}.mlp.gated_layers"), 2, axis=-1)
            inner = a * 0.5 * (1 + np.vectorize(math.erf)(a / math.sqrt(2))) * b
            x = self.norm(x + self.linear(inner, f"{layer}.mlp.wo"), f"{layer}.mlp.layernorm")
        return x


@pytest.fixture
def folder(tmp_path, tokenizer):
    save_file(random_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def tokens_of(text):
    return torch.tensor([[OURS[letter] for letter in text]])


def test_each_base_has_the_state_of_its_piece_as_in_the_formulas(folder, tokenizer):
    cut = tokenizer.encode(TEXT)
    pieces = [TEXT[start:end] for start, end in cut.offsets]
    assert "".join(pieces) == TEXT
    assert max(map(len, pieces)) > 1
    states = Formulas(random_state())([1, *cut.ids, 2])
    expected = [states[i + 1] for i, piece in enumerate(pieces) for _ in piece]
    loaded = load_model(str(folder))
    assert loaded.modality.name == "dna"
    found = loaded.lm.backbone.double().hidden(tokens_of(TEXT))[0].detach().numpy()
    torch.testing.assert_close(found, np.stack(expected))


def test_padding_and_other_rows_change_no_piece(folder):
    network = load_model(str(folder)).lm.backbone.double()
    tokens = torch.cat([tokens_of("AC"), tokens_of(TEXT), tokens_of("GTT")], dim=1)
    present = torch.zeros_like(tokens, dtype=torch.bool)
    present[:, 2 : 2 + len(TEXT)] = True
    both = network.hidden(tokens.repeat(2, 1), None, torch.cat([present, present.roll(2, 1)]))
    torch.testing.assert_close(both[:1, 2 : 2 + len(TEXT)], network.hidden(tokens_of(TEXT)))


def test_it_embeds_and_refuses_to_score_in_one_sentence(folder, tokenizer):
    model = dnamdlm.load(folder, device="cpu")
    found = model.embed(["ACGTTGCAAC", "ATTACA"])
    states = Formulas(random_state())([1, *tokenizer.encode("ATTACA").ids, 2])
    lengths = [end - start for start, end in tokenizer.encode("ATTACA").offsets]
    # float32 rounds numbers of order one.
    mean = np.average(states[1:-1], axis=0, weights=lengths)
    np.testing.assert_allclose(found[1], mean, rtol=0, atol=1e-4)
    with pytest.raises(ConfigError, match=r"a masked base has no distribution; use it for embed"):
        model.fill("ACGTNNNN")


def test_a_checkpoint_holds_the_tokenizer(folder):
    network = load_model(str(folder)).lm.backbone
    twin = type(network)(**network.made_with)
    # before its weights come, it reads bases one by one.
    alone = twin.eval().hidden(tokens_of("AAC"))
    assert not torch.equal(alone[0, 0], alone[0, 2])
    assert not torch.equal(alone[0, 0], alone[0, 1])
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin.hidden(tokens_of(TEXT)), network.hidden(tokens_of(TEXT)))


LAYER = "bert.encoder.layer.1."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop(f"{LAYER}mlp.wo.bias"),
            r"missing: bert\.encoder\.layer\.1\.mlp\.wo\.bias",
        ),
        (lambda s: s.update({"bert.more": torch.ones(1)}), r"left over: bert\.more"),
        (
            lambda s: s.update({f"{LAYER}mlp.wo.weight": torch.ones(SIZE, 5)}),
            r"mlp\.wo\.weight gives \(12, 5\), expected \(12, 10\)",
        ),
        (
            lambda s: s.update({"bert.embeddings.word_embeddings.weight": torch.ones(9, SIZE)}),
            "says vocab_size=24, but the tensors have 9",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, tokenizer):
    state = random_state()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        import_dnabert2(state, CONFIG, tokenizer.to_str().encode())


@pytest.mark.parametrize(
    ("config", "content", "message"),
    [
        (CONFIG, None, r"needs its tokenizer\.json and a config\.json"),
        (CONFIG, b"{", "the tokenizer of a network of pieces cannot be read"),
        (CONFIG | {"hidden_act": "relu"}, None, "hidden_act=relu is not supported"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(config, content, message):
    with pytest.raises((CheckpointError, DataError), match=message):
        import_dnabert2(random_state(), config, content)


def test_a_tokenizer_of_other_letters_is_refused():
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"x": 0, "A": 1}, merges=[]))
    with pytest.raises(CheckpointError, match="pieces of A, C, G and T alone"):
        import_dnabert2(random_state(), CONFIG, made.to_str().encode())
