"""Codes of the genome store: one byte per base, so that one store serves every vocabulary.

The low three bits hold the base: A 0, C 1, G 2, T 3, N 4. The highest bit is the soft mask, set
where the FASTA file has a lower-case letter.
"""

import numpy as np

N_CODE = 4
"""Code of N and of every other letter that is not a base; smaller codes are bases."""

CODE_MASK = np.uint8(0x07)
"""Bits that hold the base: `codes & CODE_MASK` drops the soft mask."""

SOFT_MASK = np.uint8(0x80)
"""Bit that is set in soft-masked (lower-case) bases."""
