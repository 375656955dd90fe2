"""A control variate for the difference of two bounds: the same difference under an expert.

A draw of masks gives the difference under the model and that under an expert, a table of counts
which costs next to nothing compared with a network. Where the model is near the expert both scatter
alike, and the mean of the expert over all masks is known: model - expert + mean of the expert has
the same mean as the model, whatever the expert is, and scatters less the more they agree.

The bound hides k of n bases, k uniform on 1..n, as if bases were revealed in random order and each
were predicted when its turn comes. Of the m bases that an expert sees around a base, a certain set
of v precedes it in this order with probability v! (m - v)! / (m + 1)!, which makes the mean a sum
over 2^m sets.

Shapes: P windows, L positions, M neighbours, S = 2^M sets of them.
Source: Ou et al. 2024 (arXiv:2406.03736) for the order; Owen 2013, Monte Carlo theory, section 8.9.
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from dnamdlm.errors import ConfigError
from dnamdlm.lm.diffusion_model import DiffusionModel
from dnamdlm.lm.experts import WildcardExpert
from dnamdlm.words.wildcards import NUM_LETTERS, UNKNOWN


def control_of(lm: DiffusionModel) -> WildcardExpert | None:
    """The first expert of a model with a table of patterns, if it has one."""
    members = () if lm.expert_gates is None else lm.expert_gates.members
    return next((member for member in members if isinstance(member, WildcardExpert)), None)


def required_control(lm: DiffusionModel) -> WildcardExpert:
    """The same; a `ConfigError` if the model has none."""
    control = control_of(lm)
    if control is None:
        raise ConfigError(
            "control=experts needs a model with wildcard experts, and this model has none; leave "
            "control out, or train with experts=wildcard"
        )
    return control


def expert_surprise(
    expert: WildcardExpert, hidden: Int[Tensor, "P L"], tokens: Int[Tensor, "P L"], mask_id: int
) -> Float[Tensor, " P"]:
    """Sum of the surprises of the hidden bases under the expert, in nats.

    Args:
        expert: with counts.
        hidden: ids with masks.
        tokens: the same without.
        mask_id: id of the mask.
    """
    own = expert.letters[tokens].clamp(max=UNKNOWN - 1)
    nats = -expert(hidden).gather(-1, own.unsqueeze(-1)).squeeze(-1).double()
    return torch.where(hidden == mask_id, nats, 0.0).sum(dim=1)


def expected_surprise(
    expert: WildcardExpert, tokens: Int[Tensor, "P L"], wanted: Bool[Tensor, "P L"]
) -> Float[Tensor, " P"]:
    """The part that the wanted bases have in the bound of the expert, exactly, in nats.

    Args:
        expert: with counts.
        tokens: ids without masks.
        wanted: bases whose surprise is counted; all bases are hidden in their turn.
    """
    width = expert.width
    letters = functional.pad(expert.letters[tokens], (width, width), value=UNKNOWN)
    found = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    steps, probs = (x.to(tokens.device) for x in _sets_of_neighbours(2 * width))
    # row by row: a window has some 10^5 patterns.
    for row, chosen in enumerate(wanted):
        around = letters[row].unfold(0, 2 * width + 1, 1)[chosen]
        own = around[:, width]
        near = torch.cat((around[:, :width], around[:, width + 1 :]), dim=1)
        patterns = (near - UNKNOWN) @ steps + UNKNOWN * steps.amax(dim=1).sum()
        nats = -expert.log_probs[patterns, own.unsqueeze(-1)].double()
        found[row] = (nats * probs).sum()
    return found


@functools.cache
def _sets_of_neighbours(number: int) -> tuple[Int[Tensor, "M S"], Float[Tensor, " S"]]:
    """What each neighbour adds to the number of a pattern in each set, and the sets' probabilities.

    A neighbour that is not in the set counts as unknown.
    """
    powers = NUM_LETTERS ** torch.arange(number - 1, -1, -1)
    is_visible = (torch.arange(2**number) >> torch.arange(number).unsqueeze(1)) & 1
    size = is_visible.sum(dim=0).tolist()
    probs = [1 / ((number + 1) * math.comb(number, v)) for v in size]
    return is_visible * powers.unsqueeze(1), torch.tensor(probs, dtype=torch.float64)
