"""The corpus that a model of text is scored on, and the headline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnamdlm.assembly.building import TARGET, build
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.text import OpenText, TextData
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.text import TextReport

# settings of `evaluate` that speak of bases, with the value that leaves them out.
_OF_DNA: Mapping[str, Any] = {
    "genome": None,
    "reference": "split",
    "motifs": None,
    "genes": False,
    "locus": None,
    "overlap_report": False,
    "strands": "one",
}


def is_text(tree: Mapping[str, Any]) -> bool:
    """Whether a config is that of a model of text."""
    return tree["data"].get(TARGET) == f"{TextData.__module__}.{TextData.__qualname__}"


def text_data(tree: Mapping[str, Any], loaded: LoadedModel) -> OpenText:
    """The corpus of the model, or the one that the command line names, cut alike.

    Raises:
        ConfigError: for a setting that is for DNA.
        DataError: if the corpus was made with another vocabulary.
    """
    for key, without in _OF_DNA.items():
        if tree[key] != without:
            raise ConfigError(f"{key} is for models of DNA, and this is one of text; leave it out")
    for key, value in tree["data"].items():
        if value is not None and key not in ("corpus", "cache_dir"):
            raise ConfigError(
                f"data.{key} is for models of DNA, and this is one of text; give data.corpus"
            )
    node = dict(loaded.tree["data"])
    if tree["data"]["corpus"] is not None:
        node |= {"corpus": tree["data"]["corpus"], "tokenizer": None, "bring": None}
    settings: TextData = build(node, "data")
    opened = settings.open()
    if opened.tokenizer.vocabulary.fingerprint() != loaded.lm.vocabulary.fingerprint():
        raise DataError(
            f"data.corpus={settings.corpus} was prepared with the tokenizer "
            f"{opened.tokenizer.name}, whose vocabulary is not that of the model; prepare it with "
            "the tokenizer of the model"
        )
    return opened


def text_sentence(report: TextReport, split: str) -> str:
    """The headline in one line."""
    bits = report.bits
    text = (
        f"{split}: perplexity {report.perplexity:.2f} +- {report.perplexity_error:.2f} per token, "
        f"{bits.value:.4f} +- {bits.standard_error:.4f} bits per token "
        f"({report.kind}, {bits.count:,} tokens)"
    )
    if report.bits_per_byte is not None:
        text += f"\n  {report.bits_per_byte:.4f} bits per byte"
    if report.unigram is not None:
        text += f"\n  unigram frequencies: perplexity {2.0**report.unigram.value:.2f}"
    return text
