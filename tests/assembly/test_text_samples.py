"""Samples of text beside held-out text, and the report, with models of one training step."""

import json

import pytest

from data_prep.text import main
from dnamdlm.assembly.judge.judge_text import open_scorer, read_texts
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.tokens.text_tokenizer import ByteTokenizer
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, judge, report, sample, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A masked and an autoregressive run of one step, and samples of the first."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "lines.txt").write_text("".join(f"line {i} of text\n" for i in range(300)))
    assert main([f"files={folder / 'lines.txt'}", f"out={folder / 'bytes'}"]) == 0
    small = ["backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2"]
    steps = ["trainer.max_steps=1", "trainer.valid_windows=2", "trainer.accelerator=cpu"]
    for name, kind in (("run", []), ("ar", ["lm=ar", "backbone=ar"])):
        place = [f"data.corpus={folder / 'bytes'}", f"run_dir={folder / name}"]
        train(compose("config=text", *kind, "data.length=16", *small, *steps, *place))
    out = f"out={folder / 'run' / 'samples.jsonl'}"
    sample(compose(f"model={folder / 'run'}", "num_sequences=3", out, "device=cpu", name="sample"))
    return folder


def asked(folder, *changes):
    samples = f"samples={folder / 'run' / 'samples.jsonl'}"
    place = [f"model={folder / 'run'}", "device=cpu"]
    return compose(*place, samples, *changes, name="judge")


def test_samples_and_held_out_text_go_into_file_and_report(folder):
    evaluate(compose(f"model={folder / 'run'}", "limit=2", "draws=1", name="evaluate"))
    path, sentence = judge(asked(folder, f"scorer={folder / 'ar'}"))
    section = json.loads(path.read_text())["generated_text"]
    assert section["scorer"] == "ar"
    assert section["generated"]["num_texts"] == section["real"]["num_texts"] == 3
    assert section["generated"]["num_tokens"] == section["real"]["num_tokens"] == 48
    # an untrained scorer is nearly blind
    assert 100 < section["real"]["perplexity"] < 600
    assert "samples (3 texts of about 16 tokens): generative perplexity" in sentence
    page = report({"run_dir": str(folder / "run"), "evaluation": None, "debug": False}).read_text()
    assert "Generative perplexity" in page
    assert "Perplexity of a token, test split" in page
    assert "sample 3" in page
    assert "Not in this report yet" not in page
    assert "bases" not in page.split("How it was made")[0]


def test_a_report_of_a_run_alone_says_what_is_missing(folder):
    page = report({"run_dir": str(folder / "ar"), "evaluation": None, "debug": False}).read_text()
    assert page.count("python -m dnamdlm.evaluate") == 1
    assert page.count("python -m dnamdlm.judge") == 1
    assert "Training curve in bits per token" in page


def test_without_a_scorer_there_is_no_perplexity(folder, tmp_path):
    path, sentence = judge(asked(folder, f"out={tmp_path / 'a.json'}"))
    assert json.loads(path.read_text())["generated_text"]["generated"]["perplexity"] is None
    assert "give scorer=" in sentence


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["mauve=true"], "there is none; give scorer="),
        (["reference=x.fa"], "reference is for models of DNA"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message, folder):
    with pytest.raises(ConfigError, match=message):
        judge(asked(folder, *changes))


def test_a_masked_model_is_not_a_scorer(folder):
    with pytest.raises(ConfigError, match="has no distribution of the next token"):
        judge(asked(folder, f"scorer={folder / 'run'}"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", '{"words": 1}', "has no text under 'text'"),
        ("a.jsonl", '{"text": "a", "ids": [999]}', "another tokenizer made them"),
        ("a.jsonl", "\n", "contains no text"),
        ("a.fa", ">a\nACGT\n", r"must end in \.txt or \.jsonl"),
        ("a.txt", "before\n----- sample 000001\na\n", "text before its first sample"),
    ],
)
def test_a_damaged_file_of_samples_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_texts(tmp_path / name, ByteTokenizer())


def test_a_scorer_that_is_not_there_is_refused_at_once(folder, tmp_path):
    with pytest.raises(DataError, match="typo does not exist; give a run folder"):
        open_scorer(str(folder / "typo"), "cpu")
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(CheckpointError, match="is a folder without a model; give a run folder"):
        open_scorer(str(tmp_path), "cpu")


def test_empty_texts_are_counted_and_shown(folder, tmp_path):
    samples = folder / "ar" / "samples.jsonl"
    samples.write_text("".join(f'{{"text": "{text}"}}\n' for text in ("", "abc", "  ", "xyz")))
    place = [f"model={folder / 'ar'}", "device=cpu"]
    evaluate(compose(*place, "limit=2", name="evaluate"))
    path, sentence = judge(compose(*place, f"samples={samples}", name="judge"))
    content = json.loads(path.read_text())
    figures = content["generated_text"]["generated"]
    assert (figures["num_texts"], figures["num_empty"], figures["num_tokens"]) == (4, 2, 6)
    assert "samples (4 texts of about 3 tokens, 2 empty)" in sentence
    # an autoregressive model is exact, which the report says too; it shows MAUVE where it is known.
    assert content["text"]["draws"] is None
    content["generated_text"] |= {"mauve": 0.125}
    path.write_text(json.dumps(content))
    page = report({"run_dir": str(folder / "ar"), "evaluation": None, "debug": False}).read_text()
    assert "4, 2 empty" in page
    assert "scored exactly" in page
    assert "noise draws" not in page
    assert "MAUVE 0.125" in page
    assert "sample 4" in page
    assert "sample 1<" not in page


def test_both_forms_of_samples_are_read(tmp_path):
    (tmp_path / "a.txt").write_text("----- sample 000001\na\nb\n----- sample 000002\nc\n")
    assert [sample.text for sample in read_texts(tmp_path / "a.txt", ByteTokenizer())] == [
        "a\nb",
        "c",
    ]
    (tmp_path / "a.jsonl").write_text('{"text": "a", "ids": [97, 258]}\n')
    (only,) = read_texts(tmp_path / "a.jsonl", ByteTokenizer())
    assert only.ids.tolist() == [97]


def test_marks_in_a_file_without_ids_are_marks(tmp_path):
    (tmp_path / "a.txt").write_text("----- sample 000001\na[END]b\n")
    (only,) = read_texts(tmp_path / "a.txt", ByteTokenizer())
    assert only.ids.tolist() == [97, 256, 98]
