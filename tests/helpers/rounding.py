"""How far two computations of one number may lie apart, wherever they are run.

Processors, thread counts and batch sizes add the terms of a sum in different orders, and each
order rounds differently. A test that compares two orders allows what these roundings can amount
to, and no more. Where the network can be cast, the comparison is made in float64 instead.
"""

import torch
from torch import nn

# of n independent roundings the sum exceeds 8 standard deviations with probability 3e-14.
_DEVIATIONS = 8.0


def rounding(terms: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> float:
    """Largest difference between two computations that each round `terms` times.

    A rounding moves a number x by at most eps |x| / 2, so that two computations differ by at most
    terms * eps * scale. Of many roundings most cancel, and 8 sqrt(terms) takes the place of terms
    (Higham and Mary 2019, SIAM J. Sci. Comput. 41(5), theorem 2.4, with lambda = 8).

    Args:
        terms: additions, multiplications and function values one after another on the way to the
            result; a sum of n products counts n.
        scale: magnitude of the greatest number on that way.
        dtype: precision of the less precise computation.
    """
    return min(terms, _DEVIATIONS * terms**0.5) * torch.finfo(dtype).eps * scale


def additions(network: nn.Module) -> int:
    """Terms of all sums that a number passes on its way from the input to the output.

    Each matrix sums over its columns; norms, gates and attention are counted as as many again.
    """
    return 2 * sum(p.shape[-1] for p in network.parameters() if p.ndim == 2)
