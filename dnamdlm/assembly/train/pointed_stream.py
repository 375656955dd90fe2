"""Giving the training windows of a model with pointers their templates."""

from __future__ import annotations

from dataclasses import replace

from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.assembly.pointed_genomes import pointed_genome
from dnamdlm.data.data_source import BatchStream, OpenData
from dnamdlm.data.genome.pointed_windows import PointedRows
from dnamdlm.data.stream import TrainingStream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.pointer_channel import Pointer, PointerChannel


def with_pointers(
    stream: BatchStream, lm: TrainedLM, opened: OpenData, strategy: str
) -> BatchStream:
    """The stream of a training, with templates if the model has pointers.

    Args:
        stream: without.
        lm: the model, which remembers the training split.
        opened: the data.
        strategy: how weights are kept on several devices.

    Raises:
        ConfigError: if the model points into another split, or its weights are to be divided.
        DataError: if the data are not one genome.
    """
    settings, channel = getattr(lm, "pointer", None), getattr(lm, "pointer_channel", None)
    if not (isinstance(settings, Pointer) and isinstance(channel, PointerChannel)):
        return stream
    if strategy == "fsdp2":
        raise ConfigError(
            "trainer.strategy=fsdp2 cannot divide a network with pointers; use "
            "trainer.strategy=ddp or copying=none"
        )
    genome = pointed_genome(lm, opened, "copying=pointer")
    channel.claim(genome.digest)
    assert isinstance(stream, TrainingStream), "one genome has windows of its own"
    rows = PointedRows(stream.source, genome, settings.share, settings.substitutions)
    return replace(stream, source=rows)
