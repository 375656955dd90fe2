"""Likelihood of a mixture from the likelihoods of its genomes.

Every base has the same weight, so that a pooled rate is the rate over all scored bases; genomes are
strata, so that the variances of their sums add. Markov models are fitted to each genome separately,
and the mixture is compared with the best one of each genome.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dnamdlm.evaluation.likelihood.likelihood_report import (
    MIXTURE_POSTERIOR,
    LikelihoodReport,
    LikelihoodRow,
)
from dnamdlm.evaluation.rates import Rate
from dnamdlm.evaluation.window_scores import ALL


def pooled_rate(rates: Sequence[Rate]) -> Rate:
    """The rate over everything that was counted, with the standard error of a stratified sum.

    Source: Cochran 1977, "Sampling techniques", section 5.3.
    """
    counted = [rate for rate in rates if rate.count]
    total = sum(rate.count for rate in counted)
    if not total:
        return Rate(math.nan, math.nan, 0)
    value = sum(rate.value * rate.count for rate in counted) / total
    variance = sum((rate.standard_error * rate.count / total) ** 2 for rate in counted)
    return Rate(value, math.sqrt(variance), total)


def pooled_report(reports: Mapping[str, LikelihoodReport]) -> LikelihoodReport:
    """One report for several genomes: all bases, those of each genome, and of each kind of region.

    Args:
        reports: the report of each genome, of the same model and split.
    """
    every = list(reports.values())
    baselines = {
        "interpolated": [_strongest(report) for report in every],
        "additive": [report.best_additive_markov for report in every],
    }
    rows = [_pooled_row(reports, every[0].rows[0], ["uniform"] * len(every))]
    differences: dict[str, dict[str, Rate]] = {}
    for smoothing, chosen in baselines.items():
        names = [name for name in chosen if name is not None]
        if len(names) < len(every):
            continue
        found = LikelihoodRow(
            f"markov_best_{smoothing}",
            f"The best {smoothing} Markov model of each genome",
            "markov",
            "exact",
            {},
            {"order": None, "smoothing": smoothing, "chosen_on_validation": True},
        )
        rows.append(_pooled_row(reports, found, names))
        differences[found.name] = _pooled(
            reports, [r.differences[name] for r, name in zip(every, names, strict=True)]
        )
    for row in (row for row in every[0].rows if row.family in ("copies", "mixture")):
        # weights and rule differ between genomes; they are in the report of each.
        shared = {name: row.details[name] for name in ("shares",) if name in row.details}
        label = row.label if row.family == "copies" else "Mixture with Markov models of each genome"
        if row.name == MIXTURE_POSTERIOR:
            label += ", with shares by its own likelihood"
        found = LikelihoodRow(row.name, label, row.family, row.kind, {}, shared)
        rows.append(_pooled_row(reports, found, [row.name] * len(every)))
        differences[row.name] = _pooled(reports, [r.differences[row.name] for r in every])
    rows.append(_pooled_row(reports, every[0].model, ["model"] * len(every)))
    markov = [row for row in rows if row.family == "markov"]
    names = {row.name for row in markov}
    return LikelihoodReport(
        rows=tuple(rows),
        differences=differences,
        best_markov=markov[0].name if markov else None,
        best_additive_markov=next((n for n in names if n.endswith("additive")), None),
        num_windows=sum(report.num_windows for report in every),
        length=every[0].length,
        draws=every[0].draws,
        seconds=sum(report.seconds for report in every),
        mask_rates=tuple(
            pooled_rate(rates) for rates in zip(*(r.mask_rates for r in every), strict=True)
        ),
        word_length=every[0].word_length,
    )


def _strongest(report: LikelihoodReport) -> str | None:
    """The best model that is not additive, where there is one."""
    return next((n for n in report.differences if n != report.best_additive_markov), None)


def _pooled_row(
    reports: Mapping[str, LikelihoodReport], like: LikelihoodRow, names: Sequence[str]
) -> LikelihoodRow:
    bits = []
    for report, name in zip(reports.values(), names, strict=True):
        bits.append(next(row.bits for row in report.rows if row.name == name))
    return LikelihoodRow(
        like.name, like.label, like.family, like.kind, _pooled(reports, bits), like.details
    )


def _pooled(
    reports: Mapping[str, LikelihoodReport], bits: Sequence[Mapping[str, Rate]]
) -> dict[str, Rate]:
    """Rates over all bases, of each genome, and of each further class where genomes have it."""
    classes = dict.fromkeys(name for by_class in bits for name in by_class if name != ALL)
    return {
        ALL: pooled_rate([by_class[ALL] for by_class in bits]),
        **{name: by_class[ALL] for name, by_class in zip(reports, bits, strict=True)},
        **{
            name: pooled_rate([by_class[name] for by_class in bits if name in by_class])
            for name in classes
        },
    }
