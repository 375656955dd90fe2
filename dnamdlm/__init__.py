"""Masked diffusion language models of DNA.

`dnamdlm.load("runs/demo")` gives a trained model for use from Python; everything else is on the
command line, `python -m dnamdlm.train --help`. Importing the package loads neither torch nor
Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnamdlm.errors import CheckpointError, ConfigError, DataError, DnamdlmError

if TYPE_CHECKING:
    from dnamdlm.assembly.api import load

__version__ = "0.1.0"
__all__ = ["CheckpointError", "ConfigError", "DataError", "DnamdlmError", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from dnamdlm.assembly.api import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
