"""Giving the training windows of a model with pointers their templates."""

from __future__ import annotations

from dataclasses import replace

from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.assembly.pointed_genomes import pointed_genome
from dnamdlm.assembly.train.train_settings import TrainSettings
from dnamdlm.data.data_source import BatchStream, OpenData
from dnamdlm.data.genome.pointed_windows import PointedRows
from dnamdlm.data.stream import TrainingStream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.pointer_channel import Pointer, PointerChannel


def pointed_stream(lm: TrainedLM, opened: OpenData, settings: TrainSettings) -> BatchStream:
    """The stream of a training, with templates if the model has pointers.

    Args:
        lm: the model, which remembers the training split.
        opened: the data.
        settings: of the training.

    Raises:
        ConfigError: if the model points into another split, or its weights are to be divided.
        DataError: if the data are not one genome.
    """
    trainer = settings.trainer
    stream = opened.training_stream(settings.seed, trainer.global_batch_size)
    pointer, channel = getattr(lm, "pointer", None), getattr(lm, "pointer_channel", None)
    if not (isinstance(pointer, Pointer) and isinstance(channel, PointerChannel)):
        return stream
    if trainer.strategy == "fsdp2":
        raise ConfigError(
            "trainer.strategy=fsdp2 cannot divide a network with pointers; use "
            "trainer.strategy=ddp or copying=none"
        )
    genome = pointed_genome(lm, opened, "copying=pointer")
    channel.claim(genome.digest)
    assert isinstance(stream, TrainingStream), "one genome has windows of its own"
    rows = PointedRows(stream.source, genome, pointer.share, pointer.substitutions)
    return replace(stream, source=rows)
