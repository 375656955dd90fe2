"""The training split that a model with pointers points into, found in the data at hand."""

from __future__ import annotations

import logging
from typing import Any

from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.pointed_windows import PointedGenome
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.pointer_channel import PointerChannel

logger = logging.getLogger(__name__)


def pointer_channel_of(lm: Any, setting: str) -> PointerChannel:
    """The second input of a model.

    Args:
        lm: a language model.
        setting: what asks for it, for the message.

    Raises:
        ConfigError: if it has none.
    """
    channel = getattr(lm, "pointer_channel", None)
    if not isinstance(channel, PointerChannel):
        raise ConfigError(
            f"{setting} needs a model that was trained with copying=pointer, and this one was not; "
            f"leave {setting} out"
        )
    return channel


def pointed_genome(
    lm: Any, opened: OpenData, setting: str, *, looks_up: bool = True
) -> PointedGenome:
    """The training split for a model with pointers.

    Args:
        lm: the model.
        opened: the data at hand.
        setting: what asks for it, for messages.
        looks_up: whether windows are looked for in it, for which its words are indexed.

    Raises:
        ConfigError: if the model has no pointers, or was trained on another split.
        DataError: if the data are not one genome with a training split.
    """
    channel = pointer_channel_of(lm, setting)
    if not isinstance(opened, OpenGenome):
        raise DataError(
            f"{setting} copies from the training split of one genome, and these data are not one "
            "genome; use data=genome, or leave it out"
        )
    train = opened.splits["train"]
    if not train:
        raise DataError(
            f"{setting} copies from the training split, and there is no genome with one at hand; "
            "give data.fasta and data.train of the training"
        )
    word_length = None
    if looks_up:
        word_length = lm.pointer.word_length
        size = f"{sum(map(len, train)):,}"
        logger.info("indexing %s bases of the training split for pointers", size)
    genome = PointedGenome.of_split(opened.store, train, word_length)
    channel.check(genome.digest)
    return genome
