"""The forward process: what is hidden, how often, and what never is."""

import itertools

import pytest
import torch

from dnamdlm.diffusion.masking import corrupt, mask_exactly, mask_tokens
from dnamdlm.diffusion.randomness import RowNoise, row_keys

MASK = 9


def _uniforms(rows, length, seed=0):
    return RowNoise(row_keys(seed, torch.arange(rows))).uniform(0, 0, length)


def test_tokens_are_masked_at_the_rate_of_their_row():
    x0 = torch.zeros(3, 20_000, dtype=torch.int64)
    rate = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    xt = mask_tokens(
        x0, rate, torch.ones_like(x0, dtype=torch.bool), _uniforms(3, 20_000), mask_id=MASK
    )
    share = (xt == MASK).double().mean(dim=1)
    assert share[0] == 0
    assert share[2] == 1
    # 4 standard errors of a share of 0.3 among 20,000
    assert abs(share[1] - 0.3) < 4 * (0.21 / 20_000) ** 0.5


def test_positions_that_are_not_maskable_keep_their_token():
    x0 = torch.arange(8).reshape(2, 4)
    maskable = torch.tensor([[True, False, True, False]] * 2)
    original = x0.clone()
    xt = mask_tokens(x0, torch.ones(2), maskable, _uniforms(2, 4), mask_id=MASK)
    assert torch.equal(xt == MASK, maskable)
    assert torch.equal(xt[~maskable], x0[~maskable])
    assert torch.equal(x0, original)


def test_exactly_the_asked_number_is_masked():
    x0 = torch.zeros(5, 12, dtype=torch.int64)
    maskable = torch.ones_like(x0, dtype=torch.bool)
    maskable[:, 7:] = False
    count = torch.tensor([0, 1, 4, 7, 12])
    xt = mask_exactly(x0, count, maskable, _uniforms(5, 12), mask_id=MASK)
    assert (xt == MASK).sum(dim=1).tolist() == [0, 1, 4, 7, 7]
    assert not (xt == MASK)[:, 7:].any()


def test_every_subset_of_the_asked_size_is_equally_likely():
    rows = 12_000
    x0 = torch.zeros(rows, 5, dtype=torch.int64)
    maskable = torch.tensor([True, True, False, True, True]).expand(rows, 5)
    xt = mask_exactly(x0, torch.full((rows,), 2), maskable, _uniforms(rows, 5), mask_id=MASK)
    places = [0, 1, 3, 4]
    counts = torch.tensor(
        [
            float(((xt[:, a] == MASK) & (xt[:, b] == MASK)).sum())
            for a, b in itertools.combinations(places, 2)
        ]
    )
    assert counts.sum() == rows
    # 5 degrees of freedom: 20.5 is the 0.999 quantile.
    assert ((counts - rows / 6) ** 2 / (rows / 6)).sum() < 20.5


def test_corruption_chooses_masks_replaces_and_keeps_in_the_given_shares():
    rows, length = 200, 1000
    uniforms = torch.rand(rows, length, 3, generator=torch.Generator().manual_seed(0))
    x0 = torch.full((rows, length), 8)
    maskable = torch.ones_like(x0, dtype=torch.bool)
    maskable[:, :100] = False
    xt, chosen = corrupt(x0, maskable, uniforms, real_ids=(7, 8, 9, 10), mask_id=3)
    assert not bool(chosen[:, :100].any())
    assert torch.equal(xt[~chosen], x0[~chosen])
    count = chosen.sum().item()
    # four standard deviations of a binomial share.
    assert count / (rows * 900) == pytest.approx(0.15, abs=4 * (0.15 * 0.85 / 180_000) ** 0.5)
    share = {token: ((xt == token) & chosen).sum().item() / count for token in range(12)}
    for token, expected in ((3, 0.8), (7, 0.025), (8, 0.125), (9, 0.025), (10, 0.025)):
        spread = (expected * (1 - expected) / count) ** 0.5
        assert share[token] == pytest.approx(expected, abs=4 * spread)
    assert sum(share[token] for token in (3, 7, 8, 9, 10)) == pytest.approx(1.0)
