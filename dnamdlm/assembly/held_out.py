"""How good a run is on its own held-out splits: stored with the run, read by later commands.

`held_out.json` in the run folder holds, for each split, the likelihood of the weights that were
evaluated last and of the best baseline. A command that uses these weights warns if the baseline is
better.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.files import write_text
from dnamdlm.errors import DataError
from dnamdlm.evaluation.likelihood.likelihood_report import LikelihoodReport
from dnamdlm.evaluation.text.perplexity import TextReport
from dnamdlm.evaluation.window_scores import UNIQUE_WINDOWS
from dnamdlm.lm.published.exported_folder import is_exported, read_record

logger = logging.getLogger(__name__)

HELD_OUT = "held_out.json"
SPLITS = ("test", "valid")
"""Splits that a model was not trained on, the one that is quoted first."""

_FORMAT = {"format": "dnamdlm.held_out", "format_version": 1}
# of a normal distribution: what is further from zero than this is not chance, at 95 %.
_SIGMAS = 1.96


@dataclass(frozen=True)
class HeldOut:
    """Likelihood of a held-out split under some weights, and under the best baseline.

    Attributes:
        model_sha256: hash of the weights.
        unit: `base` or `token`.
        count: positions that were scored.
        bits: bits per position of the model.
        standard_error: of it; None where one window was scored.
        baseline: name of the best baseline for people.
        baseline_bits: bits per position of the baseline.
        difference: model minus baseline; positive where the model is worse.
        difference_error: standard error of the difference, or None.
        windows: which windows these are figures of, or empty for all.
    """

    model_sha256: str
    unit: Literal["base", "token"]
    count: int
    bits: float
    standard_error: float | None
    baseline: str
    baseline_bits: float
    difference: float
    difference_error: float | None
    windows: str = ""

    @property
    def is_worse(self) -> bool:
        """Whether the baseline is better, by more than chance explains."""
        return self.difference > _SIGMAS * (self.difference_error or 0.0)

    @property
    def comparison(self) -> str:
        """Both figures and their difference."""
        error = "" if self.difference_error is None else f" +- {self.difference_error:.4f}"
        return (
            f"{self.bits:.4f} compared with {self.baseline_bits:.4f} bits per {self.unit}, "
            f"a difference of {self.difference:+.4f}{error}"
            f"{f', on {self.windows}' if self.windows else ''}"
        )


_READER = TypeAdapter(dict[str, HeldOut])


def of_genome(report: LikelihoodReport, digest: str) -> HeldOut:
    """The figures of a split of a genome.

    The baseline is the Markov model that is best on the validation split, or else uniform. Where
    repeats are distinguished, the figures are those of the other windows, and the baseline is the
    Markov model that is best there: what a table of counts copies says nothing about a network.

    Args:
        report: likelihood of the split.
        digest: SHA-256 of the weights.
    """
    name, part = report.best_markov or "uniform", "all"
    if UNIQUE_WINDOWS in report.model.bits and (best := report.best_on(UNIQUE_WINDOWS)):
        name, part = best.name, UNIQUE_WINDOWS
    baseline = next(row for row in report.rows if row.name == name)
    bits = report.model.bits[part]
    value, error = bits.value - baseline.bits[part].value, bits.standard_error
    if name in report.differences:
        difference = report.differences[name][part]
        value, error = difference.value, difference.standard_error
    return HeldOut(
        digest,
        "base",
        bits.count,
        bits.value,
        _finite(bits.standard_error),
        baseline.label,
        baseline.bits[part].value,
        value,
        _finite(error),
        ""
        if part == "all"
        else f"windows without a {report.word_length}-mer of the training split",
    )


def of_text(report: TextReport, digest: str) -> HeldOut:
    """The figures of a split of text: compared with the frequencies of the tokens in training."""
    bits = report.bits
    unigram = report.uniform if report.unigram is None else report.unigram.value
    return HeldOut(
        digest,
        "token",
        bits.count,
        bits.value,
        _finite(bits.standard_error),
        "a uniform choice" if report.unigram is None else "the frequencies of single tokens",
        unigram,
        bits.value - unigram,
        _finite(bits.standard_error),
    )


def verdict(found: HeldOut, split: str) -> str:
    """What `evaluate` adds to its headline: nothing where the baseline is not better."""
    if not found.is_worse:
        return ""
    return (
        f"\nThis model is worse than {found.baseline} on its own {split} split "
        f"({found.comparison}).\n  Train it for more steps or with a larger network before you "
        "use its scores, embeddings or sequences."
    )


def store_held_out(loaded: LoadedModel, split: str, found: HeldOut) -> None:
    """Keep the figures in the run folder; those of the same weights from more positions stay.

    A run folder that cannot be written is left alone, with a warning.

    Args:
        loaded: the model; one without a run folder has no place for them.
        split: `valid` or `test`; figures of the training split are not kept.
        found: what was measured.
    """
    if loaded.run_dir is None or split not in SPLITS:
        return
    kept = _read(loaded.run_dir / HELD_OUT)
    before = kept.get(split)
    if before and before.model_sha256 == found.model_sha256 and before.count > found.count:
        return
    splits = {name: dataclasses.asdict(entry) for name, entry in {**kept, split: found}.items()}
    content = json.dumps({**_FORMAT, "splits": splits}, indent=1, allow_nan=False)
    try:
        write_text(loaded.run_dir / HELD_OUT, content + "\n")
    except DataError as error:
        logger.warning("%s; later commands do not know how good this model is", error)


def held_out_of(loaded: LoadedModel) -> tuple[str, HeldOut] | None:
    """Split and figures of exactly these weights, of the test split if there are any of it."""
    kept = held_out_by_split(loaded)
    for split in SPLITS:
        if split in kept and kept[split].model_sha256 == loaded.digest:
            return split, kept[split]
    return None


def held_out_by_split(loaded: LoadedModel) -> dict[str, HeldOut]:
    """Split -> figures of the run of a model, or those that its exported folder has."""
    if loaded.run_dir is not None:
        return _read(loaded.run_dir / HELD_OUT)
    if not is_exported(loaded.folder):
        return {}
    try:
        return _READER.validate_python(read_record(loaded.folder).held_out)
    except ValidationError:
        return {}


def warn_if_worse(loaded: LoadedModel) -> None:
    """Warn before weights are used that are worse than a baseline, with the figures."""
    found = held_out_of(loaded)
    if found is None or not found[1].is_worse:
        return
    split, figures = found
    logger.warning(
        "%s is worse than %s on its own %s split (%s); take its results with caution",
        loaded.run_dir or loaded.folder, figures.baseline, split, figures.comparison,
    )  # fmt: skip


def _read(path: Path) -> dict[str, HeldOut]:
    """Split -> figures; nothing where the file is absent or not one of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if {key: content.get(key) for key in _FORMAT} != _FORMAT:
            return {}
        return _READER.validate_python(content.get("splits"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, ValidationError):
        return {}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
