"""Weights of the Nucleotide Transformer v2: equality with formulas and transformers, refusals."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.published.import_esm import import_esm
from dnamdlm.lm.published.word_rows import word_ids

SIZE, INNER, BLOCKS, HEADS, WORD = 8, 6, 2, 2, 3
# as published: marks, words in the order A, T, C, G, then bases and N.
MARKS = ["<unk>", "<pad>", "<mask>", "<cls>"]
SYMBOLS = [
    *MARKS,
    *map("".join, itertools.product("ATCG", repeat=WORD)),
    *"ATCGN",
    "<eos>",
    "<bos>",
]
IDS = {symbol: number for number, symbol in enumerate(SYMBOLS)}
OURS = {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11, ".": 3}
CONFIG = {"architectures": ["EsmForMaskedLM"], "vocab_size": len(SYMBOLS), "hidden_size": SIZE,
          "intermediate_size": INNER, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS,
          "position_embedding_type": "rotary", "token_dropout": False,
          "emb_layer_norm_before": False, "layer_norm_eps": 1e-12, "add_bias_fnn": False,
          "max_position_embeddings": 35, "tie_word_embeddings": False}  # fmt: skip
TEXT = "ACGTTGNCA.TTACGN.G"
WORDS = ["<cls>", "ACG", "TTG", "N", "<mask>", "TTA", "C", "G", "N", "<mask>", "G"]
OWNERS = [1, 1, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 5, 6, 7, 8, 9, 10]


def random_state(*, tied=False):
    """A table of random tensors under the original names, built without our code."""
    shapes = {"esm.embeddings.word_embeddings.weight": (len(SYMBOLS), SIZE),
              "lm_head.bias": (len(SYMBOLS),),
              "esm.contact_head.regression.weight": (1, BLOCKS * HEADS),
              "esm.contact_head.regression.bias": (1,)}  # fmt: skip
    if not tied:
        shapes["lm_head.decoder.weight"] = (len(SYMBOLS), SIZE)

    def put(name, *shape):
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = shape[:1]

    put("esm.encoder.emb_layer_norm_after", SIZE)
    put("lm_head.dense", SIZE, SIZE)
    put("lm_head.layer_norm", SIZE)
    for i in range(BLOCKS):
        layer = f"esm.encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            put(f"{layer}.attention.{part}", SIZE, SIZE)
        put(f"{layer}.attention.LayerNorm", SIZE)
        put(f"{layer}.LayerNorm", SIZE)
        shapes[f"{layer}.intermediate.dense.weight"] = (2 * INNER, SIZE)
        shapes[f"{layer}.output.dense.weight"] = (SIZE, INNER)
    generator = torch.Generator().manual_seed(0)
    found = {name: 0.6 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    half = SIZE // HEADS // 2
    for i in range(BLOCKS):
        name = f"esm.encoder.layer.{i}.attention.self.rotary_embeddings.inv_freq"
        found[name] = 10000.0 ** -(torch.arange(half) / half)
    return found


class Formulas:
    """The network of words written out in numpy, head by head, in float64."""

    def __init__(self, state):
        self.state = {name: tensor.double().numpy() for name, tensor in state.items()}

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def turned(self, x):
        half = x.shape[-1] // 2
        angles = np.outer(np.arange(len(x)), 10000.0 ** -(np.arange(half) / half))
        waves = np.exp(1j * angles) * (x[:, :half] + 1j * x[:, half:])
        return np.concatenate([waves.real, waves.imag], axis=-1)

    def attention(self, x, layer):
        width, out = SIZE // HEADS, np.zeros_like(x)
        q, k, v = (self.linear(x, f"{layer}.attention.self.{part}")
                   for part in ("query", "key", "value"))  # fmt: skip
        for head in range(HEADS):
            here = slice(head * width, (head + 1) * width)
            scores = self.turned(q[:, here]) @ self.turned(k[:, here]).T / math.sqrt(width)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, here] = weights / weights.sum(-1, keepdims=True) @ v[:, here]
        return self.linear(out, f"{layer}.attention.output.dense")

    def __call__(self, words):
        """Hidden states and logits of the published ids."""
        x = self.state["esm.embeddings.word_embeddings.weight"][[IDS[word] for word in words]]
        for i in range(BLOCKS):
            layer = f"esm.encoder.layer.{i}"
            x = x + self.attention(self.norm(x, f"{layer}.attention.LayerNorm"), layer)
            inner = self.linear(self.norm(x, f"{layer}.LayerNorm"), f"{layer}.intermediate.dense")
            a, b = np.split(inner, 2, axis=-1)
            x = x + self.linear(a / (1 + np.exp(-a)) * b, f"{layer}.output.dense")
        x = self.norm(x, "esm.encoder.emb_layer_norm_after")
        inner = self.linear(x, "lm_head.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        inner = self.norm(inner, "lm_head.layer_norm")
        decoder = self.state.get("lm_head.decoder.weight",
                                 self.state["esm.embeddings.word_embeddings.weight"])  # fmt: skip
        return x, inner @ decoder.T + self.state["lm_head.bias"]


def log_shares(logits, seen, offset):
    """log p of each base at one place of a masked word, by enumeration of all words."""
    weights = dict.fromkeys("ACGT", 0.0)
    for word in map("".join, itertools.product("ACGT", repeat=len(seen))):
        if all(letter in (".", base) for letter, base in zip(seen, word, strict=True)):
            weights[word[offset]] += math.exp(logits[IDS[word]])
    return [math.log(weights[base] / sum(weights.values())) for base in "ACGT"]


def tokens_of(text):
    return torch.tensor([[OURS[letter] for letter in text]])


@pytest.fixture
def folder(tmp_path):
    def write(*, tied=False, **config):
        save_file(random_state(tied=tied), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(CONFIG | config))
        (tmp_path / "vocab.txt").write_text("\n".join(SYMBOLS) + "\n")
        return tmp_path

    return write


@pytest.mark.parametrize("tied", [False, True], ids=["own-decoder", "tied"])
def test_states_and_masked_bases_are_those_of_the_formulas(folder, tied):
    loaded = load_model(str(folder(tied=tied)))
    assert loaded.modality.name == "dna"
    assert loaded.length == 32 * WORD
    network = loaded.lm.backbone.double()
    states, logits = Formulas(random_state(tied=tied))(WORDS)
    found = network.hidden(tokens_of(TEXT))[0].detach().numpy()
    torch.testing.assert_close(found, states[OWNERS])
    log_probs = network(tokens_of(TEXT))[0, :, 7:11].log_softmax(-1).detach().numpy()
    torch.testing.assert_close(log_probs[9], np.array(log_shares(logits[4], "CA.", 2)))
    torch.testing.assert_close(log_probs[16], np.array(log_shares(logits[9], ".", 0)))


def test_several_masks_of_a_word_sum_over_what_they_may_be(folder):
    network = load_model(str(folder())).lm.backbone.double()
    text = "ACGT..C.A"
    logits = Formulas(random_state())(["<cls>", "ACG", "<mask>", "<mask>"])[1]
    log_probs = network(tokens_of(text))[0, :, 7:11].log_softmax(-1).detach().numpy()
    expected = [log_shares(logits[2], "T..", 1), log_shares(logits[2], "T..", 2),
                log_shares(logits[3], "C.A", 1)]  # fmt: skip
    torch.testing.assert_close(log_probs[[4, 5, 7]], np.array(expected))


def test_padding_on_either_side_changes_no_word(folder):
    network = load_model(str(folder())).lm.backbone.double()
    tokens = torch.cat([tokens_of("AC"), tokens_of(TEXT), tokens_of("GTT")], dim=1)
    present = torch.zeros_like(tokens, dtype=torch.bool)
    present[:, 2 : 2 + len(TEXT)] = True
    inside = network.hidden(tokens, None, present)[:, 2 : 2 + len(TEXT)]
    torch.testing.assert_close(inside, network.hidden(tokens_of(TEXT)))


@pytest.mark.parity
def test_logits_of_words_are_those_of_transformers_with_gated_perceptrons(folder):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    class Gated(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = torch.nn.Linear(SIZE, 2 * INNER, bias=False)

        def forward(self, x):
            gate, value = self.dense(x).chunk(2, dim=-1)
            return torch.nn.functional.silu(gate) * value

    config = transformers.EsmConfig(**{k: v for k, v in CONFIG.items() if k != "architectures"},
                                    pad_token_id=1, mask_token_id=2)  # fmt: skip
    original = transformers.EsmForMaskedLM(config).eval()
    for layer in original.esm.encoder.layer:
        layer.intermediate = Gated()
        layer.output.dense = torch.nn.Linear(INNER, SIZE, bias=False)
    state = {k: v for k, v in random_state().items() if "rotary" not in k}
    missing, unexpected = original.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("inv_freq" in name or "position_ids" in name or name == "lm_head.decoder.bias"
               for name in missing)  # fmt: skip
    ids = torch.tensor([[IDS[word] for word in WORDS]])
    with torch.no_grad():
        found = original.double()(ids, attention_mask=torch.ones_like(ids))
    states, logits = Formulas(random_state())(WORDS)
    # its rotary angles are float32.
    torch.testing.assert_close(found.logits[0].numpy(), logits, rtol=0, atol=1e-4)
    ours = load_model(str(folder())).lm.backbone.double().hidden(tokens_of(TEXT))[0].detach()
    torch.testing.assert_close(ours.numpy(), states[OWNERS])


def test_every_row_that_can_be_used_is(folder):
    path = folder()
    network = import_esm(random_state(), CONFIG, word_ids(path))
    state, words = random_state(), network.embedding.weight
    theirs = state["esm.embeddings.word_embeddings.weight"]
    assert torch.equal(words[0b000110], theirs[IDS["ACG"]])
    assert torch.equal(words[-3:], theirs[[IDS["N"], IDS["<mask>"], IDS["<cls>"]]])
    assert torch.equal(network.word_head.bias[-4:], state["lm_head.bias"][[IDS[x] for x in "ACGT"]])
    key = state["esm.encoder.layer.1.attention.self.key.weight"]
    assert torch.equal(network.blocks[1].attention.qkv.weight[SIZE : 2 * SIZE], key)


def test_it_embeds_scores_and_fills_as_a_model_of_bases(folder):
    model = dnamdlm.load(folder(), device="cpu")
    assert model.embed(["ACGTTGCAAC", "AC"]).shape == (2, SIZE)
    assert set(model.fill("ACGTNNNNACGT")) <= set("ACGT")
    with pytest.raises(ConfigError, match="cannot read distributions over bases"):
        model.loaded.lm.backbone.hidden(torch.ones(1, 4, 12) / 12)


LAYER = "esm.encoder.layer.1."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(f"{LAYER}LayerNorm.bias"), r"missing: esm\.encoder\.layer\.1\.LayerNorm"),
        (lambda s: s.update({"esm.more": torch.ones(1)}), r"left over: esm\.more"),
        (
            lambda s: s.update({f"{LAYER}output.dense.weight": torch.ones(SIZE, 5)}),
            r"output\.dense\.weight gives \(8, 5\), expected \(8, 6\)",
        ),
        (
            lambda s: s.update({"lm_head.decoder.bias": torch.ones(len(SYMBOLS))}),
            r"lm_head\.decoder\.bias differs from lm_head\.bias",
        ),
        (lambda s: s.update({"lm_head.bias": torch.ones(60)}), "has the id 72, and the weights"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    state = random_state()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        import_esm(state, CONFIG, IDS)


@pytest.mark.parametrize(
    ("config", "ids", "message"),
    [
        (CONFIG | {"position_embedding_type": "absolute"}, IDS, "position_embedding_type=absolute"),
        (CONFIG | {"token_dropout": True}, IDS, "token_dropout=True is not supported"),
        (CONFIG | {"hidden_size": 16}, IDS, "says hidden_size=16, but the tensors have 8"),
        (CONFIG, None, r"needs its vocab\.txt with all words of one length"),
    ],
)
def test_a_config_of_another_network_is_refused(config, ids, message):
    with pytest.raises(CheckpointError, match=message):
        import_esm(random_state(), config, ids)
