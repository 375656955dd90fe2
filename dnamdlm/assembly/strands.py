"""The setting `strands`: whether a model reads a sequence alone or both strands of it."""

from __future__ import annotations

import logging

from dnamdlm.assembly.models import TrainedLM
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM

STRANDS = ("one", "both")

logger = logging.getLogger(__name__)


def read_strands(lm: TrainedLM, strands: str) -> None:
    """Let a model average its network over both strands, in place, if `strands` is `both`.

    A network that treats both strands as one already is left as it is, and the log says so.

    Raises:
        ConfigError: if the setting is unknown, or the model cannot read both strands.
    """
    if strands not in STRANDS:
        raise ConfigError(f"strands={strands} is unknown; choose {' or '.join(STRANDS)}")
    if strands == "one":
        return
    if not isinstance(lm, MaskedDiffusionLM):
        raise ConfigError(
            f"strands=both averages a network that sees both sides, which a {type(lm).__name__} "
            "does not; use strands=one"
        )
    if isinstance(lm.backbone, CaduceusPS | StrandAverage):
        logger.info(
            "strands=both changes nothing: %s reads both strands always", type(lm.backbone).__name__
        )
        return
    complement = lm.vocabulary.complement
    if complement is None:
        raise ConfigError("strands=both needs complementary letters; use strands=one")
    mode = lm.training
    lm.backbone = StrandAverage(lm.backbone, complement).to(lm.real_tokens.device).train(mode)
