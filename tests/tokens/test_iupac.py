"""IUPAC codes as sets of bases."""

import numpy as np
import pytest

from dnamdlm.tokens.iupac import ANY_BASE, BASES_OF_CODE, allowed_tokens, ids_of_sets, set_table
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

LETTERS = "".join(BASES_OF_CODE)
SETS = set_table()[np.frombuffer(LETTERS.encode(), dtype=np.uint8)]


def test_each_code_allows_its_bases_and_nothing_else():
    allowed = allowed_tokens(SETS, len(NUCLEOTIDE_VOCABULARY))
    for letter, row in zip(LETTERS, allowed, strict=True):
        symbols = {NUCLEOTIDE_VOCABULARY.symbols[i] for i in np.flatnonzero(row)}
        assert symbols == set(BASES_OF_CODE[letter])


def test_complementary_codes_allow_complementary_bases():
    partner = str.maketrans("ACGTRYKMSWBDHVN", "TGCAYRMKSWVHDBN")
    for letter, bases in BASES_OF_CODE.items():
        complement = BASES_OF_CODE[letter.translate(partner)]
        assert set(complement) == set(bases.translate(partner))


def test_one_base_is_its_token_and_more_are_a_mask():
    assert ids_of_sets(SETS, NUCLEOTIDE_VOCABULARY).tolist() == [7, 8, 9, 10] + [3] * 11


def test_case_dots_and_uracil():
    table = set_table()
    assert table[ord("r")] == table[ord("R")] == 5
    assert table[ord(".")] == table[ord("N")] == ANY_BASE
    assert table[ord("U")] == 0
    assert set_table(rna=True)[ord("u")] == 8
    assert np.count_nonzero(table) == 2 * 15 + 1


@pytest.mark.parametrize("letter", "EFILPQXZ-* 1")
def test_other_characters_are_no_set(letter):
    assert set_table()[ord(letter)] == 0
