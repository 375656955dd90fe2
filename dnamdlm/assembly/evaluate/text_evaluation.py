"""Perplexity of a split of a corpus under a model of text."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from dnamdlm.assembly.devices import windows_at_once
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluation_target import (
    evaluation_target,
    is_of_model,
    is_own_split,
    other_corpus,
    provenance,
)
from dnamdlm.assembly.held_out import of_text, store_held_out, verdict
from dnamdlm.assembly.model_data import corpus_data
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.evaluation.text.perplexity import TextReport, evaluate_text
from dnamdlm.evaluation.window_scores import Likelihoods
from dnamdlm.lm.language_model import LanguageModel

logger = logging.getLogger(__name__)


def score_text(
    settings: EvaluateSettings,
    loaded: LoadedModel,
    lm: LanguageModel,
    progress: Callable[[int, int], None],
    likelihoods: Likelihoods,
) -> tuple[Path, str]:
    """Perplexity of a split of the corpus of the model, or of another that was prepared alike.

    Figures of another corpus than that of the run go to a file of their own, SPLIT.CORPUS.json, and
    name it in the headline.

    Raises:
        DataError: if the corpus was made with another vocabulary.
    """
    opened = corpus_data(loaded, settings.data)
    corpus = Path(opened.settings.corpus).resolve().name
    other = other_corpus(loaded, opened)
    stem = settings.split if other is None else f"{settings.split}.{other}"
    out = evaluation_target(settings, loaded, stem)
    windows = opened.evaluation_windows(settings.split, limit=settings.limit, seed=settings.seed)
    logger.info("%s: %d rows of %d tokens", settings.split, len(windows), windows.length)
    report = evaluate_text(
        lm,
        windows,
        opened.split(settings.split),
        opened.split("train") if opened.has_split("train") else None,
        draws=settings.draws,
        estimator=settings.estimator,
        batch_size=settings.batch_size
        or windows_at_once(windows.length, loaded.device, len(lm.vocabulary)),
        device=loaded.device,
        progress=progress,
        likelihoods=likelihoods,
    )
    sections = {
        "provenance": provenance(
            loaded,
            opened,
            strands=settings.strands,
            estimator=settings.estimator,
            seed=settings.seed,
        ),
        "text": {"corpus": corpus, **report.to_json()},
    }
    write_evaluation(out, settings.split, sections, keep_others=is_of_model(out, loaded))
    name = settings.split if other is None else f"{settings.split} of {other}"
    headline = text_sentence(report, name)
    if is_own_split(loaded, opened, settings.split):
        found = of_text(report, loaded.digest)
        store_held_out(loaded, settings.split, found)
        headline += verdict(found, settings.split)
    return out, headline


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
