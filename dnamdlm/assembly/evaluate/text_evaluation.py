"""What is scored of a corpus under a model of text, and the figures of it: perplexity."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from dnamdlm.assembly.devices import windows_at_once
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluate.evaluated_parts import ScoredSweep
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
from dnamdlm.data.parts.part_folders import HASHED
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.evaluation.text.perplexity import TextReport, text_report
from dnamdlm.evaluation.window_scores import WindowScores

logger = logging.getLogger(__name__)


class TextEvaluation:
    """The rows of a split of the corpus of a model, or of another that was prepared alike.

    Figures of another corpus than that of the run go to a file of their own, SPLIT.CORPUS.json, and
    name it in the headline.

    Attributes:
        out: the file that figures go to.
        unit: what is counted, a plural.
        sweeps: what is scored.
        data: hash of what is scored, for the identity of parts.
    """

    unit = "rows"

    def __init__(self, settings: EvaluateSettings, loaded: LoadedModel) -> None:
        """Open the corpus.

        Raises:
            DataError: if it was made with another vocabulary.
        """
        self.settings, self.loaded = settings, loaded
        self.opened = corpus_data(loaded, settings.data)
        self.corpus = Path(self.opened.settings.corpus).resolve().name
        other = other_corpus(loaded, self.opened)
        self.out = evaluation_target(
            settings, loaded, settings.stem if other is None else f"{settings.stem}.{other}"
        )
        self._name = settings.split if other is None else f"{settings.split} of {other}"
        self._windows = self.opened.evaluation_windows(
            settings.split, limit=settings.limit, seed=settings.seed
        )
        self._vocabulary = loaded.language_model.vocabulary
        at_once = settings.batch_size or windows_at_once(
            self._windows.length, loaded.device, len(self._vocabulary)
        )
        self.sweeps = (ScoredSweep(self._windows, at_once),)
        self.data = f"{HASHED}{self.opened.fingerprint()}"

    def prepare(self) -> None:
        """Say what will be scored."""
        windows = self._windows
        logger.info("%s: %d rows of %d tokens", self.settings.split, len(windows), windows.length)

    def finish(
        self, target: Path, found: Sequence[tuple[WindowScores, float]], command: Sequence[str]
    ) -> str:
        """Write the figures.

        Args:
            target: the file.
            found: the scores of the rows, and the seconds that they took.
            command: that asked for them.

        Returns:
            The headline.
        """
        settings, loaded, opened = self.settings, self.loaded, self.opened
        ((scores, seconds),) = found
        report = text_report(
            scores,
            self._windows,
            opened.split(settings.split),
            opened.split("train") if opened.has_split("train") else None,
            draws=settings.draws,
            seconds=seconds,
            vocabulary=self._vocabulary,
        )
        sections = {
            "provenance": provenance(
                loaded,
                opened,
                command=list(command),
                strands=settings.strands,
                estimator=settings.estimator,
                seed=settings.seed,
                **settings.asked,
            ),
            "text": {"corpus": self.corpus, **report.to_json()},
        }
        others = is_of_model(target, loaded)
        write_evaluation(target, settings.split, sections, keep_others=others)
        headline = text_sentence(report, self._name)
        if not settings.asked and is_own_split(loaded, opened, settings.split):
            own = of_text(report, loaded.digest)
            store_held_out(loaded, settings.split, own)
            headline += verdict(own, settings.split)
        return headline


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
