"""Networks that are tables over all states of a few symbols, and their steps, enumerated."""

import torch
from torch import nn

from dnamdlm.diffusion.parameterization import substitution
from tests.helpers.oracle import TabulatedLaw


class TableNetwork(nn.Module):
    """Arbitrary predictions for each state of a law: those of no distribution over sequences."""

    def __init__(self, law, seed=0, *, time_conditioning=False):
        super().__init__()
        self.law, self.vocab_size = law, law.vocab_size
        self.time_conditioning = time_conditioning
        generator = torch.Generator().manual_seed(seed)
        num_states = (law.num_symbols + 1) ** law.length
        sizes = (2, num_states, law.length, law.num_symbols)
        self.logits = nn.Parameter(torch.randn(sizes, generator=generator, dtype=torch.float64))

    def forward(self, tokens, time=None, present=None):
        base = self.law.num_symbols + 1
        powers = base ** torch.arange(self.law.length - 1, -1, -1)
        level, slope = self.logits[:, (tokens * powers).sum(dim=1)]
        found = level if time is None else level + time.double()[:, None, None] * slope
        return torch.cat([found, torch.zeros(*tokens.shape, 2, dtype=torch.float64)], dim=-1)

    def hidden(self, tokens, time=None, present=None):
        return self(tokens, time, present)

    def head(self, states):
        return states

    def log_probs(self, xt):
        law, logits = self.law, self(xt).detach()
        return substitution(logits, xt, real_tokens=law.real_tokens, mask_id=law.mask_id)


def wrong_table(length=2, seed=0):
    """The law of three symbols that gives states and ids, and a table that is not its own."""
    law = TabulatedLaw(length, num_symbols=3, seed=seed)
    return law, TableNetwork(law, seed + 1)


def step_kernel(law, probs, reveal):
    """Probability of each state after one ancestral step from each state, (S, S), by definition.

    Args:
        law: of the states.
        probs: p(x0 | state) of a denoiser, (S, L, V).
        reveal: probability that a hidden token is revealed.
    """
    states, mask = law.partial_sequences(), law.mask_id
    kernel = torch.zeros(len(states), len(states), dtype=torch.float64)
    table = probs.tolist()
    for i, before in enumerate(states.tolist()):
        for j, after in enumerate(states.tolist()):
            chance = 1.0
            for place, (old, new) in enumerate(zip(before, after, strict=True)):
                if old != mask:
                    chance *= float(old == new)
                else:
                    chance *= 1 - reveal if new == mask else reveal * table[i][place][new]
            kernel[i, j] = chance
    return kernel


def marginals(law, kernel):
    """Marginals of each position over symbols and mask, of each row of a kernel, (S, L, V)."""
    one_hot = nn.functional.one_hot(law.partial_sequences(), law.vocab_size).double()
    return torch.einsum("ij,jlv->ilv", kernel, one_hot)


def product_of(law, of_positions):
    """The kernel whose positions are independent with given marginals."""
    states = law.partial_sequences()
    found = torch.ones(len(states), len(states), dtype=torch.float64)
    for place in range(law.length):
        found *= of_positions[:, place][:, states[:, place]]
    return found
