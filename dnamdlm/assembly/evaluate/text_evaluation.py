"""The corpus that a model of text is scored on, and the headline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnamdlm.assembly.building.schema import build
from dnamdlm.assembly.models import UNKNOWN_FASTA, LoadedModel
from dnamdlm.data.text.corpus import OpenText, TextData
from dnamdlm.data.text.tokenizers import open_tokenizer
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.text.perplexity import TextReport
from dnamdlm.tokens.text_tokenizer import TextTokenizer, tokenizer_fingerprint

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
    own: str | None = node.get("tokenizer")
    if tree["data"]["corpus"] is not None:
        node |= {"corpus": tree["data"]["corpus"], "bring": None}
    if node["corpus"] == UNKNOWN_FASTA:
        raise ConfigError(
            f"model={tree['model']} has published weights, and what they were trained on is not "
            f"known; give data.corpus=DIR of text that was prepared with tokenizer={own}"
        )
    # each corpus brings the tokenizer that made it, and this is compared with that of the model.
    settings: TextData = build(node | {"tokenizer": None}, "data")
    opened = settings.open()
    _check_tokenizers(opened, loaded, tree["model"], own)
    return opened


def _check_tokenizers(opened: OpenText, loaded: LoadedModel, model: str, own: str | None) -> None:
    """Refuse a corpus whose ids mean other letters than those of the model."""
    theirs = opened.tokenizer
    if own is None:
        is_same = theirs.vocabulary.fingerprint() == loaded.lm.vocabulary.fingerprint()
        trained, advice = "another tokenizer", "the tokenizer of the model"
    else:
        tokenizer = open_tokenizer(own, cache_dir=opened.settings.cache_dir)
        # those published under one name come as several files, which treat oddities differently.
        is_kept = own == str(loaded.folder.resolve()) and loaded.step > 0
        mark = tokenizer_fingerprint if is_kept else _vocabulary_mark
        is_same = mark(theirs) == mark(tokenizer)
        trained, advice = f"the tokenizer {tokenizer.name}", f"tokenizer={own}"
    if not is_same:
        raise DataError(
            f"data.corpus={opened.settings.corpus} was prepared with the tokenizer {theirs.name}, "
            f"whose vocabulary is not that of the model: model={model} was trained with {trained}; "
            f"prepare it with {advice}, or give another data.corpus"
        )


def _vocabulary_mark(tokenizer: TextTokenizer) -> str:
    return tokenizer.vocabulary.fingerprint()


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
