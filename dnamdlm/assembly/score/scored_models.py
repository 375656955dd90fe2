"""Which models score variants."""

from __future__ import annotations

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.uniform import UniformDiffusionLM


def check_model(loaded: LoadedModel) -> MaskedDiffusionLM | UniformDiffusionLM:
    """The language model that scores variants.

    Raises:
        ConfigError: for a model of another kind, or of text.
    """
    if not isinstance(loaded.lm, MaskedDiffusionLM | UniformDiffusionLM):
        raise ConfigError(
            f"variants are scored with diffusion models of whole windows, and this is a "
            f"{type(loaded.lm).__name__}; give another model"
        )
    loaded.require_dna()
    lm = loaded.lm
    return lm.as_masked() if isinstance(lm, UniformDiffusionLM) and not lm.uniform_share else lm
