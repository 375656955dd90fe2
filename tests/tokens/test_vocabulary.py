"""Vocabulary: roles are checked once, and the fingerprint names the meaning."""

import dataclasses

import pytest

from dnamdlm.errors import ConfigError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary


def test_real_tokens_are_exactly_the_four_bases():
    symbols = [
        symbol
        for symbol, is_real in zip(
            NUCLEOTIDE_VOCABULARY.symbols, NUCLEOTIDE_VOCABULARY.real_tokens(), strict=True
        )
        if is_real
    ]
    assert symbols == ["A", "C", "G", "T"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_id": 4}, "padding must not look like"),
        ({"mask_id": 12}, "lies outside"),
        ({"real_ids": ()}, "non-empty"),
        ({"real_ids": (8, 7)}, "increasing"),
        ({"real_ids": (3, 7)}, "neither the mask"),
        ({"real_ids": (7, 12)}, "must lie in"),
        ({"complement": (0,)}, "one of 12 ids"),
        ({"complement": (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 7, 11)}, "involution"),
        ({"complement": (3, 1, 2, 0, 4, 5, 6, 10, 9, 8, 7, 11)}, "keep the mask"),
        ({"symbols": ("A",) * 12}, "twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_contradictory_roles_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(NUCLEOTIDE_VOCABULARY, **change)


def test_the_fingerprint_changes_with_the_meaning_of_an_id():
    swapped = dataclasses.replace(NUCLEOTIDE_VOCABULARY, complement=None)
    same = Vocabulary(
        symbols=NUCLEOTIDE_VOCABULARY.symbols,
        mask_id=3,
        pad_id=4,
        real_ids=(7, 8, 9, 10),
        complement=NUCLEOTIDE_VOCABULARY.complement,
    )
    assert same.fingerprint() == NUCLEOTIDE_VOCABULARY.fingerprint()
    assert swapped.fingerprint() != NUCLEOTIDE_VOCABULARY.fingerprint()
