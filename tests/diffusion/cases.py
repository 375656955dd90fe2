"""Every noise schedule and step rule, once; a new one gets all tests of its kind."""

import torch

from dnamdlm.diffusion.analytic import Analytic
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.confidence import ORDERS, EntropyBounded, SurestFirst, Threshold
from dnamdlm.diffusion.randomness import RowNoise, row_keys
from dnamdlm.diffusion.remasking import (
    Capped,
    Corrector,
    LeastConfident,
    Remasking,
    Rescaled,
    WhileWaiting,
)
from dnamdlm.diffusion.schedules import Cosine, CosineSquared, Geometric, Linear, LogLinear
from dnamdlm.diffusion.steps import Ancestral, FirstHitting, Step

# alpha runs from 1 to 0, exactly or to far below the tolerances of the tests.
EXACT = [
    LogLinear(),
    Cosine(),
    CosineSquared(),
    Linear(sigma_min=0.0, sigma_max=45.0),
    Geometric(sigma_min=1e-13, sigma_max=45.0),
]
# the presets of the original code: alpha(1) > 0 or alpha(0) < 1.
ORIGINAL = [
    LogLinear(floor=1e-3),
    Cosine(floor=1e-3),
    CosineSquared(floor=1e-3),
    Linear(sigma_min=1e-3, sigma_max=7.0),
    Linear(),
    Geometric(),
]
SCHEDULES = EXACT + ORIGINAL

STRATEGIES = [
    Capped(0.1),
    Rescaled(0.3),
    LeastConfident(0.8),
    WhileWaiting(0.2),
    Corrector(),
    Corrector(strength=0.3),
]
RULES = [
    Ancestral(),
    Ancestral(Choice(temperature=1.5, top_p=0.97, top_k=3)),
    FirstHitting(),
    Analytic(),
    *(Remasking(strategy) for strategy in STRATEGIES),
    *(SurestFirst(order) for order in ORDERS),
    Threshold(0.4),
    *(EntropyBounded(0.8, order) for order in ORDERS),
]


def first_step(tokens, alpha_t, alpha_s, *, mask_id, draw=0, free=None, confidence=None):
    """A step whose rows have the keys 0, 1, ... of seed 0."""
    return Step(
        tokens=tokens,
        free=tokens == mask_id if free is None else free,
        alpha_t=alpha_t,
        alpha_s=alpha_s,
        confidence=torch.ones(tokens.shape).double() if confidence is None else confidence,
        noise=RowNoise(row_keys(0, torch.arange(len(tokens)))),
        draw=draw,
        mask_id=mask_id,
    )
