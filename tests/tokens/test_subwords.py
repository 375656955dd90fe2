"""Subword tokenizers: published ids, masks that are not padding, text that stays text."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dnamdlm.errors import DataError
from dnamdlm.tokens.subwords import SubwordTokenizer, has_tokenizer
from dnamdlm.tokens.text_tokenizer import TextTokenizer, tokenizer_fingerprint

pytest.importorskip("tokenizers")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "the", "dog", "##s", "mask"]


@pytest.fixture(scope="module")
def gpt2(shared):
    return SubwordTokenizer(shared / "data/tokenizers/gpt2")


@pytest.fixture(scope="module")
def bert(shared):
    return SubwordTokenizer(shared / "data/tokenizers/bert-base-uncased")


@pytest.fixture
def words(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, "[", "]"]))
    return tmp_path


# ids as the documentation of transformers prints them.
def test_gpt2_gives_the_published_ids(gpt2):
    assert gpt2.encode("Hello, my dog is cute").tolist() == [15496, 11, 616, 3290, 318, 13779]
    assert gpt2.encode("Hello world").tolist() == [15496, 995]
    assert gpt2.encode(" Hello world").tolist() == [18435, 995]
    fox = [464, 2068, 7586, 21831, 18045, 625, 262, 16931, 3290]
    assert gpt2.encode("The quick brown fox jumps over the lazy dog").tolist() == fox
    assert (gpt2.begin_id, gpt2.end_id) == (50256, 50256)


def test_bert_gives_the_published_ids(bert):
    assert bert.encode("Hello, my dog is cute").tolist() == [7592, 1010, 2026, 3899, 2003, 10140]
    assert bert.encode("Hello world!").tolist() == [7592, 2088, 999]
    fox = [1996, 4248, 2829, 4419, 14523, 2058, 1996, 13971, 3899]
    assert bert.encode("The quick brown fox jumps over the lazy dog").tolist() == fox
    # em ##bed ##ding ##s
    assert bert.encode("embeddings").tolist() == [7861, 8270, 4667, 2015]
    assert bert.vocabulary.mask_id == 103
    assert bert.vocabulary.pad_id == 0
    assert (bert.begin_id, bert.end_id, len(bert.vocabulary)) == (101, 102, 30522)


def test_gpt2_gets_a_mask_and_a_padding_of_its_own(gpt2):
    assert len(gpt2.vocabulary) == 50259
    assert (gpt2.vocabulary.mask_id, gpt2.vocabulary.pad_id) == (50257, 50258)
    assert gpt2.vocabulary.real_ids == tuple(range(50257))


def test_a_tokenizer_file_that_truncates_and_pads_does_neither(shared, tmp_path, bert):
    source = shared / "data/tokenizers/bert-base-uncased/tokenizer.minilm.json"
    assert json.loads(source.read_text())["truncation"] is not None
    (tmp_path / "tokenizer.json").write_bytes(source.read_bytes())
    tokenizer = SubwordTokenizer(tmp_path)
    rows = tokenizer.encode_all(["dog " * 1000, "dog"])
    assert [len(row) for row in rows] == [1000, 1]
    assert tokenizer.vocabulary == bert.vocabulary


@settings(deadline=None)
@given(text=ANY_TEXT)
def test_gpt2_gives_back_every_text(gpt2, text):
    assert gpt2.decode(gpt2.encode(text)) == text


@settings(deadline=None)
@given(text=ANY_TEXT)
def test_words_of_bert_survive_decoding_and_encoding(bert, text):
    ids = bert.encode(text)
    unknown = bert.vocabulary.symbols.index("[UNK]")
    assume(unknown not in ids)
    assert bert.encode(bert.decode(ids)).tolist() == ids.tolist()


@settings(deadline=None)
@given(text=st.text("abcdexyzABC019 ", max_size=40))
def test_bert_gives_back_words_in_small_letters(bert, text):
    assert bert.decode(bert.encode(text)) == " ".join(text.lower().split())


def test_text_that_spells_a_special_token_stays_text(words):
    tokenizer = SubwordTokenizer(words)
    ids = tokenizer.encode("the [MASK] dogs")
    symbols = [tokenizer.vocabulary.symbols[id_] for id_ in ids]
    assert symbols == ["the", "[", "mask", "]", "dog", "##s"]


def test_unused_ids_are_not_real(words):
    vocabulary = SubwordTokenizer(words).vocabulary
    real = {vocabulary.symbols[id_] for id_ in vocabulary.real_ids}
    assert real == {*WORDS, "[", "]"} - {"[PAD]", "[MASK]", "[unused0]"}


def test_written_files_give_the_same_tokenizer(words, tmp_path):
    first = SubwordTokenizer(words)
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in first.files().items():
        (folder / name).write_bytes(content)
    second = SubwordTokenizer(folder)
    assert isinstance(second, TextTokenizer)
    assert tokenizer_fingerprint(first) == tokenizer_fingerprint(second)
    assert first.decode(first.encode("the dogs")) == "the dogs"


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}', "[1]"])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match="cannot be read"):
        SubwordTokenizer(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path):
    assert not has_tokenizer(tmp_path)
    with pytest.raises(DataError, match="has no tokenizer; it needs"):
        SubwordTokenizer(tmp_path)
