"""Published networks with other token ids: the logits of the bases are those of the original."""

import json

import pytest
import torch
from safetensors.torch import save_file

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.backbones.bert import Bert
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.hf.sources import check_ids
from dnamdlm.lm.published.import_caduceus import import_caduceus
from dnamdlm.lm.published.letter_rows import letter_ids
from dnamdlm.lm.published.original_layout import original_layout
from tests.lm.test_import_caduceus import random_state

# as in PlantCAD: marks, then the bases in lower case; 3 and 6, 4 and 5 are complements.
IDS = {"[PAD]": 0, "[MASK]": 1, "[UNK]": 2, "a": 3, "c": 4, "g": 5, "t": 6, "n": 7}
OURS = {"[PAD]": 4, "[MASK]": 3, "[UNK]": 6, "a": 7, "c": 8, "g": 9, "t": 10, "n": 11}
COMPLEMENT = [0, 1, 2, 6, 5, 4, 3, 7]
TEXT = "ACGTN.ACCGTTA..GATTACAN"
ROWS = ("word_embeddings.weight", "word_embeddings.embedding.weight", "lm_head.weight")


def tokenizer(ids, *, named=()):
    """A `tokenizer.json` of a WordLevel model, as far as ids are concerned."""
    marks = [{"id": id_, "content": name} for name, id_ in ids.items() if name in named]
    vocabulary = {name: id_ for name, id_ in ids.items() if name not in named}
    return json.dumps({"added_tokens": marks, "model": {"type": "WordLevel", "vocab": vocabulary}})


def permuted(state):
    """The tensors of a network with eight ids in another order, from those of one with twelve."""
    found = {}
    for name, tensor in state.items():
        if name.endswith(ROWS):
            rows = [OURS[symbol] for symbol in sorted(IDS, key=IDS.__getitem__)]
            found[name] = tensor[rows].clone()
        elif name.endswith("complement_map"):
            found[name] = torch.tensor(COMPLEMENT)
        else:
            found[name] = tensor
    return found


@pytest.fixture
def write(tmp_path):
    def folder(state, ids=IDS, named=(), **config):
        save_file(state, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "tokenizer.json").write_text(tokenizer(ids, named=named))
        return tmp_path

    return folder


@pytest.mark.parametrize("named", [(), ("[PAD]", "[MASK]", "[UNK]")], ids=["inside", "added"])
@pytest.mark.parametrize("kind", ["ph", "ps", "ps_fused"])
def test_eight_permuted_ids_give_the_logits_of_twelve_base_by_base(write, kind, named):
    is_ps = kind != "ph"
    state = random_state(ps=is_ps, vocab=12)
    folder = write(permuted(state), named=named, rcps=is_ps, fused_add_norm=kind == "ps_fused")
    loaded = load_model(str(folder))
    assert loaded.modality.name == "dna"
    network = loaded.lm.backbone.double()
    expected = import_caduceus(state, exchange_strands=kind == "ps_fused").double()
    letters = {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11, ".": 3}
    tokens = torch.tensor([[letters[letter] for letter in TEXT]])
    torch.testing.assert_close(network(tokens)[..., 7:12], expected(tokens)[..., 7:12])
    torch.testing.assert_close(network.hidden(tokens), expected.hidden(tokens))


def test_it_is_a_model_as_any_other(write):
    folder = write(permuted(random_state(ps=True, vocab=12)), rcps=True, fused_add_norm=True)
    model = dnamdlm.load(folder, device="cpu")
    assert set(model.fill("ACGTNNNN")) <= set("ACGT")
    model.export(folder / "mine")
    again = dnamdlm.load(folder / "mine", device="cpu")
    assert (again.log_likelihood(["ACGTTG"]) == model.log_likelihood(["ACGTTG"])).all()


def test_bert_of_letters_is_a_model_of_dna(write):
    network = Bert(8, 16, 1, 2, max_length=32).eval()
    layout = original_layout(network)
    tensors = {name: tensor.detach().clone() for name, tensor in layout.tensors.items()}
    folder = write(tensors, model_type="bert", **layout.config)
    loaded = load_model(str(folder))
    theirs = torch.tensor([[3, 4, 1, 5, 6, 7]])
    ours = torch.tensor([[7, 8, 3, 9, 10, 11]])
    found, expected = loaded.lm.backbone.double()(ours), network.double()(theirs)
    torch.testing.assert_close(found[..., 7:12], expected[..., 3:8])


def test_without_a_row_for_n_it_is_an_unknown_letter(write):
    ids = {name: id_ for name, id_ in IDS.items() if name != "n"}
    state = permuted(random_state(ps=False, vocab=12))
    network = load_model(str(write(state, ids=ids))).lm.backbone
    own = network.embedding.weight
    assert torch.equal(own[11], own[6])
    assert not own[0].any()


def test_a_complement_that_contradicts_the_letters_is_refused(write):
    state = permuted(random_state(ps=True, vocab=12))
    for name in [name for name in state if name.endswith("complement_map")]:
        state[name] = torch.tensor([0, 1, 2, 4, 3, 6, 5, 7])
    folder = write(state, rcps=True, fused_add_norm=True)
    with pytest.raises(CheckpointError, match="does not give the complement of A under the ids"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({**IDS, "A": 2}, "A and a have two ids"),
        ({name: id_ for name, id_ in IDS.items() if name != "t"}, "has no id for T"),
        ({name: id_ for name, id_ in IDS.items() if name != "[MASK]"}, r"has no id for \[MASK\]"),
        ({**IDS, "t": 9}, "the tokenizer has the id 9, and the weights have 8 rows"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused_in_one_sentence(write, ids, message):
    folder = write(permuted(random_state(ps=False, vocab=12)), ids=ids)
    with pytest.raises(CheckpointError, match=message):
        load_model(str(folder))


def test_words_of_several_letters_are_not_letters(tmp_path):
    for symbols in (["acg", "cgt"], ["a", "b", "the"], ["[CLS]"]):
        ids = {symbol: number for number, symbol in enumerate(symbols)}
        (tmp_path / "tokenizer.json").write_text(tokenizer(ids))
        assert letter_ids(tmp_path) is None
    assert letter_ids(tmp_path / "none") is None


def test_transformers_is_not_given_a_network_with_other_ids_than_its_tokenizer(write):
    folder = write(permuted(random_state(ps=False, vocab=12)))
    with pytest.raises(ConfigError, match="write a folder with ours by dnamdlm export"):
        check_ids(folder)
