"""A training run, from its settings to checkpoints in its run folder."""

from __future__ import annotations

import logging
from pathlib import Path

from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.train.initial_weights import initialise_from
from dnamdlm.assembly.train.model_training import train_model
from dnamdlm.assembly.train.train_settings import TrainSettings
from dnamdlm.data.targets import check_run_folder, inputs_of
from dnamdlm.lm.checkpoint import list_checkpoints
from dnamdlm.training.accelerators import own_device, precision_beside_steps

logger = logging.getLogger(__name__)


def train(settings: TrainSettings) -> Path:
    """Train a model, or resume the run that its folder holds.

    Returns:
        The run folder.

    Raises:
        ConfigError: for a setting, or a run folder that holds another run.
        DataError: for the data that are named.
        Interrupted: if a signal ended the run, after saving.
    """
    trainer = settings.trainer
    check_run_folder(Path(settings.run_dir), inputs_of(settings))
    # Lightning takes seconds to import, and no mistake in the settings should wait for it.
    from dnamdlm.training.trainer import check_devices

    check_devices(trainer)
    start_ops(settings.ops, str(own_device(trainer)), precision_beside_steps(trainer))
    lm = settings.config.build(settings.seed, settings.given)
    # a resumed run has its own weights, and their first source may have been deleted.
    has_weights = list_checkpoints(Path(settings.run_dir) / "checkpoints")
    if settings.init_from is not None and not has_weights:
        logger.info("starting from the weights of %s", initialise_from(lm, settings.init_from))
    return train_model(lm, settings)
