"""Likelihood of a whole split: bits per base with standard errors, compared with Markov models.

Every base of the split counts once. Per-base figures of a bound are sums of its terms at those
bases. Markov models see the whole chromosome before a base, which favours them over a model of
windows; differences to them are paired window by window.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.likelihood.before_windows import nats_before
from dnamdlm.evaluation.likelihood.markov_scores import score_copies, score_markov
from dnamdlm.evaluation.likelihood.mixture_scores import ChosenMixture, mixed_scores
from dnamdlm.evaluation.likelihood.pointer_scores import PointedScores
from dnamdlm.evaluation.rates import Rate
from dnamdlm.evaluation.window_scores import (
    REPEATS,
    UNIQUE_WINDOWS,
    BaseClasses,
    WindowScores,
)
from dnamdlm.lm.markov import Smoothing
from dnamdlm.words.context_model import MarkovFit
from dnamdlm.words.copies import CopyFit
from dnamdlm.words.markov_chain import MarkovChain

MIXTURE, MIXTURE_POSTERIOR = "mixture_markov", "mixture_markov_posterior"
"""Names of the rows of a mixture: its bound without bias, and the tighter one."""

POINTER, POINTER_POSTERIOR = "pointer", "pointer_posterior"
"""Names of the rows of a model with a pointer: its bound without bias, and the tighter one."""

BASELINES = ("markov", "copies")
"""Families of rows that the model is compared with."""


@dataclass(frozen=True)
class LikelihoodRow:
    """One line of the table of likelihoods.

    Attributes:
        name: unique short name.
        label: shown to people.
        family: "uniform", "markov", "copies", "mixture", "pointer" or "model".
        kind: "exact" or "upper bound".
        bits: bits per base of each class.
        details: further JSON values (order, smoothing, ...).
    """

    name: str
    label: str
    family: str
    kind: str
    bits: Mapping[str, Rate]
    details: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a figure that is not a number becomes null."""
        return {
            "name": self.name,
            "label": self.label,
            "family": self.family,
            "kind": self.kind,
            **self.details,
            "classes": {name: _rate_json(rate) for name, rate in self.bits.items()},
        }


@dataclass(frozen=True)
class LikelihoodReport:
    """Everything about the likelihood of one split; `to_json` is the section of the file.

    Attributes:
        rows: uniform, Markov orders, these with copies, mixtures of the model with them, the model
            with its pointer, and the model last.
        differences: baseline name -> class -> bits per base of the model minus the baseline, for
            every Markov row, copies, mixture and pointer; first those that are best on validation.
        best_markov: name of the Markov row that is best on validation, or None.
        best_additive_markov: the same among additive (textbook) models, or None.
        num_windows: windows scored.
        length: positions per window.
        draws: noise draws per window.
        seconds: time spent on the model alone, added over processes.
        mask_rates: bits per hidden base in each tenth of the mask rate; empty for a model that
            does not hide.
        word_length: bases of the words that make a window a repeat, or None where windows were not
            compared with the training split.
        mask_rate_density: see `WindowScores.best_mask_rates`; for `lm.objective.density`.
    """

    rows: tuple[LikelihoodRow, ...]
    differences: Mapping[str, Mapping[str, Rate]]
    best_markov: str | None
    best_additive_markov: str | None
    num_windows: int
    length: int
    draws: int
    seconds: float
    mask_rates: tuple[Rate, ...] = ()
    word_length: int | None = None
    mask_rate_density: tuple[float, ...] = ()

    def best_on(self, name: str) -> LikelihoodRow | None:
        """The baseline with the fewest bits per base of a class; chosen on the split itself.

        The choice favours the baseline.
        """
        rows = [row for row in self.rows if row.family in BASELINES and name in row.bits]
        return min(rows, key=lambda row: row.bits[name].value, default=None)

    @property
    def chosen(self) -> list[str]:
        """Names of the baselines that are best on validation, one for each smoothing."""
        rows = {row.name: row for row in self.rows}
        return [
            name
            for name in self.differences
            if name in rows and rows[name].details.get("chosen_on_validation", True)
        ]

    @property
    def model(self) -> LikelihoodRow:
        """The row of the evaluated model."""
        return self.rows[-1]

    def to_json(self) -> dict[str, Any]:
        """The section "likelihood" of an evaluation file (see `evaluation_files`)."""
        return {
            "num_windows": self.num_windows,
            "window_length": self.length,
            "draws": self.draws,
            "seconds": self.seconds,
            "classes": list(self.model.bits),
            "rows": [row.to_json() for row in self.rows],
            "best_markov": self.best_markov,
            "best_additive_markov": self.best_additive_markov,
            "repeats": None if self.word_length is None else self._repeats_json(),
            "mask_rates": [
                {
                    "above": decile / len(self.mask_rates),
                    "to": (decile + 1) / len(self.mask_rates),
                    "hidden_bases": rate.count,
                    "bits_per_base": _finite(rate.value),
                    "standard_error": _finite(rate.standard_error),
                }
                for decile, rate in enumerate(self.mask_rates)
            ],
            "mask_rate_density": [round(value, 4) for value in self.mask_rate_density] or None,
            "differences": [
                {
                    "baseline": baseline,
                    "classes": {
                        name: {
                            "bits_per_base": rate.value,
                            "standard_error": _finite(rate.standard_error),
                        }
                        for name, rate in by_class.items()
                    },
                }
                for baseline, by_class in self.differences.items()
            ],
        }

    def _repeats_json(self) -> dict[str, Any]:
        """What the split into unique windows and repeats is, and the best Markov row of each."""
        best = {name: self.best_on(name) for name in ("all", UNIQUE_WINDOWS, REPEATS)}
        return {
            "word_length": self.word_length,
            "best_markov_by_class": {name: row.name for name, row in best.items() if row},
        }


def likelihood_report(
    scores: WindowScores,
    windows: Sweep[SplitWindows],
    classes: BaseClasses,
    *,
    draws: int,
    seconds: float,
    markov: Mapping[Smoothing, MarkovFit[Any]] | None = None,
    copies: CopyFit | None = None,
    mixture: ChosenMixture | None = None,
    pointer: PointedScores | None = None,
    word_length: int | None = None,
) -> LikelihoodReport:
    """Bits per base of a model over a whole split, by class, compared with Markov baselines.

    Args:
        scores: of the windows under the model, by these classes.
        windows: the split.
        classes: of bases.
        draws: noise draws per window.
        seconds: spent on the model.
        markov: fitted families, see `fit_markov` and `fit_markov_chain`; None leaves the Markov
            rows out.
        copies: the chain of `markov` with copies; None leaves its row out.
        mixture: of the model with Markov models of `markov` and `copies`; None leaves its rows out.
        pointer: scores of the model with its pointer to the training split; None leaves these rows
            out.
        word_length: bases of the words by which the classes tell repeats; None if they do not.
    """
    present = [name for name in classes.names if scores.bits(name).count]
    counts = {name: scores.bits(name).count for name in present}
    uniform = {name: Rate(2.0, 0.0, count) for name, count in counts.items()}
    rows = [LikelihoodRow("uniform", "Uniform over A, C, G, T", "uniform", "exact", uniform, {})]
    baselines: dict[str, WindowScores] = {}
    fits = dict(markov or {})
    for smoothing, fit in fits.items():
        models = fit.models
        for entry, valid_bits, markov_scores in zip(
            models, fit.valid_bits, score_markov(models, windows, classes), strict=True
        ):
            baselines[entry.name] = markov_scores
            details = {
                "order": entry.order,
                "smoothing": smoothing,
                "pseudo_count": entry.pseudo_counts[-1],
                "valid_bits_per_base": valid_bits,
                "chosen_on_validation": entry.order == fit.best_order,
            }
            if isinstance(entry, MarkovChain):
                details["orders"] = list(entry.orders)
            bits = {name: markov_scores.bits(name) for name in present}
            rows.append(LikelihoodRow(entry.name, entry.label, "markov", "exact", bits, details))
    if copies is not None:
        name = copies.model.name
        baselines[name] = score_copies(copies.model, windows, classes)
        rows.append(_copies_row(copies, {part: baselines[name].bits(part) for part in present}))
    best = {smoothing: fit.best.name for smoothing, fit in fits.items()}
    mixtures: dict[str, WindowScores] = {}
    if mixture is not None:
        before = nats_before(mixture.before, windows) if mixture.before else None
        mixtures = _mixtures(mixture, scores, baselines, before)
        rows += [_mixture_row(row, mixture, present) for row in mixtures.items()]
    if pointer is not None:
        mixtures |= {POINTER: pointer.by_rule, POINTER_POSTERIOR: pointer.posterior}
        rows += [_pointer_row(name, pointer, present) for name in (POINTER, POINTER_POSTERIOR)]
    ordered = {name: baselines[name] for name in best.values()} | baselines | mixtures
    strongest = min(fits.values(), key=lambda fit: min(fit.valid_bits)).best.name if fits else None
    model_bits = {name: scores.bits(name) for name in present}
    rows.append(LikelihoodRow("model", "This model", "model", scores.kind, model_bits, {}))
    return LikelihoodReport(
        rows=tuple(rows),
        differences={
            baseline: {name: scores.bits_above(found, name) for name in present}
            for baseline, found in ordered.items()
        },
        best_markov=strongest,
        best_additive_markov=best.get("additive"),
        num_windows=len(windows),
        length=windows.length,
        draws=draws,
        seconds=seconds,
        mask_rates=scores.decile_bits(),
        word_length=word_length,
        mask_rate_density=scores.best_mask_rates(),
    )


def _mixtures(
    mixture: ChosenMixture,
    scores: WindowScores,
    baselines: Mapping[str, WindowScores],
    before: np.ndarray | None,
) -> dict[str, WindowScores]:
    """The forms of a mixture by the names of their rows: one where the model is exact."""
    posterior = mixed_scores(scores, baselines, mixture, by_rule=False, before=before)
    if posterior.kind == "exact":
        return {MIXTURE: posterior}
    return {
        MIXTURE: mixed_scores(scores, baselines, mixture, by_rule=True, before=before),
        MIXTURE_POSTERIOR: posterior,
    }


def _copies_row(copies: CopyFit, bits: Mapping[str, Rate]) -> LikelihoodRow:
    model = copies.model
    details = {
        "order": model.chain.order,
        "seed_lengths": [copier.index.length for copier in model.copiers],
        "reach": max(copier.reach for copier in model.copiers),
        "valid_bits_per_base": copies.valid_bits,
    }
    return LikelihoodRow(model.name, model.label, "copies", "exact", bits, details)


def _mixture_row(
    found: tuple[str, WindowScores], mixture: ChosenMixture, present: Sequence[str]
) -> LikelihoodRow:
    name, scores = found
    has_rule = name == MIXTURE and scores.kind != "exact"
    parts = "Markov models and copies" if mixture.copies else "Markov models"
    by_window = mixture.fit.by_window
    label = f"Mixture with {parts}, pi = {mixture.fit.pi:.3f}"
    if by_window is not None:
        label += " on average"
    if name == MIXTURE_POSTERIOR:
        label += ", with shares by its own likelihood"
    details = {
        "pi": mixture.fit.pi,
        "weights": mixture.weights,
        "weights_by_window": None if by_window is None else dataclasses.asdict(by_window),
        "shares": "rule" if has_rule else "posterior",
        "rule": list(mixture.fit.rule.coefficients) if has_rule else None,
        "num_windows_to_choose_by": mixture.num_windows,
        "chosen_on_validation": True,
    }
    bits = {part: scores.bits(part) for part in present}
    return LikelihoodRow(name, label, "mixture", scores.kind, bits, details)


def _pointer_row(name: str, pointer: PointedScores, present: Sequence[str]) -> LikelihoodRow:
    chosen, by_rule = pointer.chosen, name == POINTER
    scores = pointer.by_rule if by_rule else pointer.posterior
    label = (
        f"This model with a pointer to the training genome, pi = {chosen.fit.pi:.3f}, "
        f"{chosen.bits:.1f} bits a pointer"
    )
    details = {
        "pi": chosen.fit.pi,
        "bits_per_pointer": chosen.bits,
        "shares": "rule" if by_rule else "posterior",
        "rule": list(chosen.fit.rule.coefficients) if by_rule else None,
        "num_windows_that_point": pointer.num_pointed,
        "num_windows_to_choose_by": chosen.num_windows,
        "num_windows_to_choose_by_that_point": chosen.num_pointed,
        "chosen_on_validation": True,
    }
    if not by_rule:
        label += ", with shares by its own likelihood"
    bits = {part: scores.bits(part) for part in present}
    return LikelihoodRow(name, label, "pointer", scores.kind, bits, details)


def _rate_json(rate: Rate) -> dict[str, Any]:
    nats = rate.value * math.log(2.0)
    return {
        "bases": rate.count,
        "bits_per_base": rate.value,
        "standard_error": _finite(rate.standard_error),
        "nats_per_base": nats,
        "perplexity": math.exp(nats),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
