"""MAUVE of generated and real text, with the package mauve-text.

Source: Pillutla et al. 2021, "MAUVE: measuring the gap between neural text and human text".
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import ConfigError, DataError

_FEWEST = 20


def check_mauve() -> Any:
    """The package.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return importlib.import_module("mauve")
    except ImportError as error:
        raise ConfigError(
            f"mauve=true needs the package mauve-text ({error.name} is not installed); install it "
            "with pip install 'dnamdlm[mauve]', or leave mauve out"
        ) from error


def mauve(generated: NDArray[np.float64], real: NDArray[np.float64], *, seed: int = 0) -> float:
    """MAUVE of two sets of hidden states, from 0 to 1; 1 for equal distributions.

    Args:
        generated: (N, D), one hidden state per text.
        real: (M, D).
        seed: of the clustering.

    Raises:
        ConfigError: if mauve-text is not installed.
        DataError: if there are too few texts.
    """
    package = check_mauve()
    if min(len(generated), len(real)) < _FEWEST:
        raise DataError(
            f"MAUVE needs at least {_FEWEST} generated and {_FEWEST} real texts, got "
            f"{len(generated)} and {len(real)}; give more (published values use 1,000 or more) or "
            "leave mauve out"
        )
    result = package.compute_mauve(p_features=generated, q_features=real, seed=seed, verbose=False)
    return float(result.mauve)
