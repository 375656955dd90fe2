"""Rows with marks: samples and held-out text are written alike, and scorers read what they know."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from data_prep.text import main
from dnamdlm.assembly.gathering import GatherSettings, gather
from dnamdlm.assembly.judge.judge_text import open_scorer, real_texts
from dnamdlm.assembly.text_rows import shown
from dnamdlm.data.text.corpus import TextData
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, sample, train
from tests.helpers.rounding import additions, rounding

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "cat", "sat", "on", "mat"]
CLS, SEP, THE = (WORDS.index(word) for word in ("[CLS]", "[SEP]", "the"))
LINES = ["the dog sat", "the cat sat on the mat", "the dog", "the cat sat on the dog on the mat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of words with both marks, and masked and autoregressive runs of one step."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "words").mkdir()
    (folder / "words" / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "lines.txt").write_text("\n".join(LINES * 40) + "\n")
    place = [f"tokenizer={folder / 'words'}", f"out={folder / 'corpus'}"]
    assert main([f"files={folder / 'lines.txt'}", *place]) == 0
    small = ["backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2"]
    steps = ["trainer.max_steps=1", "trainer.valid_windows=2", "trainer.accelerator=cpu"]
    padded, wrapped = ["data.layout=padded"], ["data.wrap=true"]
    ar = ["lm=ar", "backbone=ar"]
    for name, kind in (
        ("padded", padded), ("wrapped", wrapped), ("ar", [*ar, *wrapped]),
    ):  # fmt: skip
        place = [f"data.corpus={folder / 'corpus'}", f"run_dir={folder / name}", "data.length=8"]
        train(compose("config=text", *kind, *small, *steps, *place))
    return folder


def opened(folder, **settings):
    return TextData(str(folder / "corpus"), length=8, **settings).open()


def test_rows_of_one_document_are_written_without_marks(folder):
    corpus = opened(folder, layout="padded")
    texts = real_texts(corpus, "train", 3, 4)
    assert len(texts) == 4
    documents = {" ".join(line.split()[:6]) for line in LINES}
    for text in texts:
        assert text.text in documents
        assert text.ids.tolist() == corpus.tokenizer.encode(text.text).tolist()


def test_packed_blocks_lose_their_begin_mark_as_samples_do(folder):
    corpus = opened(folder, wrap=True)
    # a sample of a row of eight has seven tokens
    for text in real_texts(corpus, "train", 7, 4):
        assert len(text.ids) == 7
        assert text.ids[-1] == SEP
        assert CLS not in text.ids
        assert text.text == corpus.tokenizer.decode(text.ids)


def test_a_longer_text_of_a_padded_model_shows_all_its_documents(folder):
    corpus = opened(folder, layout="padded")
    row = np.array([CLS, THE, SEP, THE, THE, SEP, THE, THE])
    assert shown(row, corpus.settings, corpus.tokenizer).tolist() == [THE]
    longer = np.append(row, THE)
    assert shown(longer, corpus.settings, corpus.tokenizer).tolist() == longer[1:].tolist()
    # the blocks beside it hold several documents too
    (real,) = real_texts(corpus, "train", 30, 1)
    assert len(real.ids) == 30
    assert (real.ids == SEP).sum() > 2


@pytest.mark.parametrize("name", ["padded", "wrapped"])
def test_the_ids_of_a_sample_are_those_of_its_text(folder, name, tmp_path):
    out = tmp_path / "a.jsonl"
    settings = [f"model={folder / name}", "num_sequences=8", f"out={out}", "device=cpu"]
    sample(compose(*settings, name="sample"))
    tokenizer = opened(folder).tokenizer
    for line in out.read_text().splitlines():
        record = json.loads(line)
        assert tokenizer.decode(record["ids"]) == record["text"]
        assert len(record["ids"]) <= 7
        if name == "padded":
            assert SEP not in record["ids"]


def test_a_gap_of_a_marked_model_has_its_end_mark(folder, tmp_path):
    out = tmp_path / "gap.jsonl"
    prompt = "prompt='the [MASK] sat'"
    settings = [f"model={folder / 'wrapped'}", "num_sequences=1", f"out={out}", "device=cpu"]
    sample(compose(*settings, prompt, name="sample"))
    ids = json.loads(out.read_text())["ids"]
    assert len(ids) == 4
    assert (ids[0], ids[-1]) == (THE, SEP)


def test_a_scorer_reads_text_as_its_rows_were(folder):
    scorer = open_scorer(str(folder / "ar"), "cpu")
    assert scorer.context == 6
    tokens = torch.tensor([[THE, THE + 1, THE + 2], [THE, 0, 0]])
    present = tokens > 0
    begun = torch.nn.functional.pad(tokens, (1, 0), value=CLS)
    nats = scorer.nats(tokens, present)
    laws = scorer.lm.next_log_probs(begun[:1]).double()
    expected = [-laws[0, place, begun[0, place]].item() for place in (1, 2, 3)]
    # float32 on batches of other shapes.
    allowed = rounding(additions(scorer.lm), max(expected))
    assert nats[0].tolist() == pytest.approx(expected, abs=allowed)
    assert nats[1, 0].item() == pytest.approx(expected[0], abs=allowed)
    alone = scorer.states(tokens[1:, :1], present[1:, :1])
    allowed = rounding(additions(scorer.lm), alone.abs().max().item())
    found = scorer.states(tokens, present)[1].tolist()
    assert found == pytest.approx(alone[0].tolist(), abs=allowed)


@pytest.mark.parametrize("name", ["padded", "wrapped"])
def test_token_frequencies_are_those_of_the_rows_of_training(folder, name, tmp_path):
    out = tmp_path / "valid.json"
    place = [f"model={folder / name}", f"out={out}", "split=valid", "draws=1", "device=cpu"]
    evaluate(compose(*place, name="evaluate"))
    found = json.loads(out.read_text())["text"]["unigram_perplexity"]
    documents = (LINES * 40)[:144]
    ids = [[*map(WORDS.index, line.split()), SEP] for line in documents]
    stored = [id_ for document in ids for id_ in document]
    num_rows = len(documents) if name == "padded" else -(-len(stored) // 6)
    marks = {CLS: num_rows} if name == "padded" else {CLS: num_rows, SEP: num_rows}
    counts = Counter(stored) + Counter(marks)
    vocabulary = opened(folder).tokenizer.vocabulary
    total = counts.total() + len(vocabulary.real_ids)
    settings = {"layout": "padded"} if name == "padded" else {"wrap": True}
    bits = []
    for batch in opened(folder, **settings).evaluation_windows("valid").batches(8):
        bits += [np.log2(total / (counts[id_] + 1)) for id_ in batch.tokens[batch.valid].tolist()]
    assert found == pytest.approx(2 ** np.mean(bits))


def test_rows_that_are_scored_in_shards_have_the_figures_of_one_command(folder, tmp_path):
    words = [f"model={folder / 'padded'}", "draws=1", "device=cpu", "batch_size=2", "split=valid"]
    words += ["limit=7", f"out={tmp_path}/e.json"]
    _, headline = evaluate(compose(*words, name="evaluate"))
    whole = json.loads((tmp_path / "e.json").read_text())["text"]
    (tmp_path / "e.json").unlink()
    for shard in ("1/2", "2/2"):
        evaluate(compose(*words, f"shard={shard}", "part_rows=2", name="evaluate"))
    path, said = gather(GatherSettings(f"{tmp_path}/e.json"))
    assert said == f"joined 4 parts of 2 shards: 7 rows\n{headline}"
    parts = json.loads(path.read_text())["text"]
    assert parts | {"seconds": 0} == whole | {"seconds": 0}
