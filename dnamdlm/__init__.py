"""Masked diffusion language models of DNA.

`dnamdlm.load("runs/demo")` gives a trained model for use from Python, and `dnamdlm.fit` trains a
network of your own. The command line has the same functions: `dnamdlm --help`. Importing the
package loads neither torch nor Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dnamdlm.errors import CheckpointError, ConfigError, DataError, DnamdlmError
from dnamdlm.threads import let_idle_threads_sleep

if TYPE_CHECKING:
    from dnamdlm import hf
    from dnamdlm.assembly.api import Model
    from dnamdlm.assembly.design.reward_terms import reward
    from dnamdlm.assembly.gathering import gather_parts
    from dnamdlm.assembly.head_model import Head
    from dnamdlm.assembly.opening import fit, load
    from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY as DNA

__version__ = "0.1.0"
__all__ = [
    "DNA", "CheckpointError", "ConfigError", "DataError", "DnamdlmError", "Head", "Model",
    "__version__", "fit", "gather_parts", "hf", "load", "reward",
]  # fmt: skip

_LAZY = {
    "DNA": ("dnamdlm.tokens.nucleotide", "NUCLEOTIDE_VOCABULARY"),
    "Head": ("dnamdlm.assembly.head_model", "Head"),
    "Model": ("dnamdlm.assembly.api", "Model"),
    "fit": ("dnamdlm.assembly.opening", "fit"),
    "gather_parts": ("dnamdlm.assembly.gathering", "gather_parts"),
    "load": ("dnamdlm.assembly.opening", "load"),
    "reward": ("dnamdlm.assembly.design.reward_terms", "reward"),
}


def __getattr__(name: str) -> Any:
    if name not in {*_LAZY, "hf"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # what follows loads torch, which reads the waiting policy once.
    let_idle_threads_sleep()
    if name == "hf":
        return importlib.import_module("dnamdlm.hf")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
