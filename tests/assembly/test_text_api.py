"""Models of text from Python, and without the corpus that they were trained on."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dnamdlm
from data_prep.text import main
from dnamdlm.assembly.building.model_config import UNKNOWN_DATA, ModelConfig
from dnamdlm.assembly.model_data import DataChanges, corpus_data
from dnamdlm.assembly.models import find_checkpoint, load_model
from dnamdlm.data.text.tokenizers import open_tokenizer
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.lm.checkpoint import FILES, MANIFEST, MODEL, file_hash, verify_folder
from dnamdlm.lm.sampling.samplers import RemaskSampler
from dnamdlm.training.run_folder import read_run
from tests.assembly.test_configs import compose
from tests.helpers.entries import composed, evaluate, finetune, predict, sample, train
from tests.helpers.rounding import additions, rounding

SMALL = ["backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2"]
STEPS = ["trainer.max_steps=1", "trainer.valid_windows=2", "trainer.accelerator=cpu"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "green", "##s", "and"]
HELD = ["red and blue", "green", "blues and reds and greens"]
LONG = "the one held-out line, longer than three blocks of the bytes"


def prepared(folder, name, tokenizer, train_lines, valid_lines):
    for stem, lines in (("train", train_lines), ("valid", valid_lines)):
        (folder / f"{name}_{stem}.txt").write_text("".join(f"{line}\n" for line in lines))
    files = [f"files={folder / f'{name}_train.txt'}", f"valid={folder / f'{name}_valid.txt'}"]
    assert main([*files, f"tokenizer={tokenizer}", f"out={folder / name}"]) == 0
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of one step on words in padded rows and on bytes in blocks; the corpora move away."""
    folder = tmp_path_factory.mktemp("text_api")
    (folder / "three").mkdir()
    (folder / "three" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    lines = ["red and blue", "green and green", "blues"] * 20
    prepared(folder, "words", folder / "three", lines, HELD)
    prepared(folder, "bytes", "bytes", lines, [LONG])
    for name, layout in (("words", "padded"), ("bytes", "packed")):
        place = [f"data.corpus={folder / name}", f"run_dir={folder / f'run_{name}'}"]
        tree = ["config=text", "data.length=16", f"data.layout={layout}", *SMALL, *STEPS, *place]
        train(compose(*tree))
    shutil.rmtree(folder / "three")
    (folder / "away").mkdir()
    for name in ("words", "bytes"):
        (folder / name).rename(folder / "away" / name)
    return folder


@pytest.fixture
def model(folder):
    return dnamdlm.load(str(folder / "run_words"), device="cpu")


@pytest.fixture
def of_bytes(folder):
    return dnamdlm.load(str(folder / "run_bytes"), device="cpu")


def asked(model, out, *changes, name):
    return compose(f"model={model}", "device=cpu", f"out={out}", *changes, name=name)


def held_out_nats(folder, name, out):
    """All of -log p that `evaluate` finds on the held-out texts."""
    changes = [f"data.corpus={folder / 'away' / name}", "split=valid", "draws=50", "seed=4"]
    evaluate(asked(folder / f"run_{name}", out, *changes, name="evaluate"))
    report = json.loads(out.read_text())["text"]
    return report["bits_per_token"] * report["tokens"] * math.log(2)


@pytest.mark.parametrize("prompt", ["", "red [MASK*3] blue"])
def test_texts_are_those_of_the_command_line(folder, model, tmp_path, prompt):
    out = tmp_path / "texts.jsonl"
    changes = ["num_sequences=3", "seed=5", "sampler.num_steps=7", "top_p=0.9", "temperature=0.8"]
    if prompt:
        changes.append(f"prompt='{prompt}'")
    sample(asked(folder / "run_words", out, *changes, "sampler=remask", name="sample"))
    sampler = RemaskSampler(num_steps=7)
    settings = {"seed": 5, "sampler": sampler, "top_p": 0.9, "temperature": 0.8}
    texts = model.sample(3, prompt=prompt, batch_size=2, **settings)
    assert texts == [json.loads(line)["text"] for line in out.read_text().splitlines()]


@pytest.mark.slow
def test_the_sampler_of_none_is_that_of_the_command_line(folder, of_bytes, tmp_path):
    out = tmp_path / "texts.jsonl"
    sample(asked(folder / "run_bytes", out, "num_sequences=2", "length=12", name="sample"))
    texts = of_bytes.sample(2, 12)
    assert texts == [json.loads(line)["text"] for line in out.read_text().splitlines()]
    assert texts != of_bytes.sample(2, 12, seed=2)


def agrees(nats, model, texts):
    """The noise of a row is that of its text in Python, and that of its place in `evaluate`."""
    found = [-model.log_likelihood(texts, draws=50, seed=seed).sum() for seed in range(8)]
    return abs(np.mean(found) - nats) < 5 * np.std(found, ddof=1)


@pytest.mark.slow
def test_likelihoods_of_rows_are_those_of_evaluate(folder, model, tmp_path):
    assert model.log_likelihood(HELD, batch_size=2).shape == (3,)
    assert agrees(held_out_nats(folder, "words", tmp_path / "a.json"), model, HELD)


@pytest.mark.slow
def test_likelihoods_of_long_texts_are_sums_over_blocks(folder, of_bytes, tmp_path):
    assert agrees(held_out_nats(folder, "bytes", tmp_path / "a.json"), of_bytes, [LONG])
    assert of_bytes.log_likelihood([]).shape == (0,)


def test_embeddings_do_not_depend_on_what_shares_the_batch(model, of_bytes):
    for one in (model, of_bytes):
        together = one.embed(["red", "blues and red", "green"])
        assert together.shape == (3, 8)
        # padding changes the order of float32 sums.
        allowed = rounding(additions(one.loaded.lm), np.abs(together).max())
        alone = one.embed(["blues and red"])[0]
        np.testing.assert_allclose(together[1], alone, rtol=0, atol=allowed)
        assert not np.allclose(together[0], together[2], atol=1e-5)
    assert np.isfinite(of_bytes.embed([LONG])).all()


@pytest.mark.parametrize("method", ["log_likelihood", "embed"])
def test_texts_that_are_no_rows_are_refused(method, model, of_bytes):
    with pytest.raises(DataError, match="text 2 is empty"):
        getattr(model, method)(["red", "  "])
    with pytest.raises(DataError, match=r"text 1 has 15 tokens, .* at most 14; cut the text"):
        getattr(model, method)([" ".join(["red"] * 15)])
    with pytest.raises(DataError, match="text 2: the text has half of a surrogate pair"):
        getattr(of_bytes, method)(["red", "\ud800"])
    with pytest.raises(DataError, match="put it into a list"):
        getattr(model, method)("red")


def test_what_is_for_dna_is_refused(model):
    with pytest.raises(ConfigError, match="not trained on DNA"):
        model.score_variants("a.vcf", "a.fa")
    with pytest.raises(ConfigError, match="does not classify"):
        model.classify(["red"])
    with pytest.raises(ConfigError, match="forbid is for models of DNA"):
        model.sample(1, forbid="A")
    with pytest.raises(ConfigError, match="length=0 must be at least 1"):
        model.sample(1, 0)


def test_a_checkpoint_holds_its_tokenizer_and_verifies(folder):
    checkpoint, _ = find_checkpoint(str(folder / "run_words"))
    verify_folder(checkpoint)
    tokenizer = open_tokenizer(str(checkpoint))
    assert tokenizer.name == "three"
    assert tokenizer.vocabulary.symbols[: len(WORDS)] == tuple(WORDS)
    (folder / "copy").mkdir()
    alone = shutil.copytree(checkpoint, folder / "copy" / "alone")
    assert dnamdlm.load(str(alone), device="cpu").sample(1) != []
    (alone / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json has 2 bytes"):
        load_model(str(alone))


@pytest.mark.slow
def test_a_model_needs_no_corpus_wherever_it_is_used(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("words", "bytes"):
        run, other = folder / f"run_{name}", folder / "away" / name
        sample(asked(run, "a.txt", "num_sequences=1", name="sample"))
        changes = [f"data.corpus={other}", "split=valid", "draws=1"]
        _, text = evaluate(asked(run, "a.json", *changes, name="evaluate"))
        assert text.startswith("valid: perplexity ")
        assert len(dnamdlm.load(str(run), device="cpu").sample(2)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["words", "bytes"])
def test_an_exported_model_has_its_tokenizer_and_needs_no_corpus(folder, tmp_path, name):
    run = folder / f"run_{name}"
    exported = dnamdlm.load(str(run), device="cpu").export(tmp_path / "mine")
    # a built-in tokenizer has no files.
    assert (exported / "tokenizer.json").is_file() == (name == "words")
    text = dnamdlm.load(str(run), device="cpu").sample(2)
    assert dnamdlm.load(str(exported), device="cpu").sample(2) == text
    assert str(folder) not in "".join(path.read_text("latin-1") for path in exported.iterdir())


def test_a_head_predicts_without_the_corpus_of_its_model(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{'red' if i % 2 else 'blue'} and green,{i % 2}" for i in range(20)]
    Path("t.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    quick = ["seeds=1", "training.epochs=1", "bootstrap=2", "baselines=[]", "data.train=t.csv"]
    model = [f"model={folder / 'run_words'}", "device=cpu", "run_dir=head"]
    finetune(composed("finetune", "config=table", *quick, *model))
    out, _ = predict(composed("predict", "model=head", "input=t.csv", "out=p.tsv", "device=cpu"))
    assert len(out.read_text().splitlines()) == 21


def test_published_weights_ask_for_a_corpus(folder, tmp_path):
    loaded = load_model(str(folder / "run_words"))
    unknown = replace(loaded, config=loaded.config.with_data(corpus=UNKNOWN_DATA))
    with pytest.raises(ConfigError, match=r"^model=.* has published .* data\.corpus=DIR"):
        corpus_data(unknown, DataChanges())


def test_a_tokenizer_outlives_the_checkpoint_that_was_read(folder, tmp_path):
    checkpoint, _ = find_checkpoint(str(folder / "run_words"))
    own = Path(load_model(str(checkpoint)).config.data.tokenizer)
    gone = own.with_name("step_000000000")
    assert open_tokenizer(str(gone)).vocabulary == open_tokenizer(str(own)).vocabulary
    settings = compose("config=text", f"data.corpus={folder / 'words'}")["data"]
    elsewhere = tmp_path / "checkpoints" / "step_000000001"
    tree = {"data": settings | {"tokenizer": str(elsewhere)}}
    with pytest.raises(DataError, match="which held the tokenizer of this model, is gone, and"):
        ModelConfig(tree).describe()
    tree["data"]["corpus"] = str(folder / "away" / "words")
    assert ModelConfig(tree).describe()["tokenizer"] == "three"


def test_a_corpus_prepared_again_does_not_change_the_model(folder, tmp_path):
    run = folder / "run_words"
    before = dnamdlm.load(str(run), device="cpu").sample(2)
    again = prepared(folder, "words", "bytes", ["other"] * 5, ["text"])
    try:
        assert dnamdlm.load(str(run), device="cpu").sample(2) == before
        with pytest.raises(DataError) as error:
            evaluate(asked(run, tmp_path / "a.json", "split=valid", name="evaluate"))
    finally:
        shutil.rmtree(again)
    message = str(error.value)
    assert message.startswith(f"data.corpus={again} was prepared with the tokenizer bytes")
    assert f"model={run} was trained with the tokenizer three" in message


@pytest.fixture
def old_run(folder, tmp_path):
    """A run whose checkpoint was written before tokenizers were kept."""
    run = shutil.copytree(folder / "run_words", tmp_path / "old")
    checkpoint, _ = find_checkpoint(str(run))
    description = json.loads((checkpoint / MODEL).read_text())
    del description["tokenizer"]
    assert FILES not in description
    (checkpoint / MODEL).write_text(json.dumps(description))
    (checkpoint / "tokenizer.json").unlink()
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    del manifest["files"]["tokenizer.json"]
    size = (checkpoint / MODEL).stat().st_size
    manifest["files"][MODEL] = {"bytes": size, "sha256": file_hash(checkpoint / MODEL)}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))
    return run


def test_an_old_run_reads_the_tokenizer_of_its_corpus(folder, old_run, model):
    with pytest.raises(DataError, match="is not a prepared corpus"):
        load_model(str(old_run))
    shutil.copytree(folder / "away" / "words", folder / "words")
    try:
        texts = dnamdlm.load(str(old_run), device="cpu").sample(2)
    finally:
        shutil.rmtree(folder / "words")
    assert texts == model.sample(2)


def test_an_old_run_names_both_tokenizers_where_its_corpus_changed(folder, old_run):
    assert read_run(old_run)["data"]["tokenizer"]["name"] == "three"
    again = prepared(folder, "words", "bytes", ["other"] * 5, ["text"])
    try:
        with pytest.raises(CheckpointError) as error:
            load_model(str(old_run))
    finally:
        shutil.rmtree(again)
    assert "was trained with the tokenizer three" in str(error.value)
    assert f"data.corpus={again} was prepared with the tokenizer bytes" in str(error.value)
