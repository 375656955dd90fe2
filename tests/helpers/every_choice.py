"""Every random choice of the reverse process and of its populations, enumerated.

The code under test runs once for each path of choices. Where it would draw, it is given a choice
instead, and the probability of the path is the product of those of its choices: tokens by their
distributions, positions and reveals by equally likely cells, resampling by the intervals of its
uniform number on which the same members are copied.
"""

import itertools
import math

import torch

from dnamdlm.diffusion import automaton, categorical, lookahead, population, steering
from dnamdlm.diffusion.randomness import RowNoise, Stream


class Paths:
    """A depth-first walk: `choose` repeats the choices of a path, then takes the first of each."""

    def __init__(self):
        self.path, self.place, self.probability, self.numbers = [], 0, 1.0, {}

    def __iter__(self):
        while True:
            self.place, self.probability, self.numbers = 0, 1.0, {}
            yield self
            assert self.place == len(self.path), "the same choices led to another path"
            while self.path and self.path[-1][0] + 1 == self.path[-1][1]:
                self.path.pop()
            if not self.path:
                return
            number, count = self.path.pop()
            self.path.append((number + 1, count))

    def choose(self, weights):
        """An index of the positive weights, which sum to 1."""
        possible = [i for i, weight in enumerate(weights) if weight > 0]
        if self.place == len(self.path):
            self.path.append((0, len(possible)))
        index = possible[self.path[self.place][0]]
        self.place += 1
        self.probability *= weights[index]
        return index


def expectation(run, monkeypatch, *, cells, twisted):
    """Mean of the tensors that `run()` gives, over all random choices, and the number of paths.

    Args:
        run: the code, which uses noise by `RowNoise` alone.
        monkeypatch: of pytest.
        cells: (stream, draw) -> into how many equally likely parts its numbers fall; 1 elsewhere.
        twisted: whether tokens are drawn by the proposal, so that those of the rule do not matter.
    """
    paths = Paths()

    def drawn(probs, uniforms):
        flat = (probs / probs.sum(-1, keepdim=True)).reshape(-1, probs.shape[-1]).tolist()
        return torch.tensor([paths.choose(p) for p in flat]).view(uniforms.shape).long()

    def first(probs, uniforms):
        return probs.argmax(dim=-1).view(uniforms.shape)

    def uniform(self, stream, draw, *shape):
        count = cells.get((stream, draw), 1)
        flat = []
        for key in self.keys.tolist():
            for index in range(math.prod(shape)):
                address = (stream, draw, key, index)
                if address not in paths.numbers:
                    cell = paths.choose([1 / count] * count)
                    paths.numbers[address] = (cell + 0.5) / count
                flat.append(paths.numbers[address])
        return torch.tensor(flat, dtype=torch.float64).view(len(self.keys), *shape)

    real_ancestors = population.systematic_ancestors

    def ancestors(log_weights, uniforms):
        del uniforms
        (weights,) = log_weights.softmax(dim=1).tolist()
        edges = {0.0, 1.0}
        for number in range(len(weights)):
            edge = len(weights) * sum(weights[: number + 1])
            edges |= {edge - j for j in range(len(weights)) if 0 < edge - j < 1}
        edges = sorted(edges)
        number = paths.choose([b - a for a, b in itertools.pairwise(edges)])
        middle = torch.tensor([(edges[number] + edges[number + 1]) / 2], dtype=torch.float64)
        return real_ancestors(log_weights, middle)

    def chosen(self, uniforms):
        del uniforms
        (weights,) = self.log_weights.softmax(dim=1).tolist()
        return torch.tensor([paths.choose(weights)])

    monkeypatch.setattr(RowNoise, "uniform", uniform)
    monkeypatch.setattr(categorical, "inverse_cdf", first if twisted else drawn)
    monkeypatch.setattr(steering, "inverse_cdf", drawn)
    monkeypatch.setattr(lookahead, "inverse_cdf", drawn)
    monkeypatch.setattr(automaton, "inverse_cdf", drawn)
    monkeypatch.setattr(population, "systematic_ancestors", ancestors)
    monkeypatch.setattr(population.Population, "chosen", chosen)
    total, mass, count = 0.0, 0.0, 0
    for path in paths:
        value = run()
        total, mass, count = total + path.probability * value, mass + path.probability, count + 1
    assert abs(mass - 1) < 1e-12
    return total, count


def positions_of_first_hitting(length):
    """Cells of the positions that first hitting reveals one by one."""
    return {(Stream.POSITIONS, draw): length - draw for draw in range(length)}
