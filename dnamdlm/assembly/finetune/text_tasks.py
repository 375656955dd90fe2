"""Which prediction tasks suit a model: those of DNA or those of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from dnamdlm.assembly.building.own_tokenizer import is_text
from dnamdlm.assembly.building.schema import build
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.tasks.labelled import LabelledTask, TaskSource
from dnamdlm.data.tasks.sentences import TextEncoder
from dnamdlm.data.text.corpus import TextData
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


def encoder_of(config: Mapping[str, Any], length: int | None) -> TextEncoder:
    """The tokenizer of a model of text, and how long its rows are.

    Args:
        config: of the model.
        length: tokens per row at most; None is what the model was trained with.

    Raises:
        DataError: if the tokenizer is gone.
    """
    settings: TextData = build(config["data"], "data")
    return TextEncoder(settings.open_tokenizer(), length or settings.length)


def open_task(source: object, tree: Mapping[str, Any], loaded: LoadedModel) -> LabelledTask:
    """The task that the command line names, as ids of the model.

    Args:
        source: the `data` group of `finetune`.
        tree: the config of `finetune`.
        loaded: the model.

    Raises:
        ConfigError: if the task is of text and the model of DNA, or the other way round.
        DataError: for files that are missing or not as they should be.
    """
    if is_text(loaded.tree):
        if not isinstance(source, TextTaskSource):
            raise ConfigError(
                f"model={tree['model']} is a model of text, and these tasks are of DNA; take "
                "config=glue or config=table, or a model of DNA"
            )
        _check_settings(tree)
        return source.open_text(tree["task"], encoder_of(loaded.tree, tree["max_length"]))
    if not isinstance(source, TaskSource):
        raise ConfigError(
            f"model={tree['model']} is a model of DNA, and these tasks are of text; give a model "
            "of text, such as one of python -m dnamdlm.train config=text"
        )
    _refuse(tree["baselines"], BASELINES_OF_TEXT, "text", "DNA")
    return source.open(tree["task"])


def _check_settings(tree: Mapping[str, Any]) -> None:
    for key, allowed in _OF_DNA.items():
        if tree[key] not in allowed:
            raise ConfigError(
                f"{key}={tree[key]} is for models of DNA, and this is one of text; choose "
                f"{' or '.join(allowed)}"
            )
    _refuse(tree["baselines"], BASELINES_OF_DNA, "DNA", "text")


def _refuse(baselines: list[str], others: tuple[str, ...], kind: str, own: str) -> None:
    for name in baselines:
        if name in others:
            raise ConfigError(
                f"baselines={name} is for {kind}, and the model is one of {own}; leave it out, as "
                f"in baselines=[{'majority' if own == 'DNA' else 'bag_of_words'},random_weights]"
            )
