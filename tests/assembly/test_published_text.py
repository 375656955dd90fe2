"""Weights of text models of others: BERT and MDLM behind `init_from=` and `model=`."""

import json

import pytest
import torch
from safetensors.torch import save_file

import dnamdlm
from data_prep.text import main
from dnamdlm.assembly.building.published import read_published
from dnamdlm.assembly.models import load_model
from dnamdlm.backbones.bert import Bert
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.published.import_bert import import_bert
from dnamdlm.lm.published.import_mdlm import fold_time, import_dit
from dnamdlm.tokens.text_tokenizer import ByteTokenizer
from dnamdlm.tokens.vocabulary import Vocabulary
from tests.assembly.test_configs import compose
from tests.helpers.entries import train
from tests.lm.test_import_bert import random_state
from tests.lm.test_import_mdlm import _random_state as random_mdlm

IDS = len(ByteTokenizer().vocabulary)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "cat", "##s", "sat", "on",
         "mat", "."]  # fmt: skip
STILL = ["learning_rate=constant", "optimizer.learning_rate=1e-12", "optimizer.weight_decay=0.0",
         "trainer.max_steps=2", "trainer.log_every=1", "trainer.valid_every=2",
         "trainer.checkpoint_every=2", "trainer.valid_windows=2", "trainer.accelerator=cpu",
         "trainer.global_batch_size=2", "data.length=12"]  # fmt: skip
SIZES = ["backbone.hidden_size=8", "backbone.num_blocks=2", "backbone.num_heads=2"]


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "lines.txt").write_text("the dogs sat on the mat .\n" * 40)
    assert main([f"files={tmp_path / 'lines.txt'}", f"out={tmp_path / 'bytes'}"]) == 0
    return tmp_path / "bytes"


def bert_folder(path, *, vocab, words=None, **config):
    path.mkdir()
    save_file(random_state(vocab=vocab), path / "model.safetensors")
    config = {"model_type": "bert", "num_attention_heads": 2, "vocab_size": vocab, **config}
    (path / "config.json").write_text(json.dumps(config))
    if words:
        (path / "vocab.txt").write_text("\n".join(words))
    return path


def test_bert_goes_on_as_a_diffusion_model(corpus, tmp_path):
    folder = bert_folder(tmp_path / "bert", vocab=IDS)
    run = train(
        compose("config=text", f"data.corpus={corpus}", "backbone=bert", *SIZES, *STILL,
                "backbone.max_length=12", f"init_from={folder}", f"run_dir={tmp_path / 'run'}")
    )  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    expected = import_bert(random_state(vocab=IDS), config).state_dict()
    reached = load_model(str(run)).lm.backbone.state_dict()
    assert reached.keys() == expected.keys()
    for key, tensor in reached.items():
        # two steps of 1e-12 do not move float32 weights of order one.
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-9)


def test_another_network_is_refused_with_the_settings_that_fit(corpus, tmp_path):
    folder = bert_folder(tmp_path / "bert", vocab=IDS)
    other = ["config=text", f"data.corpus={corpus}", *STILL, f"init_from={folder}"]
    with pytest.raises(CheckpointError, match=r"backbone\._target_=dnamdlm\.backbones\.bert\.Bert"):
        train(compose(*other, f"run_dir={tmp_path / 'run'}"))
    with pytest.raises(CheckpointError, match=r"train with backbone\.max_length=12$"):
        train(compose(*other, "backbone=bert", *SIZES, f"run_dir={tmp_path / 'run'}"))


def test_rows_longer_than_the_positions_are_refused_before_training(corpus, tmp_path):
    tree = compose("config=text", f"data.corpus={corpus}", "backbone=bert", *SIZES, *STILL,
                   "backbone.max_length=11", f"run_dir={tmp_path / 'run'}")  # fmt: skip
    with pytest.raises(ConfigError, match=r"rows of 12 tokens .*max_length=11.* data\.length=11"):
        train(tree)


def test_weights_of_other_ids_are_refused(corpus, tmp_path):
    folder = bert_folder(tmp_path / "bert", vocab=IDS - 2)
    own = ["backbone=bert", *SIZES, "backbone.max_length=12", f"init_from={folder}"]
    tree = compose("config=text", f"data.corpus={corpus}", *STILL, *own,
                   f"run_dir={tmp_path / 'run'}")  # fmt: skip
    with pytest.raises(CheckpointError, match=rf"{IDS - 2} token ids, .* this text has {IDS}"):
        train(tree)


def test_a_folder_with_its_tokenizer_is_a_model_of_text(tmp_path):
    pytest.importorskip("tokenizers")
    folder = bert_folder(tmp_path / "bert", vocab=len(WORDS), words=WORDS)
    loaded = load_model(str(folder))
    assert isinstance(loaded.lm.backbone, Bert)
    assert loaded.lm.vocabulary.symbols == tuple(WORDS)
    assert loaded.length == 12
    renamed = Vocabulary(tuple(f"_{word}" for word in WORDS), 4, 0, (1, 2, 3, *range(5, 13)))
    with pytest.raises(CheckpointError, match="its tokenizer has other ids than this text"):
        read_published(folder, renamed)


def mdlm_folder(path, state, **config):
    path.mkdir()
    save_file(state, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"model_type": "mdlm", **config}))
    return path


@pytest.mark.parametrize("layout", ["hub", "lightning"])
def test_mdlm_of_text_goes_on_with_every_weight(corpus, tmp_path, layout):
    state = random_mdlm(size=8, heads=2, vocab=IDS, prefix="backbone.")
    source = tmp_path / "mdlm.ckpt"
    if layout == "hub":
        source = mdlm_folder(tmp_path / "mdlm", state, n_heads=2, vocab_size=IDS)
    else:
        shadow = [tensor for name, tensor in state.items() if "rotary" not in name]
        ema = {"decay": 0.9999, "num_updates": 1, "shadow_params": shadow}
        torch.save({"state_dict": state, "ema": ema, "global_step": 3}, source)
    run = train(
        compose("config=text", "backbone=dit", f"data.corpus={corpus}", *SIZES, *STILL,
                "backbone.qkv_bias=true", f"init_from={source}", f"run_dir={tmp_path / 'run'}")
    )  # fmt: skip
    tokens = torch.tensor([[1, 2, 257, 30]])
    expected = fold_time(import_dit(state)).double()(tokens)
    reached = load_model(str(run)).lm.backbone.double()(tokens)
    # two steps of 1e-12 do not move float32 weights of order one.
    torch.testing.assert_close(reached, expected)


def test_the_one_id_that_gpt2_weights_lack_is_padding_and_changes_nothing(tmp_path):
    # the mask is the last id of the original, and padding is one more here.
    state = random_mdlm(size=8, heads=2, vocab=7, prefix="backbone.")
    vocabulary = Vocabulary(tuple("abcdef*_"), 6, 7, (0, 1, 2, 3, 4, 5))
    folder = mdlm_folder(tmp_path / "mdlm", state, n_heads=2)
    # float64: a matrix of another width is summed in another order.
    network = read_published(folder, vocabulary).network.double()
    tokens = torch.tensor([[0, 6, 3, 5]])
    logits = network(tokens)
    assert logits.shape[-1] == network.vocab_size == 8
    expected = fold_time(import_dit(state)).double()(tokens)
    torch.testing.assert_close(logits[..., :7], expected)
    other = Vocabulary(tuple("abcdef_*"), 7, 6, (0, 1, 2, 3, 4, 5))
    with pytest.raises(CheckpointError, match="has 7 token ids"):
        read_published(folder, other)


@pytest.mark.slow
@pytest.mark.parametrize("vocab", [30522, 50258])
def test_the_published_sizes_of_text_are_read(tmp_path, vocab, shared):
    pytest.importorskip("tokenizers")
    from dnamdlm.tokens.subwords import SubwordTokenizer

    name = "gpt2" if vocab == 50258 else "bert-base-uncased"
    vocabulary = SubwordTokenizer(shared / "data/tokenizers" / name).vocabulary
    state = random_mdlm(size=768, heads=12, blocks=12, cond=128, vocab=vocab, prefix="backbone.")
    config = {"n_heads": 12, "n_blocks": 12, "hidden_dim": 768, "vocab_size": vocab,
              "model_length": 1024, "time_conditioning": False}  # fmt: skip
    published = read_published(mdlm_folder(tmp_path / "mdlm", state, **config), vocabulary)
    assert published.network.vocab_size == len(vocabulary)
    own = compose("config=openwebtext", "data.corpus=x", "backbone.qkv_bias=true")["backbone"]
    assert {key: own[key] for key in published.node} == published.node
    assert published.length == 1024


def test_the_python_interface_reads_a_bert_with_its_tokenizer(tmp_path):
    pytest.importorskip("tokenizers")
    folder = bert_folder(tmp_path / "bert", vocab=len(WORDS), words=WORDS)
    assert dnamdlm.load(str(folder), device="cpu").window_length == 12
