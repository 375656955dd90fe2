"""Enumerated laws of two or three positions, and populations in their reverse process."""

import torch

from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.guidance import classifier_free
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import FirstHitting
from tests.helpers.every_choice import positions_of_first_hitting
from tests.helpers.oracle import TabulatedLaw

PAIRS = TabulatedLaw(length=2, seed=1)


PAIRS_OF_THREE = TabulatedLaw(length=2, num_symbols=3, seed=2)


TRIPLES = TabulatedLaw(length=3, seed=3)


TRIPLES_OF_THREE = TabulatedLaw(length=3, num_symbols=3, seed=1003)


def rewards_of(law, seed=5):
    """r / a of each sequence of a law."""
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(len(law.sequences), generator=generator, dtype=torch.float64)


def reward_of(law):
    return lambda ids: rewards_of(law)[law.index_of(ids)]


def wrong_value(xt, _time):
    """A value that has nothing to do with the reward."""
    return torch.sin(3.0 * (xt * torch.tensor([5, 3, 2])[: xt.shape[1]]).sum(dim=-1).double() + 1)


def exact_value(law, rewards):
    return lambda xt, _time: (law.posterior(xt) @ rewards.exp()).log()


def run_steered(law, tilt, *, keys=None, rule=None, steps=1, denoise=None, **settings):
    """All slots after the reverse process, and the outcome."""
    keys = row_keys(0, torch.arange(1)) if keys is None else keys
    totals = settings.pop("counts_totals", False)
    steering = Steering(tilt, keys, mask_id=law.mask_id, counts_totals=totals, remembers=True)
    generated = reverse_process(
        denoise or (lambda xt, _time, _rows: law.log_probs(xt)),
        torch.full((len(steering.keys), law.length), law.mask_id),
        rule=rule or FirstHitting(),
        schedule=LogLinear(),
        times=linear_grid(steps),
        mask_id=law.mask_id,
        noise=RowNoise(steering.keys),
        steering=steering,
        **settings,
    )
    return generated, steering.finished(generated.tokens)


def weighted_place(law, tilt, **settings):
    """The estimate of Z at the place of the sequence that was drawn."""
    generated, outcome = run_steered(law, tilt, **settings)
    place = law.index_of(generated.tokens[outcome.rows])
    found = torch.zeros(len(law.sequences), dtype=torch.float64)
    found[place] = outcome.log_z.exp()
    return found


HITS = {law: positions_of_first_hitting(law.length) for law in (PAIRS, PAIRS_OF_THREE)}


OF_CLASS = TabulatedLaw(length=2, num_symbols=3, seed=7)


def guided(law, gamma):
    """Unnormalised mixture of the law with a class and without it."""
    return lambda xt, _time, _rows: classifier_free(
        OF_CLASS.log_probs(xt), law.log_probs(xt), gamma, normalized=False
    )


def mixture_of(law, gamma):
    return OF_CLASS.probs**gamma * law.probs ** (1 - gamma)
