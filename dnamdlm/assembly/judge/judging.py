"""Is what a model generates any good? Samples compared with real sequences or texts."""

from __future__ import annotations

import logging
from pathlib import Path

from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.judge.judge_dna import (
    QualityOptions,
    judge_with_file,
    judge_with_split,
    training_genome,
)
from dnamdlm.assembly.judge.judge_settings import HELD_OUT, JudgeSettings
from dnamdlm.assembly.judge.judge_text import judge_texts
from dnamdlm.assembly.modality import Text, refuse_foreign
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.progress import watched
from dnamdlm.threads import running_with

logger = logging.getLogger(__name__)


def judge(settings: JudgeSettings) -> tuple[Path, str]:
    """Compare samples with real ones and write the figures.

    Returns:
        The JSON file, and the figures for people.

    Raises:
        ConfigError: for a setting that does not suit the samples or the model.
        DataError: for files that cannot be read.
    """
    options = QualityOptions(settings)
    start_ops(settings.ops, settings.device, settings.precision)
    if settings.model is None:
        return judge_with_file(settings, options, None, None)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    refuse_foreign(settings, loaded.modality)
    if isinstance(loaded.modality, Text):
        # the scorer decides how long it takes, and is another network.
        with running_with(settings.threads), watched("scoring", "texts") as watch:
            return judge_texts(settings, loaded, watch)
    at_once = windows_at_once(loaded.length, loaded.device)
    plan = plan_for(loaded.lm, at_once * loaded.length, threads=settings.threads)
    with running_with(plan.threads):
        if settings.reference != HELD_OUT:
            training = training_genome(settings, loaded)
            return judge_with_file(settings, options, loaded, training)
        return judge_with_split(settings, options, loaded)
