"""Bits per base along a locus: a track and its picture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.modality import refuse_foreign
from dnamdlm.assembly.model_data import genome_data
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval, check_inside
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.likelihood.locus_bits import (
    locus_bits,
    locus_record,
    record_name,
    write_record,
)
from dnamdlm.evaluation.likelihood.track_files import check_track, write_track
from dnamdlm.lm.markov_fit import fit_markov
from dnamdlm.reporting.locus_figure import locus_figure
from dnamdlm.threads import running_with
from dnamdlm.words.codes import CODE_MASK

MAX_BASES = 5_000_000


def parse_locus(text: str) -> Interval:
    """`chrom:start-end`, 0-based and half-open.

    Raises:
        ConfigError: if it is written otherwise.
    """
    match = re.fullmatch(r"(\S+):(\d+)-(\d+)", text)
    if match is None:
        raise ConfigError(
            f"locus={text} is not a valid locus; use chrom:start-end, for instance chrXVI:1000-9000"
        )
    start, end = (int(number) for number in match.groups()[1:])
    if not start < end <= start + MAX_BASES:
        raise ConfigError(
            f"locus={text} has {end - start:,} bases; 1 to {MAX_BASES:,} can be drawn"
        )
    return Interval(match.group(1), start, end)


def tracks(settings: TracksSettings) -> tuple[Path, str]:
    """Write bits per base along a locus, and a PNG and an SVG picture with the track.

    Returns:
        The track, and a sentence. For a run folder, a record for its report is written too.

    Raises:
        ConfigError: for a locus that cannot be read, or data that are not one genome.
        DataError: for a locus outside the genome, or a file that cannot be written.
    """
    start_ops(settings.ops, settings.device)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    refuse_foreign(settings, loaded.modality)
    loaded.require_dna()
    lm = with_strands(loaded.language_model, settings.strands)
    opened = genome_data(loaded, settings.data).open()
    if not isinstance(opened, OpenGenome):
        raise ConfigError("a locus belongs to one genome; give data.fasta=FILE of that genome")
    out = Path(settings.out)
    check_track(out)
    written = [out.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in (out, *written):
        check_target(path, inputs=inputs_of([settings, loaded.config.data]))
    where = parse_locus(settings.locus)
    store = opened.store
    check_inside(where, store.lengths)
    length = loaded.length
    device = loaded.device
    codes = store.fetch(where) & CODE_MASK
    batch_size = settings.batch_size or windows_at_once(length, device)
    with running_with(plan_for(loaded.lm, batch_size * length, threads=settings.threads).threads):
        tracks = {"model": locus_bits(lm, codes, length, batch_size=batch_size, device=device)}
    label = ""
    if opened.splits.train and opened.splits.valid:
        fits = fit_markov(
            store, opened.splits.train, opened.splits.valid, max_order=settings.max_order
        )
        best = min(fits.values(), key=lambda fit: min(fit.valid_bits)).best
        first = max(where.start - best.order, 0)
        before = store.fetch(Interval(where.chrom, first, where.end))
        nats = best.position_nats(before, where.start - first)
        tracks["markov"] = np.where(codes < 4, nats / np.log(2.0), np.nan)
        label = best.label
    record = locus_record(
        where,
        tracks,
        _features(opened, where),
        markov_label=label,
        place=_place(opened, where),
        made_by={"step": loaded.step, "model_sha256": loaded.digest, "data": store.sha256},
    )
    write_track(out, where, tracks, store.lengths, name="dnamdlm")
    figure = locus_figure(record)
    for path in written:
        figure.save(path)
    if loaded.run_dir is not None:
        written.append(loaded.run_dir / "evaluation" / record_name(where))
        write_record(written[-1], record)
    means = "; ".join(f"{track['label']} {track['mean']}" for track in record["tracks"].values())
    return out, (
        f"{where.chrom}:{where.start}-{where.end} ({record['place']}), mean bits per base: {means} "
        "(a model of masked diffusion sees both sides, a Markov model the left one)\n"
        + "\n".join(f"wrote {path}" for path in written)
    )


def _features(opened: OpenGenome, where: Interval) -> list[Feature]:
    """Genes and coding exons that overlap the locus; none without an annotation."""
    wanted = [item for item in opened.features if item.kind in ("gene", "CDS")]
    return [item for item in wanted if item.interval.overlaps(where)]


def _place(opened: OpenGenome, where: Interval) -> str:
    """Which splits the locus lies in."""
    found = [
        name
        for name in ("train", "valid", "test")
        if any(where.overlaps(interval) for interval in opened.splits[name])
    ]
    return " and ".join(found) + " split" if found else "in no split"
