"""Giving a student of distillation its teacher."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import ConfigError
from dnamdlm.lm.distilled import DistilledDiffusionLM

logger = logging.getLogger(__name__)


def give_teacher(lm: TrainedLM, trust: Sequence[str] = ()) -> None:
    """Load the teacher of a model that is distilled and has none; others are left as they are.

    Args:
        lm: the model.
        trust: packages besides dnamdlm whose classes the teacher may name.

    Raises:
        ConfigError: if none is named, or it does not suit the student.
        CheckpointError: if it cannot be read.
    """
    if not isinstance(lm, DistilledDiffusionLM) or lm.has_teacher:
        return
    if lm.teacher is None:
        raise ConfigError(
            "lm.teacher is not given, and lm=distilled learns from another model; give "
            "lm.teacher=RUN, and init_from=RUN to start from its weights"
        )
    loaded = load_model(lm.teacher, setting="lm.teacher", trust=trust)
    lm.learn_from(loaded.language_model)
    logger.info("the teacher, of %d steps, is %s", lm.num_steps, loaded.folder)
