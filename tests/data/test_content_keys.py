"""Noise keys from the tokens of a sequence."""

import itertools

import torch

from dnamdlm.data.content_keys import content_keys

PAD = 4


def _keys(rows, seed=0):
    """Keys of rows of unequal length, padded on the right."""
    length = max(map(len, rows))
    tokens = torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows])
    return content_keys(tokens, tokens != PAD, seed)


def test_a_key_does_not_depend_on_the_other_rows_their_order_or_the_padding():
    rows = [(7, 8, 9, 10), (7,), (10, 10, 3, 11, 7, 8)]
    together = _keys(rows)
    assert torch.equal(_keys(rows[::-1]), together.flip(0))
    for row, key in zip(rows, together, strict=True):
        assert _keys([row])[0] == key


def test_padding_before_a_sequence_does_not_change_its_key():
    tokens = torch.tensor([[PAD, PAD, 7, 8, 9]])
    assert torch.equal(content_keys(tokens, tokens != PAD, 3), _keys([(7, 8, 9)], seed=3))


def test_all_sequences_of_up_to_seven_bases_have_keys_of_their_own():
    rows = [row for length in range(1, 8) for row in itertools.product(range(7, 11), repeat=length)]
    # 21,844 keys of 64 bits: two agree by chance with probability 1e-11.
    assert len(_keys(rows).unique()) == len(rows)


def test_a_seed_gives_other_keys():
    rows = [(7, 8, 9), (7, 8, 10)]
    first, second = _keys(rows, seed=0), _keys(rows, seed=1)
    assert not bool((first == second).any())
    assert torch.equal(_keys(rows, seed=2**64), first)


def test_every_bit_of_a_key_is_set_in_half_of_the_sequences():
    rows = list(itertools.product(range(7, 11), repeat=6))
    keys = _keys(rows)
    shares = torch.stack([(keys >> bit & 1).double().mean() for bit in range(64)])
    # a mean of 4096 bits has a standard deviation of 1 / 128; 64 of them stay within 4.5.
    assert bool(((shares - 0.5).abs() < 4.5 / 128).all())
