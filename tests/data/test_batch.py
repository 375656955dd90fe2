"""The batch that passes from data to models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dnamdlm.data.batch import Batch, batch_of_ids
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer


def make_batch(weight):
    return Batch(
        tokens=torch.arange(6).reshape(3, 2),
        present=torch.ones(3, 2, dtype=torch.bool),
        valid=torch.tensor([[True, False]] * 3),
        weight=weight,
        key=torch.tensor([7, 8, 9]),
        row=torch.tensor([3, 4, 5]),
        global_size=12,
        start=torch.tensor([0, 10, 20]),
    )


def test_moving_a_batch_moves_every_tensor():
    moved = make_batch(torch.ones(3, 2)).to("meta")
    assert {moved.tokens.device.type, moved.weight.device.type, moved.start.device.type} == {"meta"}
    assert moved.global_size == 12
    assert make_batch(None).to("cpu").weight is None


def test_chosen_rows_keep_their_identity():
    chosen = make_batch(None).rows(torch.tensor([2, 0]))
    assert len(chosen) == 2
    assert chosen.length == 2
    assert chosen.tokens.tolist() == [[4, 5], [0, 1]]
    assert chosen.key.tolist() == [9, 7]
    assert chosen.row.tolist() == [5, 3]
    assert chosen.start.tolist() == [20, 0]
    assert chosen.global_size == 12


def test_a_batch_knows_whether_it_holds_padding() -> None:
    full = torch.ones(2, 3, dtype=torch.bool)
    ragged = full.clone()
    ragged[1, 2] = False
    batch = Batch(
        torch.zeros(2, 3).long(), ragged, ragged, None, torch.arange(2), torch.arange(2), 2
    )
    whole = replace(batch, present=full, full=None)
    assert whole.attended is None
    assert batch.attended is ragged
    assert batch.rows(slice(0, 1)).attended is None
    assert whole.rows(slice(0, 1)).attended is None


def encoded(*texts):
    return [NucleotideTokenizer().encode(text) for text in texts]


@pytest.mark.parametrize("pad_left", [False, True])
@pytest.mark.parametrize("length", [None, 7])
def test_sequences_become_rows_with_padding_on_one_side(pad_left, length):
    texts = ["ACGTN", "TT", ""]
    batch = batch_of_ids(encoded(*texts), NUCLEOTIDE_VOCABULARY, length=length, pad_left=pad_left)
    width = length or 5
    pad = NUCLEOTIDE_VOCABULARY.pad_id
    for row, text in enumerate(texts):
        blanks = [None] * (width - len(text))
        letters = [*blanks, *text] if pad_left else [*text, *blanks]
        ids = [pad if x is None else int(encoded(x)[0][0]) for x in letters]
        assert batch.tokens[row].tolist() == ids
        assert batch.present[row].tolist() == [x is not None for x in letters]
        assert batch.valid[row].tolist() == [x not in (None, "N") for x in letters]
    assert batch.row.tolist() == [0, 1, 2]
    assert batch.global_size == 3
    assert batch.key.tolist() == [0, 0, 0]
    assert batch.weight is batch.start is batch.label is None
    assert batch.full is False


def test_rows_without_padding_are_known_to_be_full_and_keep_their_keys():
    keys = torch.tensor([5, -6])
    batch = batch_of_ids(encoded("AC", "GT"), NUCLEOTIDE_VOCABULARY, keys=keys)
    assert batch.attended is None
    assert batch.key.tolist() == [5, -6]
    assert batch.tokens.dtype == torch.int64


def test_ids_of_any_integer_type_are_taken():
    rows = [np.array([7, 8], dtype=kind) for kind in (np.uint8, np.int32, np.int64)]
    batch = batch_of_ids(rows, NUCLEOTIDE_VOCABULARY)
    assert batch.tokens.tolist() == [[7, 8]] * 3
