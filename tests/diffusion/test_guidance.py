"""Guidance against Bayes' rule on an enumerated space."""

import pytest
import torch

from dnamdlm.diffusion.guidance import (
    classifier_based,
    classifier_free,
    exact_ratios,
    first_order_ratios,
)
from tests.helpers.oracle import TabulatedLaw

LAW = TabulatedLaw(length=4, num_symbols=3, seed=3)
STATES = LAW.partial_sequences()
HIDDEN = STATES.eq(LAW.mask_id)
GENERATOR = torch.Generator().manual_seed(5)
OF_CLASS = torch.rand(len(LAW.sequences), generator=GENERATOR, dtype=torch.float64)


def _classifier(tokens, rows):
    """log p(y | visible tokens), exact: the average of p(y | x) over p(x | visible tokens)."""
    assert rows.shape == tokens.shape[:1]
    return (LAW.posterior(tokens) @ OF_CLASS).log()


def _conditional_law():
    """log p(x_i | visible tokens, y) from the joint distribution of x and y."""
    joint = TabulatedLaw(length=4, num_symbols=3, seed=3)
    joint.probs = LAW.probs * OF_CLASS / (LAW.probs * OF_CLASS).sum()
    return joint.log_probs(STATES)


def _guided(gamma):
    ratios = exact_ratios(_classifier, STATES, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id)
    return classifier_based(LAW.log_probs(STATES), ratios, gamma)


def test_an_exact_classifier_gives_bayes_rule_in_every_state():
    torch.testing.assert_close(_guided(1.0).exp(), _conditional_law().exp(), rtol=1e-10, atol=1e-12)


def test_no_guidance_changes_nothing_and_more_sharpens():
    torch.testing.assert_close(_guided(0.0), LAW.log_probs(STATES))
    # strength 2: the distribution times the square of the ratio due to the class, normalised.
    squared = 2 * _conditional_law() - LAW.log_probs(STATES)
    expected = squared.nan_to_num(nan=-torch.inf).softmax(dim=-1)
    torch.testing.assert_close(_guided(2.0).exp(), expected)


def test_the_ratios_leave_visible_positions_and_unreal_tokens_alone():
    ratios = exact_ratios(_classifier, STATES, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id)
    assert bool((ratios[~HIDDEN] == 0).all())
    assert bool((ratios[..., LAW.num_symbols :] == 0).all())
    some = torch.arange(4).remainder(2).eq(0).expand_as(HIDDEN)
    part = exact_ratios(
        _classifier, STATES, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id, wanted=some
    )
    assert torch.equal(part, ratios * some.unsqueeze(-1))
    nothing = exact_ratios(
        _classifier, LAW.sequences, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id
    )
    assert bool((nothing == 0).all())


def test_one_gradient_is_exact_for_a_linear_classifier():
    slope = torch.randn(4, LAW.vocab_size, generator=GENERATOR, dtype=torch.float64)

    def soft(one_hot):
        return torch.einsum("nlv,lv->n", one_hot, slope)

    def hard(tokens, _rows):
        return slope[torch.arange(4), tokens].sum(dim=-1)

    exact = exact_ratios(hard, STATES, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id)
    first = first_order_ratios(soft, STATES, num_tokens=LAW.vocab_size, dtype=torch.float64)
    real = HIDDEN.unsqueeze(-1) & LAW.real_tokens
    torch.testing.assert_close(first[real], exact[real])
    assert not first.requires_grad


def test_a_classifier_is_told_which_row_a_change_was_made_in():
    asked = []

    def note(tokens, rows):
        asked.append((tokens, rows))
        return _classifier(tokens, rows)

    exact_ratios(note, STATES, real_tokens=LAW.real_tokens, mask_id=LAW.mask_id)
    (first, all_rows), (edited, rows) = asked
    assert torch.equal(first, STATES)
    assert torch.equal(all_rows, torch.arange(len(STATES)))
    assert len(edited) == int(HIDDEN.sum()) * LAW.num_symbols
    assert bool((edited != STATES[rows]).sum(dim=-1).eq(1).all())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.0])
def test_classifier_free_guidance_mixes_the_logarithms(gamma):
    conditional, unconditional = _conditional_law(), LAW.log_probs(STATES)
    mixed = classifier_free(conditional, unconditional, gamma)
    weights = conditional.exp() ** gamma * unconditional.exp() ** (1 - gamma)
    weights = weights.nan_to_num(nan=0.0, posinf=0.0)
    torch.testing.assert_close(mixed.exp(), weights / weights.sum(-1, keepdim=True))


def test_classifier_free_guidance_at_strength_one_with_exact_laws_is_bayes_rule():
    mixed = classifier_free(_conditional_law(), LAW.log_probs(STATES), 1.0)
    torch.testing.assert_close(mixed.exp(), _conditional_law().exp())


def test_a_class_that_excludes_a_token_excludes_it():
    law = torch.tensor([[[0.5, 0.5]]]).double().log()
    only_first = torch.tensor([[[0.0, -torch.inf]]]).double()
    for gamma in (0.5, 2.0):
        assert classifier_free(only_first, law, gamma).exp().tolist() == [[[1.0, 0.0]]]
        assert classifier_based(law, only_first, gamma).exp().tolist() == [[[1.0, 0.0]]]
    assert classifier_based(law, only_first, 0.0).exp().tolist() == [[[0.5, 0.5]]]
