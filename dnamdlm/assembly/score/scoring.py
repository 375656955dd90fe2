"""Scores of variants, of a file or a table: into a table, or row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.class_labels import asked_label
from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.runner.part_runner import Job, Outcome, PlainBatches, Workforce, run_job
from dnamdlm.assembly.runner.part_settings import batches_of_part
from dnamdlm.assembly.score.label_figures import baselines_for, label_report
from dnamdlm.assembly.score.score_columns import columns_of
from dnamdlm.assembly.score.score_parts import (
    PartsOfFile,
    identity_of,
    join_scores,
    passes_of,
    sentence_of,
    stretch_of,
)
from dnamdlm.assembly.score.score_settings import ScoreEntry, ScoreSettings
from dnamdlm.assembly.score.scored_models import check_model
from dnamdlm.assembly.score.variant_baselines import Baselines
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.worker_process import Advance
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.data.variants.all_substitutions import ALL, AllSubstitutions
from dnamdlm.data.variants.variant_places import VariantCounts, check_variants
from dnamdlm.data.variants.variant_regions import opened_rows
from dnamdlm.data.variants.variant_sources import VariantSource
from dnamdlm.data.variants.variant_tables import (
    COLUMNS_OF_ROW,
    ENDINGS,
    ScoredVariant,
    as_record,
    distinct_extras,
    rows_of_table,
)
from dnamdlm.data.variants.variant_windows import PairOfWindows, change_of, windows_of_change
from dnamdlm.data.variants.vcf import Variant
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.expert_control import required_control
from dnamdlm.lm.states.record_states import StateReader
from dnamdlm.lm.states.uniform_scores import conditional_log_ratio, replaced_bound_difference
from dnamdlm.lm.states.variant_scores import (
    Pairs,
    bound_difference,
    make_pairs,
    site_log_ratio,
    state_distances,
)
from dnamdlm.threads import running_with

if TYPE_CHECKING:
    from pandas import DataFrame

# rows that are read together, in batches, so that pairs of one kind fill a call.
_BATCHES_OF_ROWS = 4
_MIN_ROWS = 64
# fewer parts are over before other processes have started.
_PARTS_TO_SHARE = 8


def score(settings: ScoreEntry) -> tuple[Path, str]:
    """Score variants and write the table, or compute a shard of it.

    Returns:
        The table, or the folder of the parts of a shard, and a sentence for people.

    Raises:
        ConfigError: for an impossible setting, or a model that cannot score variants.
        DataError: for a file that is refused.
    """
    out = Path(settings.out)
    ending = check_target(out, inputs=inputs_of(settings), endings=ENDINGS)
    scoring = settings.scoring
    start_ops(settings.ops, settings.device, settings.precision)
    # a mistake in a small file is found before the model is loaded.
    file = None if settings.variants == ALL else opened_rows(settings.variants, settings.within)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    lm = check_model(loaded)
    if scoring.control == "experts":
        required_control(lm)
    given = asked_label(loaded, settings.label, settings.condition)
    warn_if_worse(loaded)
    # a large genome takes minutes when it is read for the first time.
    store = open_genome(
        settings.data.fasta,
        cache_dir=settings.data.cache_dir,
        rna=settings.data.rna,
        circular=settings.data.circular,
    )
    if file is None:
        file = AllSubstitutions(settings.bed or "", store)
    if file.extras and ending.startswith(".vcf"):
        raise ConfigError(
            f"out={out} has no place for the column {file.extras[0]!r} of {settings.variants}; "
            "write a .tsv or .parquet file"
        )
    places = scoring.places(store)
    baselines = baselines_for(settings, file, places, loaded)
    counts = check_variants(file, places, max_mismatch=scoring.max_mismatch)
    scorer = VariantScorer(
        loaded,
        store,
        scoring,
        threads=settings.threads,
        workers=settings.workers,
        devices=settings.devices,
        num_rows=counts.rows,
        given=given,
    )
    batches = PartsOfFile(file, counts.rows, scorer.together)
    job = _job(settings, ending, scorer, batches, baselines)
    outcome = run_job(
        job,
        Workforce(
            VariantTask(ModelSource.of(loaded), store, scoring, scorer.plan.threads, given),
            scorer.plan,
            scorer,
        ),
        shard=parse_shard(settings.shard),
        per_part=batches_of_part(
            scorer.lm,
            positions=passes_of(settings) * scorer.length * scorer.together,
            num_batches=len(batches),
            batch_rows=scorer.together,
            part_rows=settings.part_rows,
        ),
        keeps_cut=settings.part_rows is None,
    )
    return outcome.path, f"{sentence_of(outcome)}{_figures(outcome, job)}"


def _figures(outcome: Outcome, job: Job[list[Variant], list[ScoredVariant]]) -> str:
    """How well the scores rank labels, if there are any and the table is complete."""
    if job.head["labels"] is None or outcome.shard_sentence:
        return ""
    return f"\n{label_report(outcome.path, job.head['labels'])}"


def _job(
    settings: ScoreEntry,
    ending: str,
    scorer: VariantScorer,
    batches: PartsOfFile,
    baselines: Baselines | None,
) -> Job[list[Variant], list[ScoredVariant]]:
    columns = scorer.columns if baselines is None else (*scorer.columns, *baselines.columns)
    table = rows_of_table(ending, batches.file, columns)
    names = dict(zip(batches.file.extras, distinct_extras(batches.file, columns), strict=True))
    labels = None if baselines is None else {
        "label": names[settings.label_column or ""],
        "group": None if settings.group_column is None else names[settings.group_column],
        "scores": [x.name for x in columns if not x.name.endswith("_se")],
    }  # fmt: skip

    def stretch(rows: Sequence[ScoredVariant]) -> Stretch:
        return stretch_of(table, rows if baselines is None else list(map(baselines.added, rows)))

    return Job(
        entry="score",
        target=Path(settings.out),
        identity=identity_of(
            settings,
            scorer.loaded,
            batches.file,
            scorer.store,
            length=scorer.length,
            at_once=scorer.at_once,
        ),
        head={"ending": ending, "text": table.head, "labels": labels},
        num_batches=len(batches),
        batches=PlainBatches(batches, stretch),
        num_rows=batches.num_rows,
        join=join_scores,
        label="scoring",
        unit="variants",
    )


def scored_table(
    loaded: LoadedModel, file: VariantSource, store: GenomeStore, settings: ScoreSettings
) -> DataFrame:
    """The table of `score` as a data frame, whose `attrs` say of each score what it means.

    Raises:
        ConfigError: if the model cannot score variants.
        DataError: for a file that is refused.
    """
    from pandas import DataFrame

    check_model(loaded)
    counts = check_variants(file, settings.places(store), max_mismatch=settings.max_mismatch)
    given = asked_label(loaded, settings.label, settings.condition)
    scorer = VariantScorer(loaded, store, settings, given=given)
    extras = distinct_extras(file, scorer.columns)
    table = DataFrame(
        [as_record(row, extras) for row in scorer.scored(file, counts)],
        columns=[*COLUMNS_OF_ROW, *extras, *(column.name for column in scorer.columns), "reason"],
    )
    table.attrs |= {column.name: column.meaning for column in scorer.columns}
    return table


class VariantScorer:
    """Scores the rows of a file in their order, some at a time.

    Attributes:
        plan: how many threads and processes score.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        store: GenomeStore,
        settings: ScoreSettings,
        *,
        threads: int | None = None,
        workers: int | None = 1,
        devices: str | None = None,
        num_rows: int | None = None,
        given: int | tuple[float, ...] | None = None,
    ) -> None:
        """Check the model.

        Args:
            loaded: a model of DNA.
            store: the genome.
            settings: how variants are scored.
            threads: of the CPU; None is chosen by the size of the network.
            workers: processes that share the rows; None is chosen by the size of the network.
            devices: `auto` is one process on each device.
            num_rows: how many will be scored, if it is known; few are not shared.
            given: class or numbers of the model, see `asked_label`.

        Raises:
            ConfigError: if the model cannot score variants, or several processes are to share a
                GPU.
        """
        self.loaded = loaded
        lm = self.lm = with_strands(check_model(loaded), settings.strands)
        self.store = store
        self.places = settings.places(store)
        self.settings = settings
        self.length = settings.length or loaded.length
        self.device = loaded.device
        self.at_once = settings.batch_size or windows_at_once(self.length, self.device)
        self.together = max(_MIN_ROWS, _BATCHES_OF_ROWS * self.at_once)
        self.plan = plan_for(
            lm,
            self.at_once * self.length,
            threads=threads,
            workers=workers,
            devices=devices,
            can_share=num_rows is None or num_rows > (_PARTS_TO_SHARE - 1) * self.together,
        )
        self.reader = StateReader(lm)
        self.columns = columns_of(settings.scores, settings.label, settings.condition)
        self.given = given
        self.control = required_control(lm) if settings.control == "experts" else None

    def scored(self, file: VariantSource, counts: VariantCounts) -> Iterator[ScoredVariant]:
        """All rows of a file with their scores.

        Raises:
            DataError: if the file has not the rows that were counted.
        """
        for rows in PartsOfFile(file, counts.rows, self.together):
            yield from self.score_together(rows)

    def score_one(self, row: Variant) -> dict[str, float]:
        """The scores of a variant with one allele.

        Raises:
            DataError: if it contradicts the genome, or cannot be scored.
        """
        scored = self.score_together([row])[0]
        values = {name: numbers[0] for name, numbers in scored.scores.items()}
        if all(math.isnan(value) for value in values.values()):
            raise DataError(
                f"{row.chrom}:{row.start + 1} {row.ref}>{row.alts[0]} cannot be scored "
                f"({scored.reasons[0]}); check the record, the position and REF against the genome"
            )
        return values

    def score_together(self, rows: Sequence[Variant]) -> list[ScoredVariant]:
        """These rows with their scores; windows of different rows share calls of the network."""
        windows: list[PairOfWindows] = []
        owners: list[tuple[int, int]] = []
        reasons: list[list[str | None]] = []
        for index, row in enumerate(rows):
            record = self.places.record(row.chrom)
            found = list(self.places.reasons(row))
            for allele, reason in enumerate(found):
                if reason is not None or record is None:
                    continue
                change = change_of(row.ref, row.alts[allele])
                start = self.places.start(row)
                pair = windows_of_change(self.store, record, start, change, self.length)
                if pair is None:
                    found[allele] = "too_long"
                    continue
                if "llr" in self.settings.scores and not change.is_snv:
                    found[allele] = "not_snv"
                windows.append(pair)
                owners.append((index, allele))
            reasons.append(found)
        values = [
            {column.name: [math.nan] * len(row.alts) for column in self.columns} for row in rows
        ]
        for name, numbers in self._score_windows(windows).items():
            for (index, allele), number in zip(owners, numbers, strict=True):
                values[index][name][allele] = float(number)
        return [ScoredVariant(*parts) for parts in zip(rows, values, reasons, strict=True)]

    def _score_windows(self, windows: Sequence[PairOfWindows]) -> dict[str, NDArray[np.float64]]:
        """Column name -> a number per pair; pairs of one kind and length go together."""
        found = {column.name: np.full(len(windows), np.nan) for column in self.columns}
        order = sorted(
            range(len(windows)), key=lambda i: (windows[i].site < 0, len(windows[i].reference))
        )
        for first in range(0, len(order), self.at_once):
            chosen = order[first : first + self.at_once]
            pairs = make_pairs([windows[i] for i in chosen], self.lm.vocabulary, self.settings.seed)
            with running_with(self.plan.threads):
                scores = self._score_pairs(pairs.to(self.device).labelled(self.given))
            for name, numbers in scores.items():
                found[name][chosen] = numbers
        return found

    def _score_pairs(self, pairs: Pairs) -> dict[str, NDArray[np.float64]]:
        found: dict[str, NDArray[np.float64]] = {}
        lm, draws = self.lm, self.settings.draws
        if "llr" in self.settings.scores:
            masked = isinstance(lm, MaskedDiffusionLM)
            ratio = site_log_ratio(lm, pairs) if masked else conditional_log_ratio(lm, pairs)
            found["llr"] = ratio.numpy()
        if "elbo" in self.settings.scores:
            if isinstance(lm, MaskedDiffusionLM):
                value, error = bound_difference(lm, pairs, draws=draws, control=self.control)
            else:
                value, error = replaced_bound_difference(lm, pairs, draws=draws)
            found |= {"delta_elbo": value.numpy(), "delta_elbo_se": error.numpy()}
        if "embedding" in self.settings.scores:
            cosine, euclidean = state_distances(self.reader, pairs)
            found |= {"cosine_distance": cosine.numpy(), "l2_distance": euclidean.numpy()}
        return found


@dataclass(frozen=True)
class VariantTask:
    """Scoring the rows of a file in several processes.

    Attributes:
        source: where each process finds the model.
        store: the genome; of it only the folder travels.
        settings: how variants are scored.
        threads: of a process.
        given: class or numbers of the model.
    """

    source: ModelSource
    store: GenomeStore
    settings: ScoreSettings
    threads: int | None
    given: int | tuple[float, ...] | None = None

    def open(self) -> VariantScorer:
        """What scores."""
        return VariantScorer(
            self.source.open(), self.store, self.settings, threads=self.threads, given=self.given
        )

    def work(
        self, context: VariantScorer, item: list[Variant], advance: Advance
    ) -> list[ScoredVariant]:
        """The rows of one part with their scores."""
        del advance
        return context.score_together(item)
