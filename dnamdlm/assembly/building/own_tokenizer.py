"""The tokenizer that a checkpoint of a model of text keeps, and the errors where none fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.data.text.corpus import TextData
from dnamdlm.data.text.tokenizers import built_in_with
from dnamdlm.errors import CheckpointError
from dnamdlm.tokens.subwords import has_tokenizer
from dnamdlm.training.run_folder import read_run


def config_of_checkpoint(
    description: Mapping[str, Any], folder: Path, trust: Sequence[str] = ()
) -> ModelConfig:
    """The config in a checkpoint, with the tokenizer that the checkpoint keeps.

    A checkpoint that was written before tokenizers were kept has none, and needs its corpus, unless
    its tokenizer is built in.

    Args:
        description: content of `model.json`.
        folder: of the checkpoint.
        trust: packages whose classes the config may name.
    """
    config = ModelConfig.stored(description["config"], trust).without_local_places()
    if not config.has_data or not isinstance(config.data, TextData):
        return config
    own = str(folder.resolve()) if has_tokenizer(folder) else None
    own = own or built_in_with(description["vocabulary"])
    return config if own is None else config.with_data(tokenizer=own)


def check_vocabulary(
    description: Mapping[str, Any], folder: Path, vocabulary: str, config: ModelConfig
) -> None:
    """Refuse a checkpoint whose ids mean other letters.

    Args:
        description: content of its `model.json`.
        folder: of the checkpoint.
        vocabulary: fingerprint of the vocabulary at hand.
        config: of the model at hand; its corpus is named.

    Raises:
        CheckpointError: naming the checkpoint and, for text, both tokenizers.
    """
    if description["vocabulary"] == vocabulary:
        return
    name = _trained_with(description, folder)
    if name is None or not isinstance(config.data, TextData):
        raise CheckpointError(
            f"{folder} was trained with another vocabulary; choose another run_dir, or use the "
            "version that wrote it"
        )
    raise CheckpointError(
        f"{folder} was trained with the tokenizer {name}, but data.corpus={config.data.corpus} was "
        f"prepared with the tokenizer {config.data.open_tokenizer().name}, whose ids differ; "
        "prepare the corpus with the tokenizer of the model, or choose another run_dir"
    )


def _trained_with(description: Mapping[str, Any], folder: Path) -> str | None:
    """The name of the tokenizer of a model of text, as far as its folder says; None for DNA."""
    if not isinstance(ModelConfig.stored(description["config"]).data, TextData):
        return None
    if name := description.get("tokenizer") or built_in_with(description["vocabulary"]):
        return str(name)
    recorded = read_run(folder.parent.parent).get("data", {}).get("tokenizer", {})
    return str(recorded.get("name", "(not known)"))
