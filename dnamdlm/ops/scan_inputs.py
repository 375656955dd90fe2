"""The arguments of every implementation of the selective scan.

Shapes: B sequences, L positions, D channels, N state size.
"""

from typing import NamedTuple

from torch import Tensor


class ScanInputs(NamedTuple):
    """The tensors of a scan, named as in the paper; see `dnamdlm.ops.scan`.

    Attributes:
        u: (B, L, D), input.
        delta: (B, L, D), step sizes before the bias and the softplus.
        A: (D, N), decay rates, negative.
        B: (B, L, N), input weights.
        C: (B, L, N), output weights.
        D: (D,), weight of the direct path, or None.
        z: (B, L, D), gate, or None.
        delta_bias: (D,), added to `delta`, or None.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None
