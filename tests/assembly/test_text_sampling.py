"""Text from the command's settings to a file, and perplexity, with a model of one training step."""

import json
import shutil

import numpy as np
import pytest

from data_prep.text import main
from dnamdlm.assembly.sample.prompts import prompt_ids
from dnamdlm.data.text.corpus import TextData
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.text_tokenizer import ByteTokenizer
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, report, sample, train


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
    assert summary.num_filled == 200
    assert out.read_text().startswith("----- sample 000001\n")
    assert "----- sample 000002\n" in out.read_text()


def test_perplexity_is_that_of_its_bits(folder, tmp_path):
    out = tmp_path / "valid.json"
    _, sentence = evaluate(asked(folder, out, "split=valid", "draws=1", name="evaluate"))
    figures = json.loads(out.read_text())["text"]
    assert sentence.startswith("valid: perplexity ")
    assert figures["perplexity"] == pytest.approx(2 ** figures["bits_per_token"])
    text = "".join(f"line {i} of text" for i in range(270, 285))
    assert figures["tokens"] == len(text) + 15
    bytes_per_token = len(text) / figures["tokens"]
    assert figures["bits_per_byte"] == pytest.approx(figures["bits_per_token"] / bytes_per_token)
    assert figures["uniform_perplexity"] == pytest.approx(257)
    train_text = "".join(f"line {i} of text\0" for i in range(270)).encode()
    counts = np.ones(257) + np.bincount(list(train_text), minlength=257)
    counts[256], counts[0] = counts[0], 1
    scored = [*text.encode(), *[256] * 15]
    bits = -np.log2(counts[scored] / counts.sum())
    assert figures["unigram_perplexity"] == pytest.approx(2 ** bits.mean())


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
    with pytest.raises(DataError, match="prepared with the tokenizer text8"):
        evaluate(asked(folder, tmp_path / "a.json", *changes, name="evaluate"))


def test_settings_of_dna_are_refused_for_text(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.fasta is for models of DNA"):
        evaluate(asked(folder, tmp_path / "a.json", "data.fasta=x.fa", name="evaluate"))


def test_a_prompt_begins_after_the_first_mark():
    ids = prompt_ids("ab", 5, 8, ByteTokenizer(), begin=256)
    assert ids.tolist() == [256, 97, 98, 257, 257]
    assert len(prompt_ids("", None, 8, ByteTokenizer(), None)) == 8


def test_gaps_end_with_the_end_mark_unless_a_length_is_given():
    gap = prompt_ids("a[MASK]b", None, 8, ByteTokenizer(), None, end=256)
    assert gap.tolist() == [97, 257, 98, 256]
    assert prompt_ids("a[MASK]", 3, 8, ByteTokenizer(), None, end=256).tolist() == [97, 257, 257]
    assert prompt_ids("a", None, 3, ByteTokenizer(), None, end=256).tolist() == [97, 257, 257]


class Joining(ByteTokenizer):
    """A blank and the letter after it are one token, as in byte-level BPE."""

    def encode(self, text):
        ids = super().encode(text).tolist()
        merged = []
        while ids:
            joined = len(ids) > 1 and ids[0] == 32
            merged.append(ids[1] + 128 if joined else ids[0])
            ids = ids[1 + joined :]
        return np.array(merged, dtype=np.int64)


def test_a_blank_before_a_gap_is_left_to_the_tokens_of_the_gap():
    ids = prompt_ids("a [MASK*2] b", None, 8, Joining(), None)
    assert ids.tolist() == [97, 257, 257, 98 + 128]
    assert prompt_ids("a [MASK]", None, 8, ByteTokenizer(), None).tolist() == [97, 32, 257]


@pytest.mark.parametrize("number", ["99999999999", "9" * 5000])
def test_a_gap_that_fits_no_memory_is_refused(number):
    with pytest.raises(ConfigError, match="asks for more than 16,777,216 tokens"):
        prompt_ids(f"a[MASK*{number}]", None, 8, ByteTokenizer(), None)
    with pytest.raises(ConfigError, match="length=99999999999 asks for more"):
        prompt_ids("a", 99999999999, 8, ByteTokenizer(), None)


def test_texts_longer_than_rows_of_training_are_said_to_be_so(folder, tmp_path, caplog):
    sample(asked(folder, tmp_path / "a.txt", "num_sequences=1", "length=20"))
    assert "texts of 20 tokens" in caplog.text
    assert "texts of 20 tokens are longer than the windows of 16" in caplog.text
    caplog.clear()
    sample(asked(folder, tmp_path / "b.txt", "num_sequences=1", "length=20", "sampler=semi_ar"))
    sample(asked(folder, tmp_path / "c.txt", "num_sequences=1", "length=16"))
    assert "semi_ar" not in caplog.text


def test_a_limit_counts_the_bytes_of_the_rows_that_are_read(folder, tmp_path):
    out = tmp_path / "limit.json"
    changes = ["split=valid", "draws=1", "limit=3", "data.cache_dir=null"]
    evaluate(asked(folder, out, *changes, name="evaluate"))
    figures = json.loads(out.read_text())["text"]
    opened = TextData(str(folder / "bytes"), length=16).open()
    rows = opened.evaluation_windows("valid", limit=3).batches(8)
    num_bytes = sum(int(((b.tokens < 256) & b.present).sum()) for b in rows)
    bits = figures["bits_per_token"] * figures["tokens"]
    assert figures["bits_per_byte"] == pytest.approx(bits / num_bytes)


def test_another_corpus_gets_a_file_and_a_name_of_its_own(folder, tmp_path):
    (tmp_path / "lines.txt").write_text("".join(f"verse {i} of prose\n" for i in range(300)))
    assert main([f"files={tmp_path / 'lines.txt'}", f"out={tmp_path / 'prose'}"]) == 0
    short = ["split=valid", "draws=1", "limit=2"]
    own, sentence = evaluate(asked(folder, None, *short, name="evaluate"))
    assert own == folder / "run" / "evaluation" / "valid.json"
    assert sentence.startswith("valid: ")
    before = own.read_bytes()
    other = f"data.corpus={tmp_path / 'prose'}"
    path, sentence = evaluate(asked(folder, None, *short, other, name="evaluate"))
    assert path == own.with_name("valid.prose.json")
    assert own.read_bytes() == before
    assert json.loads(path.read_text())["text"]["corpus"] == "prose"
    assert sentence.startswith("valid of prose: ")
    # the corpus of the run is its own wherever it lies.
    moved = shutil.copytree(folder / "bytes", tmp_path / "moved")
    path, _ = evaluate(asked(folder, None, *short, f"data.corpus={moved}", name="evaluate"))
    assert path == own
    page = report({"run_dir": str(folder / "run"), "evaluation": None, "debug": False}).read_text()
    assert "Perplexity of a token, valid split" in page
    assert "<td>prose</td><td>valid</td>" in page
