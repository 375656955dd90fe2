"""Held-out likelihood of a split under a trained model, compared with baselines."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnamdlm.assembly.block_lengths import with_block_length
from dnamdlm.assembly.class_labels import check_same_labels
from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluate.markov_mixture import check_mixture, choose_markov_mixture
from dnamdlm.assembly.evaluate.spread_likelihoods import spread_likelihoods
from dnamdlm.assembly.evaluate.text_evaluation import score_text
from dnamdlm.assembly.evaluation_target import (
    evaluation_target,
    is_of_model,
    is_own_split,
    provenance,
)
from dnamdlm.assembly.held_out import of_genome, store_held_out, verdict
from dnamdlm.assembly.modality import Text, refuse_foreign
from dnamdlm.assembly.model_data import chosen_genomes, genome_data
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.overlap import refuse_trained_bases, report_overlap
from dnamdlm.assembly.strands import with_strands
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.mixture import OpenMixture
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.evaluation.likelihood.likelihood_report import LikelihoodReport, evaluate_likelihood
from dnamdlm.evaluation.likelihood.mixtures import pooled_report
from dnamdlm.evaluation.shared_windows import SharedWindows, shared_windows
from dnamdlm.evaluation.window_scores import (
    REPEATS,
    SOFT_MASKED,
    UNIQUE,
    UNIQUE_WINDOWS,
    Likelihoods,
)
from dnamdlm.lm.chain_fit import fit_chain_copies, fit_markov_chain
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.markov import Smoothing
from dnamdlm.lm.markov_fit import fit_markov
from dnamdlm.progress import watched
from dnamdlm.threads import running_with
from dnamdlm.words.context_model import MarkovFit
from dnamdlm.words.markov_chain import DENSE_ORDER, chain_orders
from dnamdlm.words.sorted_words import MAX_BASES

logger = logging.getLogger(__name__)


def evaluate(settings: EvaluateSettings) -> tuple[Path, str]:
    """Score a split and write the figures.

    Returns:
        The JSON file, and its headline for people.

    Raises:
        ConfigError: for a setting that does not suit the model or the data.
        DataError: for data that cannot be used, or on which the model was trained.
    """
    start_ops(settings.ops, settings.device, settings.precision)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    loaded = with_block_length(loaded, settings.block_length)
    refuse_foreign(settings, loaded.modality)
    lm = with_strands(loaded.language_model, settings.strands)
    lm.chosen_estimator(settings.estimator)
    at_once = settings.batch_size or windows_at_once(
        loaded.length, loaded.device, len(lm.vocabulary)
    )
    plan = plan_for(
        loaded.lm, at_once * loaded.length, threads=settings.threads, workers=settings.workers
    )
    likelihoods = spread_likelihoods(
        loaded,
        lm,
        plan,
        strands=settings.strands,
        draws=settings.draws,
        estimator=settings.estimator,
    )
    with running_with(plan.threads):
        if isinstance(loaded.modality, Text):
            with watched("scoring", "rows") as watch:
                return score_text(settings, loaded, lm, watch, likelihoods)
        return _score_genome(settings, loaded, lm, likelihoods)


def _score_genome(
    settings: EvaluateSettings, loaded: LoadedModel, lm: LanguageModel, likelihoods: Likelihoods
) -> tuple[Path, str]:
    out = evaluation_target(settings, loaded, settings.split)
    opened = genome_data(loaded, settings.data).open()
    check_same_labels(loaded, opened)
    genomes = chosen_genomes(opened, settings.genome)
    if loaded.data_record:
        refuse_trained_bases(loaded.data_record, genomes, settings.split)
    for genome in genomes.values():
        genome.check_files()
    if settings.mixture:
        check_mixture(settings.mixture, loaded, genomes, opened.fingerprint())
    windows = _windows_of(opened, genomes, settings)
    reports = _score_genomes(settings, lm, windows, genomes, loaded=loaded, likelihoods=likelihoods)
    report = pooled_report(reports) if len(genomes) > 1 else next(iter(reports.values()))
    sections: dict[str, Any] = {
        "provenance": provenance(
            loaded,
            opened,
            strands=settings.strands,
            estimator=settings.estimator,
            seed=settings.seed,
        ),
        "likelihood": report.to_json(),
    }
    if len(genomes) > 1:
        sections["genomes"] = {name: part.to_json() for name, part in reports.items()}
    if settings.overlap_report:
        sections["overlap"] = report_overlap(opened)
    write_evaluation(out, settings.split, sections, keep_others=is_of_model(out, loaded))
    headline = sentence(report, settings.split, list(reports) if len(genomes) > 1 else ())
    if settings.genome is None and is_own_split(loaded, opened, settings.split):
        found = of_genome(report, loaded.digest)
        store_held_out(loaded, settings.split, found)
        headline += verdict(found, settings.split)
    return out, headline


def _score_genomes(
    settings: EvaluateSettings,
    lm: LanguageModel,
    windows: Mapping[str, Sweep[SplitWindows]],
    genomes: Mapping[str, OpenGenome],
    *,
    loaded: LoadedModel,
    likelihoods: Likelihoods,
) -> dict[str, LikelihoodReport]:
    """The likelihood of each genome."""
    reports: dict[str, LikelihoodReport] = {}
    for name, part in windows.items():
        logger.info(
            "%s: %d windows of %d bases, %d draws each",
            f"{settings.split} of {name}" if name else settings.split, len(part), part.length,
            settings.draws,
        )  # fmt: skip
        markov = fit_baselines(
            genomes[name], settings.max_order, is_wanted="max_order" in settings.given
        )
        groups = _repeats_of(part, genomes[name], settings.repeat_length)
        batch_size = settings.batch_size or windows_at_once(part.length, loaded.device)
        mixture, copies = None, None
        if settings.mixture and markov:
            if settings.mixture == "copies":
                splits = genomes[name].splits
                copies = fit_chain_copies(
                    genomes[name].store, splits.train, splits.valid, markov["interpolated"].model
                )
            mixture = choose_markov_mixture(
                settings, lm, genomes[name], markov["interpolated"], copies,
                batch_size=batch_size, likelihoods=likelihoods,
            )  # fmt: skip
        with watched("scoring", "windows") as watch:
            reports[name] = evaluate_likelihood(
                lm,
                part,
                draws=settings.draws,
                estimator=settings.estimator,
                batch_size=batch_size,
                device=loaded.device,
                region_classes=genomes[name].region_classes,
                markov=markov,
                copies=copies,
                mixture=mixture,
                groups=groups,
                word_length=None if groups is None else groups.length,
                progress=watch,
                likelihoods=likelihoods,
            )
    return reports


def _windows_of(
    data: OpenData, genomes: Mapping[str, OpenGenome], settings: EvaluateSettings
) -> dict[str, Sweep[SplitWindows]]:
    """The windows of each genome; a limit is shared among those of a mixture."""
    split, limit, seed = settings.split, settings.limit, settings.seed
    if isinstance(data, OpenMixture) and len(genomes) > 1:
        return data.windows_of_each(split, None, limit, seed)
    return {
        name: genome.evaluation_windows(split, limit=limit, seed=seed)
        for name, genome in genomes.items()
    }


def _repeats_of(
    windows: Sweep[SplitWindows], genome: OpenGenome, length: int | None
) -> SharedWindows | None:
    """Which windows share a word with the training split; None where there is none."""
    if length is None or not genome.splits.train:
        return None
    return shared_windows(windows, genome.splits.train, length)


def fit_baselines(
    genome: OpenGenome, max_order: int, *, is_wanted: bool = True
) -> dict[Smoothing, MarkovFit[Any]] | None:
    """Markov models of the training split; None where there is no validation split to choose by.

    Args:
        genome: store and splits.
        max_order: of the interpolated models, 0 to 24; additive ones go to 10 at most.
        is_wanted: False if the order is only a default, which a large training split lowers to 10.

    Raises:
        DataError: if the training split is too large for the order.
    """
    splits = genome.splits
    if not splits.valid or not splits.train:
        logger.info("there is no train or valid split; the Markov baselines are left out")
        return None
    num_bases = sum(map(len, splits.train))
    if max_order > DENSE_ORDER and not is_wanted and num_bases > MAX_BASES:
        logger.info(
            "Markov models go to order %d, since higher ones are counted for a training split of "
            "at most %d bases, and this one has %d", DENSE_ORDER, MAX_BASES, num_bases,
        )  # fmt: skip
        max_order = DENSE_ORDER
    if max_order <= DENSE_ORDER:
        return dict(fit_markov(genome.store, splits.train, splits.valid, max_order=max_order))
    additive = fit_markov(
        genome.store, splits.train, splits.valid, max_order=DENSE_ORDER, smoothings=("additive",)
    )
    orders = chain_orders(max_order)
    chain = fit_markov_chain(genome.store, splits.train, splits.valid, orders)
    return {**additive, "interpolated": chain}


def sentence(report: LikelihoodReport, split: str, genomes: Sequence[str] = ()) -> str:
    """The headline in one line, and a line for each genome of a mixture and each baseline."""
    bits = report.model.bits["all"]
    text = (
        f"{split}: {bits.value:.4f} +- {bits.standard_error:.4f} bits per base "
        f"({report.model.kind}, {bits.count:,} bases)"
    )
    for name in genomes:
        part = report.model.bits[name]
        text += f"\n  {name}: {part.value:.4f} +- {part.standard_error:.4f} ({part.count:,} bases)"
    for name in (SOFT_MASKED, UNIQUE):
        if name in report.model.bits and report.model.bits[name].count < bits.count:
            part = report.model.bits[name]
            text += (
                f"\n  {name} bases: {part.value:.4f} +- {part.standard_error:.4f} "
                f"({part.count:,} bases)"
            )
    for name, label in _groups_of(report).items():
        part, best = report.model.bits[name], report.best_on(name)
        share = part.count / bits.count
        text += f"\n  {label} ({share:.1%} of bases): {part.value:.4f} +- {part.standard_error:.4f}"
        if best is not None and best.name in report.differences:
            difference = report.differences[best.name][name]
            text += (
                f"; best there: {best.label} {best.bits[name].value:.4f}, this model minus it "
                f"{difference.value:+.4f} +- {difference.standard_error:.4f}"
            )
    for baseline in report.chosen:
        row = next(row for row in report.rows if row.name == baseline)
        difference = report.differences[baseline]["all"]
        text += (
            f"\n  {row.label}: {row.bits['all'].value:.4f}; this model minus it "
            f"{difference.value:+.4f} +- {difference.standard_error:.4f}"
        )
    return text


def _groups_of(report: LikelihoodReport) -> dict[str, str]:
    """Class -> words for people, of the windows with and without words of the training split."""
    labels = {
        UNIQUE_WINDOWS: f"windows without a {report.word_length}-mer of the training split",
        REPEATS: "repeats, the other windows",
    }
    return {name: label for name, label in labels.items() if name in report.model.bits}
