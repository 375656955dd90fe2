"""Tracks of a whole genome, of intervals or of a locus: a folder for a genome browser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.modality import refuse_foreign
from dnamdlm.assembly.model_data import genome_data
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.runner.part_runner import Job, PlainBatches, Workforce, run_job
from dnamdlm.assembly.runner.part_settings import batches_of_part
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.tracks.probabilities import (
    ProbabilityReader,
    ProbabilityTask,
    ReadIntervals,
)
from dnamdlm.assembly.tracks.track_parts import (
    RECORD,
    features_as_json,
    identity_of,
    is_joined,
    join_tracks,
    stretch_of,
    tracks_facts,
)
from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
from dnamdlm.data.files import make_folder, write_bytes
from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.loci import parse_locus, pieces_of_locus
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.splits import merge
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.targets import check_new_folder, check_target, inputs_of
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.likelihood.browser_record import BROWSER_FILE, MAX_BASES
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.record_states import Pieces

# windows of an item in calls: what is read between two signs of progress.
_CALLS_PER_ITEM = 2


def genome_tracks(settings: TracksSettings) -> tuple[Path, str]:
    """Write a folder of bigWig files, or compute a shard of it.

    Returns:
        The folder, or that of the parts of a shard, and a sentence for people. For a run folder,
        a record for its report is written too.

    Raises:
        ConfigError: for an impossible setting, or a model of another kind.
        DataError: for files that are refused.
    """
    out = Path(settings.out)
    if settings.locus is not None:
        parse_locus(settings.locus)
    if is_joined(out):
        return out, "all parts had been joined already"
    check_new_folder(out)
    start_ops(settings.ops, settings.device)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    return tracks_of_model(loaded, settings)


def tracks_of_model(loaded: LoadedModel, settings: TracksSettings) -> tuple[Path, str]:
    """As `genome_tracks`, for a model that is loaded already."""
    out = Path(settings.out)
    check_new_folder(out)
    refuse_foreign(settings, loaded.modality)
    _check_kind(loaded)
    check_target(out, inputs=inputs_of([settings, loaded.config.data]), makes_folders=True)
    warn_if_worse(loaded)
    opened = genome_data(loaded, settings.data).open()
    if not isinstance(opened, OpenGenome):
        raise ConfigError("tracks belong to one genome; give data.fasta=FILE of that genome")
    at_once = settings.batch_size or windows_at_once(loaded.length, loaded.device)
    read = ReadIntervals(
        opened.store, intervals_of(settings, opened.store), loaded.length, settings.stride, at_once
    )
    strands = settings.strands_of_genome
    sizes = [len(interval) for interval in read.intervals]
    items = Pieces(sizes, read.windows, _CALLS_PER_ITEM * at_once, read.circular)
    identity = identity_of(settings, loaded, read, opened.features)
    job = Job(
        entry="tracks",
        target=out,
        identity=identity,
        head={
            "lengths": dict(opened.store.lengths),
            "genes": features_as_json(opened.features, "gene"),
            "exons": features_as_json(_shown(opened.features, read.intervals), "CDS"),
            "genome": settings.assembly or genome_name(opened.source_path),
            "label": Path(settings.model).name,
            "made_by": {"step": loaded.step, **identity},
        },
        num_batches=len(items),
        batches=PlainBatches(items, stretch_of),
        num_rows=len(items) * items.size,
        join=join_tracks,
        label="tracks",
        unit="windows",
    )
    outcome = run_job(
        job,
        _workforce(settings, loaded, read),
        shard=parse_shard(settings.shard),
        per_part=batches_of_part(
            loaded.lm,
            positions=items.size * read.length * settings.stride * (2 if strands == "both" else 1),
            num_batches=len(items),
            batch_rows=items.size,
            part_rows=settings.part_rows,
        ),
        keeps_cut=settings.part_rows is None,
    )
    if not outcome.shard_sentence and loaded.run_dir is not None:
        make_folder(loaded.run_dir / "evaluation")
        shown = (out / RECORD).read_bytes()
        write_bytes(loaded.run_dir / "evaluation" / BROWSER_FILE, shown)
    said = f"{tracks_facts(job.head, outcome.counts)}, {outcome.seconds:,.1f} s"
    return outcome.path, outcome.shard_sentence or said


def intervals_of(settings: TracksSettings, store: GenomeStore) -> tuple[Interval, ...]:
    """What is read: a locus, the intervals of a file, or every record; disjoint and in order.

    Raises:
        DataError: for intervals outside the genome, or nothing to read.
    """
    if settings.locus is not None:
        found = pieces_of_locus(parse_locus(settings.locus), store)
    elif settings.bed is not None:
        found = list(read_bed(settings.bed, store.lengths).intervals)
    else:
        found = [Interval(name, 0, size) for name, size in store.lengths.items() if size]
    numbers = {name: number for number, name in enumerate(store.lengths)}
    merged = sorted(merge(found), key=lambda where: (numbers[where.chrom], where.start))
    if not merged:
        raise DataError(f"{settings.bed or 'the genome'} has no bases; give at least one interval")
    return tuple(merged)


def genome_name(path: Path) -> str:
    """The name of an assembly after its file.

    >>> genome_name(Path("genomes/hg38.fa.gz"))
    'hg38'
    """
    return path.name.split(".")[0] or "genome"


def _shown(features: Sequence[Feature], intervals: Iterable[Interval]) -> list[Feature]:
    """Those that may be on the page with a browser, which shows the first bases."""
    left, shown = MAX_BASES, []
    for where in intervals:
        if left > 0:
            shown.append(replace(where, end=min(where.end, where.start + left)))
            left -= len(where)
    return [x for x in features if any(x.interval.overlaps(where) for where in shown)]


def _workforce(
    settings: TracksSettings, loaded: LoadedModel, read: ReadIntervals
) -> Workforce[Any, Any]:
    """Who reads the windows."""
    strands = settings.strands_of_genome
    lm = with_strands(_check_kind(loaded), strands)
    positions = read.at_once * read.length
    return Workforce(
        ProbabilityTask(ModelSource.of(loaded), strands, read),
        plan_for(
            loaded.lm,
            positions,
            threads=settings.threads,
            workers=settings.workers,
            devices=settings.devices,
        ),
        ProbabilityReader(lm, read, loaded.device),
    )


def _check_kind(loaded: LoadedModel) -> MaskedDiffusionLM:
    loaded.require_dna()
    lm = loaded.language_model
    if not isinstance(lm, MaskedDiffusionLM):
        raise ConfigError(
            f"a {type(lm).__name__} does not see both sides of a base, which a folder of tracks "
            "needs; give a model of masked diffusion, or one locus and out=FILE.bedgraph"
        )
    return lm
