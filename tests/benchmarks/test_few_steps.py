"""What two steps give that one does not, by definition, over three symbols."""

import itertools

import torch

from benchmarks.trained import codes_of
from benchmarks.two_step_gaps import gaps_of_draws, gaps_of_model
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.two_steps import two_steps
from dnamdlm.lm.masked import MaskedDiffusionLM
from tests.helpers.oracle import OracleBackbone, TabulatedLaw
from tests.helpers.table_networks import TableNetwork, marginals, step_kernel, wrong_table

LAW, TABLE = wrong_table()
STATES = LAW.partial_sequences()
HIDDEN = LAW.mask_id == STATES
PROBS = TABLE.log_probs(STATES).exp()
STEPS = two_steps(4, torch.full((len(STATES),), 0.7, dtype=torch.float64), LogLinear())


def _marginals():
    """q(x_i | state) after two steps, at hidden positions."""
    kernel = step_kernel(LAW, PROBS, float(STEPS.first[0]))
    joint = kernel @ step_kernel(LAW, PROBS, float(STEPS.second[0]))
    q = marginals(LAW, joint)[..., : LAW.vocab_size].clone()
    q[..., 3:] = 0
    return torch.where(HIDDEN.unsqueeze(-1), q / float(STEPS.both[0]), PROBS)


def _path_divergence(q):
    """KL of paths of two steps from those of one step with the distributions q, by definition."""
    first, second = float(STEPS.first[0]), float(STEPS.second[0])
    early, late = step_kernel(LAW, PROBS, first), step_kernel(LAW, PROBS, second)
    own = step_kernel(LAW, q, first)
    found = torch.zeros(len(STATES), dtype=torch.float64)
    for row in range(len(STATES)):
        # in the second step the student still has what it predicted before the first.
        shown = torch.nn.functional.one_hot(STATES, LAW.vocab_size).double()
        frozen = torch.where(HIDDEN.unsqueeze(-1), q[row], shown)
        ratio = (early[row, :, None] * late) / (
            own[row, :, None] * step_kernel(LAW, frozen, second)
        ).clamp(min=1e-300)
        path = early[row, :, None] * late
        found[row] = torch.special.xlogy(path, ratio.clamp(min=1e-300)).sum()
    return found


def test_both_divergences_are_those_of_their_definitions():
    between = step_kernel(LAW, PROBS, float(STEPS.first[0]))
    of_paths, of_marginals = torch.zeros(2, len(STATES), dtype=torch.float64)
    for pair in itertools.product(range(len(STATES)), repeat=2):
        xm = STATES[list(pair)].unsqueeze(1).expand(-1, len(STATES), -1)
        at_m = PROBS[list(pair)].unsqueeze(1).expand(-1, len(STATES), -1, -1).log()
        found = gaps_of_draws(PROBS.log(), at_m, STATES, xm, STEPS, mask_id=LAW.mask_id)
        share = between[:, pair[0]] * between[:, pair[1]]
        # states that cannot follow have no share, and their divergences no meaning.
        of_paths += torch.where(share > 0, share * found.of_paths, 0.0)
        of_marginals += torch.where(share > 0, share * found.of_marginals, 0.0)
    q, real = _marginals(), slice(0, 3)
    assert (of_paths - _path_divergence(PROBS)).abs().max() < 1e-12
    moved = (q - PROBS)[..., real] ** 2 / PROBS[..., real].clamp(min=1e-300)
    chi_square = torch.where(HIDDEN.unsqueeze(-1), moved, 0.0).sum(dim=(1, 2))
    assert (of_marginals - STEPS.both * chi_square / 2).abs().max() < 1e-12
    assert of_marginals.max() > 1e-3
    # what a student learns, and what it cannot, add up to the whole.
    learned = torch.special.xlogy(q, q / PROBS.clamp(min=1e-300)).sum(dim=-1)
    learned = STEPS.both * torch.where(HIDDEN, learned, 0.0).sum(dim=1)
    assert (learned + _path_divergence(q) - of_paths).abs().max() < 1e-12


def test_a_model_with_nothing_to_learn_has_no_gap_of_marginals():
    law = TabulatedLaw(2, num_symbols=3)
    tokens = law.sequences.repeat(60, 1)
    keys = row_keys(5, torch.arange(len(tokens)))
    exact, wrong = (
        gaps_of_model(MaskedDiffusionLM(network, law.vocabulary).eval(), tokens, keys, 4, draws=2)
        for network in (OracleBackbone(law), TableNetwork(law, 3))
    )
    assert exact[0].mean() > 1e-3
    assert exact[1].mean().abs() < 4 * exact[1].std() / len(tokens) ** 0.5
    assert wrong[1].mean() > 4 * wrong[1].std() / len(tokens) ** 0.5


def test_codes_are_those_of_bases():
    (codes,) = codes_of(torch.tensor([[7, 8, 9, 10, 11, 4]]))
    assert codes.tolist() == [0, 1, 2, 3, 4, 4]
