"""Which prediction tasks suit a model: those of DNA or those of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.tasks.labelled import LabelledTask, TaskSource
from dnamdlm.data.tasks.sentences import TextEncoder
from dnamdlm.errors import ConfigError

BASELINES_OF_DNA = ("kmer", "cnn")
BASELINES_OF_TEXT = ("bag_of_words",)
# settings of `finetune` that speak of DNA, with the values that leave them out.
_OF_DNA: Mapping[str, tuple[str, ...]] = {"strand": ("auto", "one"), "pooling": ("mean", "first")}


@runtime_checkable
class TextTaskSource(Protocol):
    """Settings of a family of tasks of text."""

    def open_text(self, task: str | None, encoder: TextEncoder) -> LabelledTask:
        """Read one task of the family with the tokenizer of a model."""
        ...


def encoder_of(text: Text, length: int | None) -> TextEncoder:
    """The tokenizer of a model of text, and how long its rows are.

    Args:
        text: modality of the model.
        length: tokens per row at most; None is what the model was trained with.

    Raises:
        DataError: if the tokenizer is missing.
    """
    return TextEncoder(text.tokenizer, length or text.settings.length)


def open_task(settings: FinetuneEntry, loaded: LoadedModel) -> LabelledTask:
    """The task that the settings name, as ids of the model.

    Args:
        settings: of `finetune`.
        loaded: the model.

    Raises:
        ConfigError: if the task is of text and the model of DNA, or the other way round.
        DataError: for files that are missing or damaged.
    """
    source = settings.data
    if isinstance(loaded.modality, Text):
        if not isinstance(source, TextTaskSource):
            raise ConfigError(
                f"model={settings.model} is a model of text, and these tasks are of DNA; take "
                "config=glue or config=table, or a model of DNA"
            )
        _check_settings(settings)
        return source.open_text(settings.task, encoder_of(loaded.modality, settings.max_length))
    if not isinstance(source, TaskSource):
        raise ConfigError(
            f"model={settings.model} is a model of DNA, and these tasks are of text; give a model "
            "of text, such as one of python -m dnamdlm.train config=text"
        )
    _refuse(settings.baselines or (), BASELINES_OF_TEXT, "text", "DNA")
    return source.open(settings.task)


def _check_settings(settings: FinetuneEntry) -> None:
    for key, allowed in _OF_DNA.items():
        if getattr(settings, key) not in allowed:
            raise ConfigError(
                f"{key}={getattr(settings, key)} is for models of DNA, and this is a model of "
                f"text; choose {' or '.join(allowed)}"
            )
    _refuse(settings.baselines or (), BASELINES_OF_DNA, "DNA", "text")


def _refuse(baselines: Sequence[str], others: tuple[str, ...], kind: str, own: str) -> None:
    for name in baselines:
        if name in others:
            raise ConfigError(
                f"baselines={name} is for {kind}, and the model is one of {own}; leave it out, as "
                f"in baselines=[{'majority' if own == 'DNA' else 'bag_of_words'},random_weights]"
            )
