"""Text from the command's settings to a file, and perplexity, with a model of one training step."""

import json

import numpy as np
import pytest

from data_prep.text import main
from dnamdlm.assembly.evaluation import evaluate
from dnamdlm.assembly.sampling import sample
from dnamdlm.assembly.text_sampling import prompt_ids
from dnamdlm.assembly.training import train
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.text import ByteTokenizer
from tests.assembly.test_configs import compose


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of bytes, one of text8 and a run of one step on the first."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "lines.txt").write_text("".join(f"line {i} of text\n" for i in range(300)))
    assert main([f"files={folder / 'lines.txt'}", f"out={folder / 'bytes'}"]) == 0
    other = ["tokenizer=text8", "clean=text8", f"out={folder / 'text8'}"]
    assert main([f"files={folder / 'lines.txt'}", *other]) == 0
    small = ["backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2"]
    steps = ["trainer.max_steps=1", "trainer.valid_windows=2", "trainer.accelerator=cpu"]
    place = [f"data.corpus={folder / 'bytes'}", f"run_dir={folder / 'run'}"]
    train(compose("config=text", "data.length=16", *small, *steps, *place))
    return folder


def asked(folder, out, *changes, name="sample"):
    place = ["device=cpu", *([f"out={out}"] if out else [])]
    return compose(f"model={folder / 'run'}", *place, *changes, name=name)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_prompt_stays_and_batches_change_nothing(folder, tmp_path):
    texts = []
    for size in (1, 3):
        out = tmp_path / f"{size}.jsonl"
        settings = ["num_sequences=3", "prompt='line '", f"batch_size={size}"]
        sample(asked(folder, out, *settings))
        texts.append(records(out))
    assert texts[0] == texts[1]
    assert [record["number"] for record in texts[0]] == [1, 2, 3]
    for record in texts[0]:
        assert record["text"].startswith("line ")
        assert len(record["ids"]) == 16
        assert max(record["ids"]) <= 256


def test_gaps_are_filled_and_all_else_stays(folder, tmp_path):
    out = tmp_path / "gap.jsonl"
    sample(asked(folder, out, "num_sequences=1", "prompt='ab[MASK*3]cd[MASK]'"))
    ids = records(out)[0]["ids"]
    assert len(ids) == 8
    assert bytes(ids[:2] + ids[5:7]) == b"abcd"


def test_windows_make_texts_longer_than_those_of_training(folder, tmp_path):
    out = tmp_path / "long.txt"
    settings = ["num_sequences=2", "length=100", "sampler=semi_ar", "sampler.num_steps=4"]
    summary = sample(asked(folder, out, *settings))
    assert summary.num_tokens == 200
    assert out.read_text().startswith("----- sample 000001\n")
    assert "----- sample 000002\n" in out.read_text()


def test_perplexity_is_that_of_its_bits(folder, tmp_path):
    out = tmp_path / "valid.json"
    _, sentence = evaluate(asked(folder, out, "split=valid", "draws=1", name="evaluate"))
    report = json.loads(out.read_text())["text"]
    assert sentence.startswith("valid: perplexity ")
    assert report["perplexity"] == pytest.approx(2 ** report["bits_per_token"])
    text = "".join(f"line {i} of text" for i in range(270, 285))
    assert report["tokens"] == len(text) + 15
    bytes_per_token = len(text) / report["tokens"]
    assert report["bits_per_byte"] == pytest.approx(report["bits_per_token"] / bytes_per_token)
    assert report["uniform_perplexity"] == pytest.approx(257)
    train_text = "".join(f"line {i} of text\0" for i in range(270)).encode()
    counts = np.ones(257) + np.bincount(list(train_text), minlength=257)
    counts[256], counts[0] = counts[0], 1
    scored = [*text.encode(), *[256] * 15]
    bits = -np.log2(counts[scored] / counts.sum())
    assert report["unigram_perplexity"] == pytest.approx(2 ** bits.mean())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["motif=[TATA@1]"], "motif is for models of DNA"),
        (["length=3", "prompt=longer"], "the prompt has 6 tokens, more than length=3"),
        (["length=6", "prompt=longer"], "leaves nothing to fill in 6 tokens"),
    ],
)
def test_a_mistake_is_refused(changes, message, folder, tmp_path):
    with pytest.raises(ConfigError, match=message):
        sample(asked(folder, tmp_path / "a.txt", *changes))
    assert not list(tmp_path.iterdir())


def test_text_is_no_fasta(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.txt or \.jsonl"):
        sample(asked(folder, tmp_path / "a.fa"))


def test_a_corpus_of_another_vocabulary_is_refused(folder, tmp_path):
    changes = [f"data.corpus={folder / 'text8'}", "split=valid"]
    with pytest.raises(DataError, match="whose vocabulary is not that of the model"):
        evaluate(asked(folder, tmp_path / "a.json", *changes, name="evaluate"))


def test_settings_of_dna_are_refused_for_text(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.fasta is for models of DNA"):
        evaluate(asked(folder, tmp_path / "a.json", "data.fasta=x.fa", name="evaluate"))


def test_a_prompt_begins_after_the_first_mark():
    ids = prompt_ids("ab", 5, 8, ByteTokenizer(), begin=256)
    assert ids.tolist() == [256, 97, 98, 257, 257]
    assert len(prompt_ids("", None, 8, ByteTokenizer(), None)) == 8
