"""Model FLOPs per token of a training step, forward and backward, counted from sizes alone.

6 per weight and use of a matrix, 12 L D per block of attention, 27 per channel and state of a scan
(Chowdhery et al. 2022, arXiv:2204.02311, appendix B; the scan is counted from its recurrence).
"""

import math


def dit_flops(size: int, blocks: int, length: int, *, mlp_ratio: int = 4, outputs: int = 12) -> int:
    """Of the transformer.

    >>> dit_flops(768, 12, 1024)
    622909440
    """
    weights = blocks * (4 + 2 * mlp_ratio) * size**2 + outputs * size
    return 6 * weights + 12 * length * size * blocks


def mamba_flops(
    size: int, blocks: int, *, state: int = 16, expand: int = 2, directions: int = 2
) -> int:
    """Of a bidirectional Mamba whose directions share the projections in and out.

    >>> mamba_flops(118, 4)
    5369472
    """
    inner, rank = expand * size, math.ceil(size / 16)
    per_block = size * 2 * inner + inner * (rank + 2 * state) + rank * inner + inner * size
    scan = 27 * inner * state
    return blocks * directions * (6 * per_block + scan)
