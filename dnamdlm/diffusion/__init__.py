"""The mathematics of masked diffusion as pure functions on tensors.

`mask`, `subs`, `nelbo` and `sample` are all that a script needs to train a network and to sample
from it; everything else is what they are made of. Nothing here knows a config, a checkpoint or a
training framework.

Example: a network that sees one token at a time learns which bases are frequent.
    >>> import torch
    >>> from dnamdlm.diffusion import LogLinear, nelbo, sample, subs
    >>> from dnamdlm.tokens import NucleotideTokenizer
    >>> dna = NucleotideTokenizer()
    >>> x0 = torch.from_numpy(dna.encode("AAAAAATT")).repeat(16, 1)
    >>> scores = torch.zeros(12, requires_grad=True)
    >>> optimizer = torch.optim.SGD([scores], lr=0.02)
    >>> def denoise(xt, t):
    ...     return subs(scores.expand(*xt.shape, -1), xt, dna.vocabulary)
    >>> for step in range(200):
    ...     loss = nelbo(denoise, x0, dna.vocabulary, schedule=LogLinear(), seed=step).mean()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    >>> tokens = sample(denoise, 2, 12, dna.vocabulary, schedule=LogLinear(), seed=0)
    >>> [dna.decode(row) for row in tokens]
    ['AAATAAAAAAAA', 'TAAAAAAAAATT']
"""

from dnamdlm.diffusion.analytic import Analytic
from dnamdlm.diffusion.categorical import Choice, inverse_cdf, sharpened
from dnamdlm.diffusion.confidence import EntropyBounded, SurestFirst, Threshold
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.discrete import reconstruction, step_divergence
from dnamdlm.diffusion.grids import cosine_grid, custom_grid, holding_grid, linear_grid
from dnamdlm.diffusion.guidance import (
    classifier_based,
    classifier_free,
    exact_ratios,
    first_order_ratios,
)
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.masking import corrupt, mask_exactly, mask_tokens
from dnamdlm.diffusion.mixed import mixed_nats, posterior_shares
from dnamdlm.diffusion.ordered import mean_order_nats, ordered_nats
from dnamdlm.diffusion.parameterization import restricted, substitution
from dnamdlm.diffusion.population import Population, slot_keys, systematic_ancestors
from dnamdlm.diffusion.positions import LogProbs
from dnamdlm.diffusion.randomness import RowNoise, Stream, child_keys, row_keys
from dnamdlm.diffusion.remasking import (
    Capped,
    Corrector,
    LeastConfident,
    Remasking,
    RemaskStrategy,
    Rescaled,
    WhileWaiting,
)
from dnamdlm.diffusion.reverse import Denoiser, Generated, SparseDenoiser, reverse_process
from dnamdlm.diffusion.schedules import (
    Cosine,
    CosineSquared,
    Geometric,
    Linear,
    LogLinear,
    Schedule,
    nelbo_weight,
)
from dnamdlm.diffusion.score_entropy import log_score, relative_log_score, score_entropy
from dnamdlm.diffusion.shortcuts import Alphabet, mask, nelbo, sample, subs
from dnamdlm.diffusion.steering import Steering
from dnamdlm.diffusion.steps import (
    Ancestral,
    FirstHitting,
    Step,
    StepRule,
    ancestral_probabilities,
    draw_tokens,
    reveal_probability,
)
from dnamdlm.diffusion.tilt import Outcome, Tilt
from dnamdlm.diffusion.times import (
    Clipped,
    Importance,
    Stratified,
    TimeSampler,
    Uniform,
    draw_times,
)

__all__ = [
    "Alphabet",
    "Analytic",
    "Ancestral",
    "Capped",
    "Choice",
    "Clipped",
    "Constraints",
    "Corrector",
    "Cosine",
    "CosineSquared",
    "Denoiser",
    "EntropyBounded",
    "FirstHitting",
    "Generated",
    "Geometric",
    "Importance",
    "LeastConfident",
    "Linear",
    "LogLinear",
    "LogProbs",
    "Outcome",
    "Population",
    "RemaskStrategy",
    "Remasking",
    "Rescaled",
    "RowNoise",
    "Schedule",
    "SparseDenoiser",
    "Steering",
    "Step",
    "StepRule",
    "Stratified",
    "Stream",
    "SurestFirst",
    "Threshold",
    "Tilt",
    "TimeSampler",
    "Uniform",
    "WhileWaiting",
    "ancestral_probabilities",
    "child_keys",
    "classifier_based",
    "classifier_free",
    "corrupt",
    "cosine_grid",
    "custom_grid",
    "draw_times",
    "draw_tokens",
    "exact_ratios",
    "first_order_ratios",
    "holding_grid",
    "inverse_cdf",
    "linear_grid",
    "log_score",
    "mask",
    "mask_exactly",
    "mask_tokens",
    "masked_nll",
    "mean_order_nats",
    "mixed_nats",
    "nelbo",
    "nelbo_weight",
    "ordered_nats",
    "posterior_shares",
    "reconstruction",
    "relative_log_score",
    "restricted",
    "reveal_probability",
    "reverse_process",
    "row_keys",
    "sample",
    "score_entropy",
    "sharpened",
    "slot_keys",
    "step_divergence",
    "subs",
    "substitution",
    "systematic_ancestors",
]
