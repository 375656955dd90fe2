"""From text to token ids and back, and what each id means; needs numpy alone."""

from dnamdlm.tokens.iupac import allowed_tokens, ids_of_sets, set_table
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from dnamdlm.tokens.subwords import SubwordTokenizer
from dnamdlm.tokens.text_tokenizer import (
    ByteTokenizer,
    CharacterTokenizer,
    TextTokenizer,
    tokenizer_fingerprint,
)
from dnamdlm.tokens.tokenizer import Tokenizer
from dnamdlm.tokens.vocabulary import Vocabulary

__all__ = [
    "NUCLEOTIDE_VOCABULARY",
    "ByteTokenizer",
    "CharacterTokenizer",
    "NucleotideTokenizer",
    "SubwordTokenizer",
    "TextTokenizer",
    "Tokenizer",
    "Vocabulary",
    "allowed_tokens",
    "ids_of_sets",
    "set_table",
    "tokenizer_fingerprint",
]
