"""The batch that passes from data to models."""

from dataclasses import replace

import torch

from dnamdlm.data.batch import Batch


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
