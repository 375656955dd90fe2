"""Bases as two bits each: what an IUPAC code of two bases leaves open, and its distribution.

Three partitions split the four bases into halves: purine or pyrimidine (R, Y), strong or weak
(S, W), keto or amino (K, M). Any two of them tell the four bases apart. Such a pair is a coding;
the halves in which a base lies are its two bits, and a base of which one bit is known is an IUPAC
code.

Shapes: B sequences, L positions, 2 bits per position; bases are in the order A, C, G, T, and a set
of bases is a four-bit number: A 1, C 2, G 4, T 8. A bit is 0 or 1, or `HIDDEN_BIT`.

Source: Chao et al. 2025 (arXiv:2505.18495), for the masking of parts of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

HALVES = ((5, 10), (6, 9), (12, 3))
"""Sets of the two halves of each partition: R and Y, S and W, K and M."""
PAIRS = ((0, 1), (0, 2), (1, 2))
"""Partitions of the first and the second bit in each of the three codings."""
CODING_NAMES = ("ry_sw", "ry_km", "sw_km")
"""Name of each coding."""
ALL_BASES = 15
HIDDEN_BIT = 2

_MEMBERS = [
    [[base for base in range(4) if half >> base & 1] for half in halves] for halves in HALVES
]
_BIT_OF_BASE = [[int(halves[1] >> base & 1) for base in range(4)] for halves in HALVES]
_PARTITION_OF_SET = [
    next((number for number, halves in enumerate(HALVES) if bases in halves), -1)
    for bases in range(16)
]


def bits_of_sets(sets: Int[Tensor, "B L"], coding: Int[Tensor, "B L"]) -> Int[Tensor, "B L 2"]:
    """The bits that are known of a base that lies in a set.

    Args:
        sets: bases that each position can be; not empty.
        coding: number of the coding of each position, see `PAIRS`.

    Example: R is the first bit of the first coding; of the third one it says nothing.
        >>> import torch
        >>> from dnamdlm.diffusion.codings import bits_of_sets
        >>> bits_of_sets(torch.tensor([[5, 5, 4]]), torch.tensor([[0, 2, 0]])).tolist()
        [[[0, 2], [2, 2], [0, 0]]]
    """
    halves = _of_pairs(coding)
    is_within = (sets[..., None, None] & ~halves) == 0
    known = torch.where(is_within[..., 1], 1, HIDDEN_BIT)
    return torch.where(is_within[..., 0], 0, known)


def sets_of_bits(bits: Int[Tensor, "B L 2"], coding: Int[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """The bases that agree with the bits that are known.

    Args:
        bits: 0, 1, or `HIDDEN_BIT`.
        coding: number of the coding of each position.
    """
    halves = _of_pairs(coding)
    first, second = torch.where(
        bits == HIDDEN_BIT, ALL_BASES, torch.where(bits == 1, halves[..., 1], halves[..., 0])
    ).unbind(dim=-1)
    return first & second


def within_sets(sets: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape 4"]:
    """Which bases each set has."""
    return (sets.unsqueeze(-1) >> torch.arange(4, device=sets.device) & 1).bool()


def half_log_probs(log_probs: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 3 2"]:
    """Log-probability of both halves of every partition.

    Args:
        log_probs: of the four bases.
    """
    return log_probs[..., _there(_MEMBERS, log_probs.device)].logsumexp(dim=-1)


def bit_log_probs(
    log_probs: Float[Tensor, "B L 4"], bits: Int[Tensor, "B L 2"], coding: Int[Tensor, "B L"]
) -> Float[Tensor, "B L 2 3"]:
    """Log-probability that each bit is 0, 1, or hidden, which it never is; one-hot where known.

    Args:
        log_probs: of the four bases, restricted to those that agree with the known bits.
        bits: 0, 1, or `HIDDEN_BIT`.
        coding: number of the coding of each position.
    """
    pairs = _there(PAIRS, coding.device)[coding]
    of_halves = half_log_probs(log_probs)
    own = of_halves.gather(-2, pairs.unsqueeze(-1).expand(*pairs.shape, 2))
    found = torch.nn.functional.pad(own, (0, 1), value=-torch.inf)
    shown = torch.arange(3, device=bits.device) == bits.unsqueeze(-1)
    certain = torch.where(shown, 0.0, -torch.inf).to(found.dtype)
    return torch.where((bits == HIDDEN_BIT).unsqueeze(-1), found, certain)


def bit_surprise(
    log_probs: Float[Tensor, "P Q 4"],
    base: Int[Tensor, "P Q"],
    sets: Int[Tensor, "P Q"],
    shares: Float[Tensor, " 3"],
) -> Float[Tensor, "P Q"]:
    """Sum of -log p(bit | what is visible) over the hidden bits of each position, in nats.

    Where both bits are hidden it is a mean over the codings that the position may have, which
    nothing visible depends on; each partition counts with its share.

    Args:
        log_probs: of the four bases, normalised, not restricted by what is known.
        base: the true base, 0 to 3; any number where nothing is hidden.
        sets: what is known of it: all bases, a half of a partition, or any other set where nothing
            is hidden.
        shares: how many of the two bits belong to each partition, on average.

    Example: one bit of a base out of four equally likely ones costs log 2.
        >>> import torch
        >>> from dnamdlm.diffusion.codings import bit_surprise
        >>> even = torch.full((1, 3, 4), 0.25).log()
        >>> base, sets = torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[15, 5, 1]])
        >>> bit_surprise(even, base, sets, torch.tensor([1.0, 1.0, 0.0]))
        tensor([[1.3863, 0.6931, 0.0000]])
    """
    device = log_probs.device
    side = _there(_BIT_OF_BASE, device)[:, base].movedim(0, -1)
    own = half_log_probs(log_probs).gather(-1, side.unsqueeze(-1)).squeeze(-1)
    # where, not multiply alone: a half that is impossible has -inf, and -inf * 0 is nan.
    both = -torch.where(shares > 0, own * shares.to(own.dtype), 0.0).sum(dim=-1)
    partition = _there(_PARTITION_OF_SET, device)[sets]
    known = own.gather(-1, partition.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    rest = known - log_probs.gather(-1, base.unsqueeze(-1)).squeeze(-1)
    return torch.where(sets == ALL_BASES, both, torch.where(partition >= 0, rest, 0.0))


def _of_pairs(coding: Int[Tensor, "B L"]) -> Int[Tensor, "B L 2 2"]:
    """Both halves for both bits of each position."""
    return _there(HALVES, coding.device)[_there(PAIRS, coding.device)][coding]


def _there(table: Sequence[Any], device: torch.device) -> Int[Tensor, ...]:
    """A small table on a device, whose host does not wait until it has arrived."""
    return torch.tensor(table).to(device, non_blocking=True)
