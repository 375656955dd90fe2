"""The tokenizer that a checkpoint of a model of text keeps, and what is said where none fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnamdlm.assembly.building.schema import TARGET, build
from dnamdlm.data.text.corpus import TextData
from dnamdlm.data.text.tokenizers import built_in_with
from dnamdlm.errors import CheckpointError
from dnamdlm.tokens.subwords import has_tokenizer
from dnamdlm.training.run_folder import read_run


def trained_with(description: Mapping[str, Any], folder: Path) -> str | None:
    """The name of the tokenizer of a model of text, as far as its folder tells; None for DNA."""
    if not is_text(description["config"]):
        return None
    if name := description.get("tokenizer") or built_in_with(description["vocabulary"]):
        return str(name)
    recorded = read_run(folder.parent.parent).get("data", {}).get("tokenizer", {})
    return str(recorded.get("name", "(not known)"))


def with_own_tokenizer(description: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The config in a checkpoint, with the tokenizer that the checkpoint keeps.

    One that was written before tokenizers were kept has none, and needs its corpus, unless it is
    of bytes or text8.
    """
    tree = dict(description["config"])
    if is_text(tree):
        own = str(folder.resolve()) if has_tokenizer(folder) else None
        own = own or built_in_with(description["vocabulary"])
        if own is not None:
            tree["data"] = tree["data"] | {"tokenizer": own}
    return tree


def is_text(tree: Mapping[str, Any]) -> bool:
    """Whether a config is that of a model of text."""
    data = tree.get("data")
    text = f"{TextData.__module__}.{TextData.__qualname__}"
    return isinstance(data, Mapping) and data.get(TARGET) == text


def other_vocabulary(
    description: Mapping[str, Any], folder: Path, tree: Mapping[str, Any]
) -> CheckpointError:
    """What is said where a corpus was prepared again with another tokenizer.

    Args:
        description: content of `model.json`.
        folder: the checkpoint.
        tree: its config as it was read.
    """
    name = trained_with(description, folder)
    if name is None:
        return CheckpointError(
            f"{folder} was trained with another vocabulary; use the version that wrote it"
        )
    settings: TextData = build(tree["data"], "data")
    return CheckpointError(
        f"{folder} was trained with the tokenizer {name}, but data.corpus={settings.corpus} was "
        f"prepared with the tokenizer {settings.open_tokenizer().name}, whose ids are others; "
        "prepare the corpus again with that of the model"
    )
