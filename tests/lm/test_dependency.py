"""Dependency maps against the interactions of an enumerated distribution."""

import numpy as np
import pytest
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.dependency import DependencyMap, dependency_map
from dnamdlm.lm.masked import MaskedDiffusionLM
from tests.helpers.oracle import OracleBackbone, TabulatedLaw

LAW = TabulatedLaw(length=4, num_symbols=3, seed=5)


def window(tokens):
    ids = torch.tensor([tokens])
    seen, zero = torch.ones_like(ids, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    return Batch(ids, seen, seen, None, key=zero, row=zero, global_size=1)


@pytest.fixture
def lm():
    return MaskedDiffusionLM(OracleBackbone(LAW), LAW.vocabulary)


def interaction(law, tokens, i, j):
    """Log p of the table of bases at i and j, centred over rows and columns; Frobenius norm."""
    table = torch.empty(law.num_symbols, law.num_symbols, dtype=torch.float64)
    for a in range(law.num_symbols):
        for b in range(law.num_symbols):
            changed = torch.tensor(tokens)
            changed[i], changed[j] = a, b
            table[a, b] = law.probs[law.index_of(changed[None])].log()
    centred = table - table.mean(0, keepdim=True)
    return float((centred - centred.mean(1, keepdim=True)).square().sum().sqrt())


def test_hiding_one_position_at_a_time_gives_the_interactions_of_the_distribution(lm):
    tokens = [0, 2, 1, 0]
    found = dependency_map(lm, window(tokens), stride=4)
    for i in range(4):
        for j in range(4):
            expected = 0.0 if i == j else interaction(LAW, tokens, i, j)
            # float64 throughout; centring 3 x 3 numbers of size 10 loses a few eps.
            assert found.norms[i, j] == pytest.approx(expected, abs=1e-12)
    assert found.asymmetry == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_a_wider_stride_hides_every_position_but_the_changed_one(lm, stride, batch_size):
    tokens = [1, 0, 2, 2]
    found = dependency_map(lm, window(tokens), stride=stride, batch_size=batch_size)
    by_hand = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            if i == j:
                continue
            hidden = [k for k in range(4) if k % stride == j % stride and k != i]
            rows = torch.tensor([tokens] * 3)
            rows[:, i] = torch.arange(3)
            rows[:, hidden] = LAW.mask_id
            table = LAW.log_probs(rows)[:, j, :3]
            centred = table - table.mean(0, keepdim=True)
            by_hand[i, j] = (centred - centred.mean(1, keepdim=True)).square().sum().sqrt()
    assert found.norms == pytest.approx((by_hand + by_hand.T) / 2, abs=1e-12)
    gap = np.abs(by_hand - by_hand.T).sum() / ((by_hand + by_hand.T) / 2).sum()
    assert found.asymmetry == pytest.approx(gap, abs=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_influence_of_an_exchange_is_how_far_it_moves_the_other_positions(lm, stride):
    tokens = [1, 0, 2, 2]
    found = dependency_map(lm, window(tokens), stride=stride).influences
    for i in range(4):
        moved = np.zeros((3, 4))
        for j in range(4):
            if i == j:
                continue
            rows = torch.tensor([tokens] * 3)
            rows[:, i] = torch.arange(3)
            rows[:, [k for k in range(4) if k % stride == j % stride and k != i]] = LAW.mask_id
            logits = torch.logit(LAW.log_probs(rows)[:, j, :3].exp())
            moved[:, j] = (logits - logits[tokens[i]]).abs().max(dim=1).values
        # float64; a logit of size 10 keeps 1e-15 of its size.
        assert found[i] == pytest.approx(moved.sum(axis=1) / 3, abs=1e-12)
        assert found[i, tokens[i]] == 0


def test_probabilities_that_round_to_one_have_finite_influences():
    law = TabulatedLaw(length=2, num_symbols=3, seed=1)
    same = law.sequences[:, 0] == law.sequences[:, 1]
    rare = torch.tensor(1e-30, dtype=torch.float64)
    law.probs = torch.where(same, 1 / 3 + rare, rare)
    lm = MaskedDiffusionLM(OracleBackbone(law), law.vocabulary)
    found = dependency_map(lm, window([0, 0]), stride=2).influences
    # the odds of symbol 0 are 1/3 to 2e-30 before, and 1e-30 to 1/3 after its neighbour changes.
    expected = np.log(1 / 3 / 2e-30) - np.log(1e-30 / (1 / 3))
    assert found == pytest.approx(np.array([[0, expected, expected]] * 2), rel=1e-12)


class Copier(OracleBackbone):
    """Float32 logits of 20 for the symbol before, whose probability rounds to 1."""

    def forward(self, tokens, time, present):
        return 20 * torch.nn.functional.one_hot(tokens.roll(1, 1), len(LAW.vocabulary)).float()


def test_influences_of_a_sure_network_of_float32_are_those_of_its_logits():
    lm = MaskedDiffusionLM(Copier(LAW), LAW.vocabulary)
    found = dependency_map(lm, window([0, 0]), stride=2).influences
    # from 20 to 0 nats above each of two others, and back: the odds of the symbol.
    expected = 20 - np.log(2) - (0 - np.log(np.exp(20) + 1))
    # float32 log-probabilities of size 20.
    assert found == pytest.approx(np.array([[0, expected, expected]] * 2), abs=64 * 2.0**-23)


def test_a_stretch_sees_the_rest_of_its_window(lm):
    tokens = [0, 2, 1, 0]
    whole = dependency_map(lm, window(tokens), stride=4)
    part = dependency_map(lm, window(tokens), start=1, end=3, stride=4)
    assert part.norms == pytest.approx(whole.norms[1:3, 1:3], abs=1e-12)


def test_positions_of_an_independent_law_do_not_depend_on_each_other():
    law = TabulatedLaw(length=3, num_symbols=3, seed=1)
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    law.probs = shares[law.sequences].prod(dim=1)
    lm = MaskedDiffusionLM(OracleBackbone(law), law.vocabulary)
    assert dependency_map(lm, window([0, 1, 2]), stride=3).norms == pytest.approx(0, abs=1e-12)


def test_the_strongest_pairs_keep_their_distance():
    norms = np.array([[0.0, 9, 5, 7], [9, 0, 8, 6], [5, 8, 0, np.nan], [7, 6, np.nan, 0]])
    found = DependencyMap(norms, 0.0, np.zeros((4, 4)))
    assert found.strongest(9, 2) == [(0, 3, 7.0), (1, 3, 6.0), (0, 2, 5.0)]
    assert found.strongest(1, 0) == [(0, 1, 9.0)]


@pytest.mark.parametrize("wrong", [{"start": 2, "end": 9}, {"stride": 0}, {"batch_size": 0}])
def test_what_cannot_be_mapped_is_refused(lm, wrong):
    with pytest.raises(ConfigError):
        dependency_map(lm, window([0, 1, 2, 0]), **wrong)
