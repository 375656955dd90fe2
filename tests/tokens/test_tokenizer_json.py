"""`tokenizer.json` of nucleotides: the ids of the tokenizer of the package, letter by letter."""

import json

import pytest

from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from dnamdlm.tokens.tokenizer_json import tokenizer_config, tokenizer_json

UNKNOWN = NUCLEOTIDE_VOCABULARY.symbols.index("[UNK]")


@pytest.fixture(scope="module")
def library():
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json()))


def test_every_byte_has_the_id_of_the_tokenizer_or_is_unknown(library):
    own = NucleotideTokenizer()
    for value in range(256):
        letter = chr(value)
        try:
            expected = own.encode(letter).tolist()
        except DataError:
            expected = [UNKNOWN]
        assert library.encode(letter).ids == expected, hex(value)


def test_a_text_is_one_token_per_letter_and_comes_back(library):
    text = "acgtACGTNnRYKMSWBDHVrykmswbdhv."
    ids = library.encode(text).ids
    assert ids == NucleotideTokenizer().encode(text).tolist()
    assert library.decode(ids[:9], skip_special_tokens=False) == "ACGTACGTN"
    assert library.encode("AC\n\nG T").ids == [7, 8, UNKNOWN, UNKNOWN, 9, UNKNOWN, 10]


def test_the_names_of_marks_are_marks(library):
    symbols = NUCLEOTIDE_VOCABULARY.symbols
    assert library.encode("A[MASK]C[PAD]").ids == [7, 3, 8, 4]
    assert [library.token_to_id(symbol) for symbol in symbols] == list(range(len(symbols)))
    config = tokenizer_config(256)
    assert library.token_to_id(config["mask_token"]) == NUCLEOTIDE_VOCABULARY.mask_id
    assert library.token_to_id(config["pad_token"]) == NUCLEOTIDE_VOCABULARY.pad_id
