"""Nucleotide tokens: the policy for every byte, and ids agree with Caduceus."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import (
    AMBIGUITY_CODES,
    BASE_CODES,
    NUCLEOTIDE_VOCABULARY,
    NucleotideTokenizer,
    code_table,
    reverse_complement,
)

TOKENIZER = NucleotideTokenizer()


@given(st.text(alphabet="ACGTN.", max_size=200))
def test_decoding_what_was_encoded_gives_it_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.text(alphabet="acgtnACGTN", max_size=50))
def test_case_does_not_matter(text):
    np.testing.assert_array_equal(TOKENIZER.encode(text), TOKENIZER.encode(text.upper()))


def test_every_byte_is_a_base_an_ambiguity_code_or_refused():
    table = code_table()
    letters = {chr(byte) for byte in range(256) if table[byte] != 255}
    assert letters == set("ACGTNacgtn") | set(
        (AMBIGUITY_CODES + AMBIGUITY_CODES.lower()).decode("ascii")
    )
    assert {int(table[letter]) for letter in AMBIGUITY_CODES} == {BASE_CODES.index(b"N")}


def test_uracil_is_thymine_only_where_rna_is_asked_for():
    assert code_table()[ord("U")] == 255
    assert code_table(rna=True)[ord("u")] == code_table()[ord("T")]


@pytest.mark.parametrize(
    ("text", "found"), [("ACGU", "'U' at position 4"), ("AC-GT", "'-'"), ("MEL!", "'E'")]
)
def test_a_foreign_letter_is_named_with_its_position(text, found):
    with pytest.raises(DataError, match=found):
        TOKENIZER.encode(text)


@given(st.lists(st.integers(0, 4), max_size=60))
def test_reverse_complement_is_an_involution(codes):
    array = np.array(codes, dtype=np.uint8)
    np.testing.assert_array_equal(reverse_complement(reverse_complement(array)), array)


def test_reverse_complement_agrees_with_the_vocabulary():
    ids = TOKENIZER.encode("ACGTN.")
    complement = np.array(NUCLEOTIDE_VOCABULARY.complement)
    assert TOKENIZER.decode(complement[ids][::-1]) == ".NACGT"


@pytest.mark.parity
def test_ids_and_complement_equal_the_caduceus_tokenizer(shared):
    golden = json.loads((shared / "parity" / "caduceus_tokenizer.json").read_text())
    vocabulary = golden["vocab"]
    assert [vocabulary[symbol] for symbol in NUCLEOTIDE_VOCABULARY.symbols] == list(range(12))
    complement = {int(key): value for key, value in golden["complement_map"].items()}
    assert complement == dict(enumerate(NUCLEOTIDE_VOCABULARY.complement))
    for example in golden["examples"]:
        if set(example["text"].upper()) <= set("ACGTN"):
            assert TOKENIZER.encode(example["text"]).tolist() == example["ids_no_special"]
