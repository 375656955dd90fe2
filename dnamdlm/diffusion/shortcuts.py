"""Short forms for scripts and notebooks: an alphabet in place of ids, a seed in place of noise.

Each function calls what the rest of the package offers and adds nothing to it. Row i of a batch has
the noise of key i of the seed, so that the same seed gives the same masks, losses and samples.

Shapes: B sequences, L positions, V logits per position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import linear_grid
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.masking import mask_tokens
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise, Stream, row_keys
from dnamdlm.diffusion.reverse import reverse_process
from dnamdlm.diffusion.schedules import LogLinear, Schedule, nelbo_weight
from dnamdlm.diffusion.steps import Ancestral, StepRule
from dnamdlm.diffusion.times import Stratified, TimeSampler, draw_times

Denoise = Callable[[Tensor, Tensor], Tensor]
"""Ids with masks and times of torch's default type -> log p(x0 | xt), as from `subs`."""

LOG_LINEAR = LogLinear()
STRATIFIED = Stratified()
ANCESTRAL = Ancestral()


@runtime_checkable
class Alphabet(Protocol, metaclass=ByAttributes):
    """What diffusion needs to know of a vocabulary; `dnamdlm.tokens.Vocabulary` is one."""

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        ...

    def real_tokens(self) -> NDArray[np.bool_]:
        """Which ids data hold and a model may predict, shape (number of ids,)."""
        ...


def mask(
    x0: Int[Tensor, "B L"],
    t: Float[Tensor, " B"],
    alphabet: Alphabet,
    *,
    schedule: Schedule = LOG_LINEAR,
    seed: int,
) -> Int[Tensor, "B L"]:
    """Hide each real token with probability 1 - alpha(t); N, padding and other ids stay.

    Args:
        x0: clean token ids.
        t: time of each row, 0 (clean) to 1 (all hidden under most schedules).
        alphabet: which ids are real, and the mask.
        schedule: noise schedule.
        seed: which masks are drawn.

    Example:
        >>> import torch
        >>> from dnamdlm.diffusion import mask
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> x0 = torch.from_numpy(dna.encode("GATTACAN")).repeat(3, 1)
        >>> xt = mask(x0, torch.tensor([0.0, 0.5, 1.0]), dna.vocabulary, seed=1)
        >>> [dna.decode(row) for row in xt]
        ['GATTACAN', '...T.CAN', '.......N']
    """
    noise = RowNoise(row_keys(seed, torch.arange(len(x0), device=x0.device)))
    uniforms = noise.uniform(Stream.MASKS, 0, x0.shape[1])
    maskable = _real_tokens(alphabet, x0.device)[x0]
    return mask_tokens(x0, 1 - schedule.alpha(t), maskable, uniforms, mask_id=alphabet.mask_id)


def subs(
    logits: Float[Tensor, "B L V"], xt: Int[Tensor, "B L"], alphabet: Alphabet
) -> Float[Tensor, "B L V"]:
    """Log p(x0 | xt): hidden tokens are real tokens, and a visible token is what it shows.

    See `dnamdlm.diffusion.substitution`. V may exceed the number of ids; the surplus is impossible.

    Example:
        >>> import torch
        >>> from dnamdlm.diffusion import subs
        >>> from dnamdlm.tokens import NUCLEOTIDE_VOCABULARY as DNA
        >>> log_probs = subs(torch.zeros(1, 2, 12), torch.tensor([[DNA.mask_id, 10]]), DNA)
        >>> log_probs.exp()[0, :, 7:11]
        tensor([[0.2500, 0.2500, 0.2500, 0.2500],
                [0.0000, 0.0000, 0.0000, 1.0000]])
    """
    real_tokens = _real_tokens(alphabet, xt.device)
    surplus = real_tokens.new_zeros(logits.shape[-1] - len(real_tokens))
    return substitution(
        logits, xt, real_tokens=torch.cat((real_tokens, surplus)), mask_id=alphabet.mask_id
    )


def nelbo(
    denoise: Denoise,
    x0: Int[Tensor, "B L"],
    alphabet: Alphabet,
    *,
    schedule: Schedule = LOG_LINEAR,
    times: TimeSampler = STRATIFIED,
    seed: int,
) -> Float[Tensor, " B"]:
    """One unbiased estimate of the upper bound on -log p(x0), in nats per sequence.

    Differentiable, so that its mean over the batch is a training loss. Average over seeds for a
    likelihood.

    Args:
        denoise: ids with masks (B, L) and times (B,) -> log p(x0 | xt), (B, L, V), as from `subs`.
        x0: clean token ids.
        alphabet: which ids are real, and the mask; other ids are neither hidden nor scored.
        schedule: noise schedule.
        times: how the time of each row is drawn.
        seed: which times and masks are drawn.

    Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 11, for any schedule.

    Example: a model that knows nothing of DNA needs log 4 = 1.4 nats per base.
        >>> import torch
        >>> from dnamdlm.diffusion import nelbo, subs
        >>> from dnamdlm.tokens import NUCLEOTIDE_VOCABULARY as DNA
        >>> def uniform(xt, t):
        ...     return subs(torch.zeros(*xt.shape, 12), xt, DNA)
        >>> x0 = torch.full((64, 1000), DNA.real_ids[0])
        >>> nats_per_base = nelbo(uniform, x0, DNA, seed=0).mean() / 1000
        >>> f"{nats_per_base:.1f}"
        '1.4'
    """
    row = torch.arange(len(x0), device=x0.device)
    u = RowNoise(row_keys(seed, row)).uniform(Stream.TIMES, 0)
    t, density = draw_times(times, schedule, u, row, len(x0))
    xt = mask(x0, t, alphabet, schedule=schedule, seed=seed)
    weight = nelbo_weight(schedule, t) / density
    log_probs = denoise(xt, t.to(torch.get_default_dtype()))
    return masked_nll(log_probs, x0, xt, weight, mask_id=alphabet.mask_id).sum(dim=-1)


def sample(
    denoise: Denoise,
    num_sequences: int,
    length: int,
    alphabet: Alphabet,
    *,
    schedule: Schedule = LOG_LINEAR,
    rule: StepRule = ANCESTRAL,
    num_steps: int = 128,
    constraints: Constraints | None = None,
    seed: int,
    device: torch.device | str = "cpu",
) -> Int[Tensor, "B L"]:
    """Sequences drawn from masks alone; see `dnamdlm.diffusion.reverse_process` for more.

    Args:
        denoise: ids with masks (B, L) and times (B,) -> log p(x0 | xt), (B, L, V), as from `subs`.
            A network with dropout must be in evaluation mode.
        num_sequences: B.
        length: L.
        alphabet: the ids, of which only the mask matters here.
        schedule: noise schedule that the network was trained with.
        rule: step rule.
        num_steps: steps of a linear time grid, which a rule with `is_paced = False` ignores.
        constraints: tokens that positions may become; None allows all.
        seed: which sequences are drawn; sequence i is the same for any `num_sequences`.
        device: of the result, and of what `denoise` is given.

    Example:
        >>> import torch
        >>> from dnamdlm.diffusion import sample, subs
        >>> from dnamdlm.tokens import NucleotideTokenizer
        >>> dna = NucleotideTokenizer()
        >>> def uniform(xt, t):
        ...     return subs(torch.zeros(*xt.shape, 12), xt, dna.vocabulary)
        >>> tokens = sample(uniform, 2, 8, dna.vocabulary, seed=0)
        >>> [dna.decode(row) for row in tokens]
        ['ACGTCACA', 'TCCAGGGA']
    """

    def of_rows(xt: Tensor, time: Tensor, rows: Tensor) -> Tensor:
        del rows
        return denoise(xt, time.to(torch.get_default_dtype()))

    generated = reverse_process(
        of_rows,
        torch.full((num_sequences, length), alphabet.mask_id, device=device),
        rule=rule,
        schedule=schedule,
        times=linear_grid(num_steps),
        mask_id=alphabet.mask_id,
        noise=RowNoise(row_keys(seed, torch.arange(num_sequences, device=device))),
        constraints=constraints,
    )
    return generated.tokens


def _real_tokens(alphabet: Alphabet, device: torch.device) -> Bool[Tensor, " V"]:
    return torch.tensor(alphabet.real_tokens(), device=device)
