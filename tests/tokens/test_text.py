"""Bytes and text8 characters: ids, round trips, fingerprints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.errors import DataError
from dnamdlm.tokens.text_tokenizer import (
    BUILT_IN,
    TEXT8_LETTERS,
    ByteTokenizer,
    CharacterTokenizer,
    TextTokenizer,
    tokenizer_fingerprint,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(ANY_TEXT)
def test_bytes_give_back_every_text(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert ids.tolist() == list(text.encode())
    assert tokenizer.decode(ids) == text


@given(st.text(TEXT8_LETTERS, max_size=40))
def test_characters_give_back_every_text_of_theirs(text):
    tokenizer = CharacterTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_characters_have_the_ids_of_the_mdlm_code():
    tokenizer = CharacterTokenizer()
    assert tokenizer.encode("az ").tolist() == [8, 33, 34]
    vocabulary = tokenizer.vocabulary
    assert (len(vocabulary), vocabulary.mask_id, vocabulary.pad_id) == (35, 4, 5)


@pytest.mark.parametrize("text", ["abC", "ab\u00e9", "ab\U0001f600"])
def test_a_character_outside_text8_is_named_with_its_place(text):
    with pytest.raises(DataError, match="at position 3, which is not a character of text8"):
        CharacterTokenizer().encode(text)


def test_half_of_a_surrogate_pair_is_refused():
    with pytest.raises(DataError, match="surrogate pair at position 2"):
        ByteTokenizer().encode("a\ud800")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_mask_and_padding_differ_and_are_not_real(name):
    tokenizer = BUILT_IN[name]()
    vocabulary = tokenizer.vocabulary
    assert isinstance(tokenizer, TextTokenizer)
    assert vocabulary.mask_id != vocabulary.pad_id
    assert not {vocabulary.mask_id, vocabulary.pad_id} & set(vocabulary.real_ids)
    first = vocabulary.real_ids[0]
    assert tokenizer.decode([vocabulary.mask_id, vocabulary.pad_id]) == "[MASK]"
    shown = [np.int64(first), vocabulary.pad_id]
    assert tokenizer.decode(shown) == tokenizer.decode([first])


def test_a_fingerprint_belongs_to_one_tokenizer():
    prints = {tokenizer_fingerprint(kind()) for kind in BUILT_IN.values()}
    assert len(prints) == len(BUILT_IN)
    assert tokenizer_fingerprint(ByteTokenizer()) in prints
