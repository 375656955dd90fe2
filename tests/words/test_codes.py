"""The codes of the store are those of the nucleotide alphabet."""

import numpy as np
import pytest

from dnamdlm.tokens.nucleotide import BASE_CODES, COMPLEMENT_OF_CODES, code_table
from dnamdlm.words.codes import CODE_MASK, N_CODE, SOFT_MASK


def test_codes_are_the_places_of_the_letters():
    assert BASE_CODES.index(b"N") == N_CODE == len(BASE_CODES) - 1
    assert COMPLEMENT_OF_CODES[:N_CODE].tolist() == [3 - code for code in range(N_CODE)]


@pytest.mark.parametrize("letter", b"ACGTN")
def test_the_soft_mask_and_the_base_share_no_bit(letter):
    code = int(code_table()[letter])
    assert (code | SOFT_MASK) & CODE_MASK == code
    assert code & SOFT_MASK == 0


def test_masking_keeps_the_type_of_the_store():
    assert (np.array([SOFT_MASK | 2], np.uint8) & CODE_MASK).dtype == np.uint8
