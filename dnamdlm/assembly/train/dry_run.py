"""What `dry_run` finds out beyond the check of settings and data: how long the run takes."""

from __future__ import annotations

from pathlib import Path

from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.assembly.train.split_validation import SplitValidation
from dnamdlm.assembly.train.train_settings import TrainSettings
from dnamdlm.data.data_source import BatchStream
from dnamdlm.lm.checkpoint import newest_valid, step_of_folder
from dnamdlm.training.accelerators import own_device, resolve_precision
from dnamdlm.training.compilation import loss_terms_of


def time_needed(
    lm: TrainedLM,
    stream: BatchStream,
    settings: TrainSettings,
    validate: SplitValidation | None,
    compiler: str | None = None,
) -> str:
    """How long the run takes from its beginning, or from the checkpoint that its folder holds.

    Two steps are made, with the loss compiled if there is a compiler; the weights of the model
    change.
    """
    # Lightning takes seconds to import, and no mistake in the settings should wait for it.
    from dnamdlm.training.module import TrainingModule
    from dnamdlm.training.step_times import Workload, seconds_per_step
    from dnamdlm.training.trainer import check_devices

    trainer = settings.trainer
    ranks = check_devices(trainer)
    windows = trainer.global_batch_size // ranks
    seconds = seconds_per_step(
        TrainingModule(
            lm,
            settings.optimizer,
            settings.learning_rate,
            max_steps=trainer.max_steps,
            averaging_decay=trainer.averaging_decay,
            loss_terms=loss_terms_of(lm, compiler, trainer),
        ),
        stream,
        windows=windows,
        micro_batch=windows // trainer.num_micro_steps(ranks),
        gradient_clip=trainer.gradient_clip,
        device=own_device(trainer),
        precision=resolve_precision(trainer.precision, trainer.accelerator),
    )
    checkpoint = newest_valid(Path(settings.run_dir) / "checkpoints")
    workload = Workload(
        0 if checkpoint is None else min(step_of_folder(checkpoint), trainer.max_steps),
        trainer.max_steps,
        trainer.valid_every,
        0 if validate is None else validate.num_reads(lm),
        windows,
    )
    limit = trainer.max_minutes
    return workload.sentence(seconds, limit=limit, left=None if limit is None else 60 * limit)
