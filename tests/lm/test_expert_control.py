"""A control variate of the bound, against the enumeration of all masks."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from dnamdlm.backbones.dit import DiT
from dnamdlm.data.variants.variant_windows import PairOfWindows
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.expert_control import control_of, expected_surprise, expert_surprise
from dnamdlm.lm.states.variant_scores import bound_difference, make_pairs
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.words.kmers import add_reverse_complement

MASK, N = 3, 11
REFERENCE = [7, 10, 9, 8, 8, 7]
CHANGES = {
    "one base": ([7, 10, 8, 8, 8, 7], [0, 1, 2, 3, 4, 5]),
    "insertion": ([7, 10, 9, 10, 8, 8], [0, 1, 2, 18, 3, 4]),
    "beside N": ([7, N, 9, 8, 10, 7], [0, 1, 2, 3, 4, 5]),
}


def model(*, is_expert_alone=False):
    torch.manual_seed(1)
    lm = MaskedDiffusionLM(DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY, experts=Experts((2,))).double()
    counts = add_reverse_complement(np.random.default_rng(0).integers(0, 40, 4**5))
    control_of(lm).load_state_dict({"counts": torch.from_numpy(counts).int()})
    if not is_expert_alone:
        for parameter in lm.parameters():
            nn.init.normal_(parameter, std=0.3)
    return lm.eval()


def pairs_of(change, num_copies=1):
    alternative, slots = CHANGES[change]
    reference = [N if alt == N else ref for ref, alt in zip(REFERENCE, alternative, strict=True)]
    differs = np.flatnonzero(np.array(reference) != alternative)
    site = int(differs[0]) if len(differs) == 1 else -1
    windows = [
        PairOfWindows(np.array(reference), np.array(alternative), np.array(slots), site, start)
        for start in range(num_copies)
    ]
    return make_pairs(windows, NUCLEOTIDE_VOCABULARY, 0)


def bound_by_enumeration(batch, surprise):
    """The mean over k of n / k times the mean over sets of k hidden bases, of one row."""
    tokens, places = batch.tokens, batch.valid[0].nonzero().flatten().tolist()
    total = 0.0
    for k in range(1, len(places) + 1):
        for chosen in itertools.combinations(places, k):
            hidden = tokens.clone()
            hidden[0, list(chosen)] = MASK
            weight = 1 / k / math.comb(len(places), k)
            total += weight * float(surprise(hidden, tokens))
    return total


def surprise_of_model(lm):
    @torch.no_grad()
    def surprise(hidden, tokens):
        log_probs = lm.denoise(hidden).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return -log_probs[hidden == MASK].sum()

    return surprise


@pytest.mark.parametrize("change", CHANGES)
def test_the_mean_of_an_expert_is_that_over_all_masks(change):
    expert = control_of(model())
    batch = pairs_of(change).alternative
    exact = bound_by_enumeration(batch, lambda x, y: expert_surprise(expert, x, y, MASK))
    found = expected_surprise(expert, batch.tokens, batch.valid)
    assert float(found) == pytest.approx(exact, abs=1e-10)


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_is_its_expert_has_no_noise_left(change):
    lm = model(is_expert_alone=True)
    pairs = pairs_of(change)
    value, error = bound_difference(lm, pairs, draws=4, control=control_of(lm))
    surprise = surprise_of_model(lm)
    exact = bound_by_enumeration(pairs.reference, surprise)
    exact -= bound_by_enumeration(pairs.alternative, surprise)
    # the weight of a count of masks is a float32 number in the loss, and a float64 number here.
    assert float(value) == pytest.approx(exact, abs=1e-5)
    assert float(error) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("change", CHANGES)
def test_with_and_without_the_control_the_same_number_is_estimated(change):
    lm = model()
    pairs, surprise = pairs_of(change, num_copies=300), surprise_of_model(lm)
    exact = bound_by_enumeration(pairs.reference.rows(torch.tensor([0])), surprise)
    exact -= bound_by_enumeration(pairs.alternative.rows(torch.tensor([0])), surprise)
    for control in (None, control_of(lm)):
        values, _ = bound_difference(lm, pairs, draws=4, control=control)
        error = float(values.std()) / len(values) ** 0.5
        assert abs(float(values.mean()) - exact) < 4 * error


def test_a_model_without_a_table_of_patterns_has_no_control():
    assert control_of(MaskedDiffusionLM(DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY)) is None
