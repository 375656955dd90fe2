"""What a model says of each base of a genome, as tracks for a genome browser.

Shapes: n bases, 4 letters in the order A, C, G, T.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from dnamdlm.words.codes import N_CODE

LETTERS = "ACGT"
TRACKS = {
    **{f"logp_{x}": f"log-probability of {x} given its surroundings, nats" for x in LETTERS},
    **{f"logo_{x}": f"height of {x} in the logo, bits" for x in LETTERS},
    "entropy": "entropy of the four letters, bits",
    "bits": "bits of the letter that is there",
}
"""Name of each track -> what its numbers are."""


def base_tracks(
    log_probs: Float32[np.ndarray, "n 4"], codes: UInt8[np.ndarray, " n"]
) -> dict[str, NDArray[np.float32]]:
    """All tracks of a stretch; nan where there is no base.

    The height of a letter is p (2 - H), where H is the entropy of the four letters in bits.

    Args:
        log_probs: of each letter given the others, nats.
        codes: store codes without the soft mask.

    Source of the logo: Schneider and Stephens 1990, doi:10.1093/nar/18.20.6097.

    >>> found = base_tracks(np.log(np.array([[0.5, 0.5, 0, 0]], np.float32) + 1e-30), np.uint8([0]))
    >>> [round(float(found[name][0]), 4) for name in ("entropy", "bits", "logo_A", "logo_G")]
    [1.0, 1.0, 0.5, 0.0]
    """
    nats = log_probs.astype(np.float64)
    probs = np.exp(nats)
    # 0 log 0 is 0, and a letter that is impossible has -inf.
    entropy = -np.where(probs > 0, probs * np.where(probs > 0, nats, 0.0), 0.0).sum(1) / np.log(2)
    is_base = codes < N_CODE
    own = nats[np.arange(len(nats)), np.where(is_base, codes, 0)]
    heights = probs * (2.0 - entropy)[:, None]
    columns = [*nats.T, *heights.T, entropy, -own / np.log(2)]
    return {
        name: np.where(is_base, column, np.nan).astype(np.float32)
        for name, column in zip(TRACKS, columns, strict=True)
    }
