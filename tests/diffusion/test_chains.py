"""Conditionals of a Markov chain given any visible bases, against enumeration."""

import itertools

import pytest
import torch

from dnamdlm.diffusion.chains import HIDDEN, NOT_A_BASE, chain_conditionals

LENGTH = 4
SEQUENCES = torch.tensor(list(itertools.product(range(4), repeat=LENGTH)))
# float64 sums of at most 256 terms.
TOLERANCE = 1e-10


def random_tables(order: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(order)
    return [
        torch.randn(4**j, 4, generator=generator, dtype=torch.float64).log_softmax(-1)
        for j in range(order + 1)
    ]


def law(tables: list[torch.Tensor]) -> torch.Tensor:
    """log Q of every sequence, from left to right."""
    totals = []
    for sequence in SEQUENCES.tolist():
        total = 0.0
        for i, base in enumerate(sequence):
            context = 0
            for earlier in sequence[max(0, i - len(tables) + 1) : i]:
                context = 4 * context + earlier
            total += float(tables[min(i, len(tables) - 1)][context, base])
        totals.append(total)
    return torch.tensor(totals, dtype=torch.float64)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 5])
def test_conditionals_equal_those_of_the_enumerated_law(order):
    tables = random_tables(order)
    weights = law(tables).exp()
    for hidden in itertools.product([False, True], repeat=LENGTH):
        codes = torch.where(torch.tensor(hidden), HIDDEN, SEQUENCES[137])
        found = chain_conditionals(codes[None], tables)[0].exp()
        for i in range(LENGTH):
            others = [j for j in range(LENGTH) if j != i and not hidden[j]]
            agrees = (SEQUENCES[:, others] == SEQUENCES[137, others]).all(1)
            joint = torch.stack(
                [weights[agrees & (SEQUENCES[:, i] == base)].sum() for base in range(4)]
            )
            assert torch.allclose(found[i], joint / joint.sum(), rtol=0, atol=TOLERANCE)


def test_every_order_of_reveals_costs_the_exact_likelihood():
    tables = random_tables(2)
    exact = -law(tables)
    for reveals in itertools.permutations(range(LENGTH)):
        codes = torch.full_like(SEQUENCES, HIDDEN)
        nats = torch.zeros(len(SEQUENCES), dtype=torch.float64)
        for i in reveals:
            found = chain_conditionals(codes, tables)[:, i]
            nats -= found.gather(1, SEQUENCES[:, i, None])[:, 0]
            codes[:, i] = SEQUENCES[:, i]
        assert torch.allclose(nats, exact, rtol=0, atol=TOLERANCE)


def test_what_is_not_a_base_separates_the_chain():
    tables = random_tables(2)
    codes = torch.tensor([[1, HIDDEN, NOT_A_BASE, HIDDEN, 3]])
    found = chain_conditionals(codes, tables)
    assert torch.equal(found[:, :2], chain_conditionals(codes[:, :2], tables))
    assert torch.equal(found[:, 3:], chain_conditionals(codes[:, 3:], tables))
    assert torch.allclose(found[0, 2].exp(), torch.full((4,), 0.25, dtype=torch.float64))
