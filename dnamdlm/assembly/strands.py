"""The setting `strands`: whether a model reads a sequence, its other strand, or both."""

from __future__ import annotations

import copy
import logging
from typing import TypeVar

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.equivariance import OtherStrand, StrandAverage
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.uniform import UniformDiffusionLM

LM = TypeVar("LM", bound=TrainedLM)

logger = logging.getLogger(__name__)

_GIVEN = "model_of_given_strand"


def with_strands(lm: LM, strands: Strands) -> LM:
    """The model, with its network averaged over both strands if `strands` is `both`.

    With `other` the network reads the reverse complement alone, and its logits are turned back.
    A model to which a setting was given before is read as this one says.

    The model that is given stays as it is; the two share their weights. A network that treats both
    strands alike already is returned as it is, and the log says so.

    Raises:
        ConfigError: if the setting is unknown, or the model cannot read another strand.
    """
    if strands not in ("one", "other", "both"):
        raise ConfigError(f"strands={strands} is unknown; choose one, other or both")
    lm = getattr(lm, _GIVEN, lm)
    if strands == "one":
        return lm
    if not isinstance(lm, MaskedDiffusionLM | UniformDiffusionLM):
        raise ConfigError(
            f"strands={strands} needs a network that sees both sides of a position, and a "
            f"{type(lm).__name__} does not; use strands=one"
        )
    # gates treat the strands differently even where the network does not.
    if isinstance(lm.backbone, CaduceusPS | StrandAverage) and lm.expert_gates is None:
        logger.info(
            "strands=%s changes nothing: %s always reads both strands",
            strands, type(lm.backbone).__name__,
        )  # fmt: skip
        return lm
    complement = lm.network_vocabulary.complement
    if complement is None:
        raise ConfigError(f"strands={strands} needs complementary letters; use strands=one")
    over = StrandAverage if strands == "both" else OtherStrand
    turned = copy.copy(lm)
    # not as a sub-module, of which it has all.
    object.__setattr__(turned, _GIVEN, lm)
    # a module of its own around the same weights; copy.copy shares the table of sub-modules.
    turned._modules = dict(lm._modules)
    device = lm.real_tokens.device
    turned.backbone = over(lm.backbone, complement).to(device).train(lm.training)
    if isinstance(lm, MaskedDiffusionLM) and lm.expert_gates is not None:
        # gates read one strand, so that each strand has the logits of its own experts.
        whole = over(lm.network(), complement).to(device)
        assert isinstance(turned, MaskedDiffusionLM)
        turned.network_over_strands = whole.train(lm.training)
    return turned
