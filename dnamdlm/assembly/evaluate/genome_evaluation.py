"""What is scored of genomes, and the figures of it: bits per base, compared with Markov models."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dnamdlm.assembly.class_labels import check_same_labels
from dnamdlm.assembly.devices import windows_at_once
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluate.evaluated_parts import ScoredSweep
from dnamdlm.assembly.evaluate.markov_baselines import fit_baselines
from dnamdlm.assembly.evaluate.markov_mixture import (
    check_mixture,
    choose_markov_mixture,
    windows_to_choose_by,
)
from dnamdlm.assembly.evaluate.pointed_evaluation import PointedEvaluation, check_pointer
from dnamdlm.assembly.evaluation_target import (
    evaluation_target,
    is_of_model,
    is_own_split,
    provenance,
)
from dnamdlm.assembly.held_out import of_genome, store_held_out, verdict
from dnamdlm.assembly.model_data import chosen_genomes, genome_data
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.overlap import refuse_trained_bases, report_overlap
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.mixture import OpenMixture
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.parts.part_folders import HASHED
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.evaluation.likelihood.likelihood_report import LikelihoodReport, likelihood_report
from dnamdlm.evaluation.likelihood.mixture_scores import ChosenMixture
from dnamdlm.evaluation.likelihood.mixtures import pooled_report
from dnamdlm.evaluation.likelihood.pointer_scores import ChosenPointer
from dnamdlm.evaluation.shared_windows import SharedWindows, shared_windows
from dnamdlm.evaluation.window_scores import (
    REPEATS,
    SOFT_MASKED,
    UNIQUE,
    UNIQUE_WINDOWS,
    BaseClasses,
    WindowScores,
)
from dnamdlm.lm.chain_fit import fit_chain_copies
from dnamdlm.lm.markov import Smoothing
from dnamdlm.words.context_model import MarkovFit
from dnamdlm.words.copies import CopyFit

logger = logging.getLogger(__name__)

ScoredPart = tuple[ScoredSweep, tuple[WindowScores, float]]
"""What was scored, its scores, and the seconds that they took."""


class GenomeEvaluation:
    """The windows of a split of one or several genomes.

    Attributes:
        out: the file that figures go to.
        unit: what is counted, a plural.
        sweeps: what is scored: of each genome the split, and before it the windows by which a
            mixture is chosen.
        data: hash of what is scored, for the identity of parts.
    """

    unit = "windows"

    def __init__(self, settings: EvaluateSettings, loaded: LoadedModel) -> None:
        """Open the genomes, and check them.

        Raises:
            ConfigError: for a setting that does not suit the model or the data.
            DataError: for data that cannot be used, or on which the model was trained.
        """
        self.settings, self.loaded = settings, loaded
        self.out = evaluation_target(settings, loaded, settings.stem)
        self.opened = genome_data(loaded, settings.data).open()
        check_same_labels(loaded, self.opened)
        self.genomes = chosen_genomes(self.opened, settings.genome)
        if loaded.data_record:
            refuse_trained_bases(loaded.data_record, self.genomes, settings.split)
        for genome in self.genomes.values():
            genome.check_files()
        if settings.mixture:
            check_mixture(settings.mixture, loaded, self.genomes, self.opened.fingerprint())
        if settings.pointer:
            check_pointer(settings, loaded, self.genomes)
        self._windows = _windows_of(self.opened, self.genomes, settings)
        self._groups = {
            name: _repeats_of(part, self.genomes[name], settings.repeat_length)
            for name, part in self._windows.items()
        }
        self._pointed: dict[str, PointedEvaluation] = {}
        self.sweeps = tuple(sweep for name in self._windows for sweep in self._sweeps_of(name))
        self.data = _hash_of(self.opened, self.genomes)
        self._markov: dict[str, dict[Smoothing, MarkovFit[Any]] | None] = {}
        self._copies: dict[str, CopyFit | None] = {}

    def prepare(self) -> None:
        """Fit the Markov models, so that a mistake in them is found before the network is used.

        Raises:
            DataError: if a training split is too large for the order.
        """
        settings = self.settings
        for name, part in self._windows.items():
            logger.info(
                "%s: %d windows of %d bases, %d draws each",
                f"{settings.split} of {name}" if name else settings.split, len(part), part.length,
                settings.draws,
            )  # fmt: skip
            self._markov[name] = fit_baselines(
                self.genomes[name],
                settings.max_order,
                is_wanted="max_order" in settings.given,
            )
            self._copies[name] = self._copies_of(name)

    def _copies_of(self, name: str) -> CopyFit | None:
        """The longest Markov models with copies, where these are mixed."""
        markov, splits = self._markov[name], self.genomes[name].splits
        if self.settings.mixture != "copies" or markov is None:
            return None
        chain = markov["interpolated"].model
        return fit_chain_copies(self.genomes[name].store, splits.train, splits.valid, chain)

    def finish(
        self, target: Path, found: Sequence[tuple[WindowScores, float]], command: Sequence[str]
    ) -> str:
        """Write the figures.

        Args:
            target: the file.
            found: of each of `sweeps` the scores, and the seconds that they took.
            command: that asked for them.

        Returns:
            The headline.
        """
        settings, loaded = self.settings, self.loaded
        if not self._markov:
            self.prepare()
        reports = self._reports(found)
        report = pooled_report(reports) if len(reports) > 1 else next(iter(reports.values()))
        sections: dict[str, Any] = {
            "provenance": provenance(
                loaded,
                self.opened,
                command=list(command),
                strands=settings.strands,
                estimator=settings.estimator,
                seed=settings.seed,
                **settings.asked,
            ),
            "likelihood": report.to_json(),
        }
        if len(reports) > 1:
            sections["genomes"] = {name: part.to_json() for name, part in reports.items()}
        if settings.overlap_report:
            sections["overlap"] = report_overlap(self.opened)
        others = is_of_model(target, loaded)
        write_evaluation(target, settings.split, sections, keep_others=others)
        headline = sentence(report, settings.split, list(reports) if len(reports) > 1 else ())
        is_own = settings.genome is None and not settings.asked
        if is_own and is_own_split(loaded, self.opened, settings.split):
            own = of_genome(report, loaded.digest)
            store_held_out(loaded, settings.split, own)
            headline += verdict(own, settings.split)
        return headline

    def _sweeps_of(self, name: str) -> list[ScoredSweep]:
        settings, part = self.settings, self._windows[name]
        batch_size = settings.batch_size or windows_at_once(part.length, self.loaded.device)
        own = ScoredSweep(part, batch_size, classes := self._classes_of(name))
        if not (settings.mixture or settings.pointer):
            return [own]
        valid = windows_to_choose_by(settings, self.genomes[name])
        if not settings.pointer:
            return [ScoredSweep(valid, batch_size), own]
        pointed = PointedEvaluation(settings, self.loaded, self.opened, valid=valid, own=part)
        self._pointed[name] = pointed
        return [
            ScoredSweep(valid, batch_size),
            pointed.sweep(pointed.to_choose_by, batch_size),
            own,
            pointed.sweep(pointed.reported, batch_size, classes),
        ]

    def _classes_of(self, name: str) -> BaseClasses:
        genome = self.genomes[name]
        return BaseClasses(genome.store, genome.region_classes, self._groups[name])

    def _reports(self, found: Sequence[tuple[WindowScores, float]]) -> dict[str, LikelihoodReport]:
        """The likelihood of each genome."""
        reports: dict[str, LikelihoodReport] = {}
        sweeps = iter(zip(self.sweeps, found, strict=True))
        for name, part in self._windows.items():
            mixture, pointer = self._chosen(name, sweeps)
            sweep, (scores, seconds) = next(sweeps)
            assert sweep.classes is not None
            groups, with_pointer = self._groups[name], None
            if pointer is not None:
                _, (given, _) = next(sweeps)
                with_pointer = self._pointed[name].scores(scores, given, pointer)
            reports[name] = likelihood_report(
                scores,
                part,
                sweep.classes,
                draws=self.settings.draws,
                seconds=seconds,
                markov=self._markov[name],
                copies=self._copies[name],
                mixture=mixture,
                pointer=with_pointer,
                word_length=None if groups is None else groups.length,
            )
        return reports

    def _chosen(
        self, name: str, sweeps: Iterator[ScoredPart]
    ) -> tuple[ChosenMixture | None, ChosenPointer | None]:
        """What is chosen on the validation split of a genome; takes the sweeps over that."""
        settings, pointed = self.settings, self._pointed.get(name)
        mixture, pointer = None, None
        if not settings.mixture and pointed is None:
            return mixture, pointer
        chosen_on, (network, _) = next(sweeps)
        if pointed is not None:
            _, (given, _) = next(sweeps)
            pointer = pointed.choose(network, given)
        if settings.mixture:
            markov = self._markov[name]
            assert markov is not None, "the splits of a mixture were checked"
            mixture = choose_markov_mixture(
                settings, network, chosen_on.windows, self.genomes[name], markov["interpolated"],
                copies=self._copies[name],
            )  # fmt: skip
        return mixture, pointer


def _hash_of(opened: OpenData, genomes: Mapping[str, OpenGenome]) -> str:
    """What stands for the genomes, their splits and their annotations."""
    digest = hashlib.sha256(opened.fingerprint().encode("ascii"))
    for name, genome in genomes.items():
        digest.update(f"\n{name}\n".encode())
        if (classes := genome.region_classes) is not None:
            digest.update(classes.runs.tobytes())
    return f"{HASHED}{digest.hexdigest()}"


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
