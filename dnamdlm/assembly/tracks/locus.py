"""Bits per base along a locus: a track and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.modality import refuse_foreign
from dnamdlm.assembly.model_data import genome_data
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.tracks.genome_tracks import genome_tracks
from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.loci import parse_locus, pieces_of_locus
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.likelihood.locus_bits import (
    locus_bits,
    locus_record,
    record_name,
    write_record,
)
from dnamdlm.evaluation.likelihood.track_files import check_track, write_track
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.markov_fit import fit_markov
from dnamdlm.reporting.locus_figure import locus_figure
from dnamdlm.threads import running_with
from dnamdlm.words.codes import CODE_MASK, N_CODE


def tracks(settings: TracksSettings) -> tuple[Path, str]:
    """Write a folder of tracks, or bits per base along a locus with a PNG and an SVG picture.

    Returns:
        The folder or the track, and a sentence. For one track of a model in a run folder, a record
        for the report of the run is written too.

    Raises:
        ConfigError: for a locus that cannot be read, or data that are not one genome.
        DataError: for a locus outside the genome, or a file that cannot be written.
    """
    if settings.is_folder:
        return genome_tracks(settings)
    assert settings.locus is not None, "checked by the settings"
    out, where = Path(settings.out), parse_locus(settings.locus)
    check_track(out)
    start_ops(settings.ops, settings.device, settings.precision)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    refuse_foreign(settings, loaded.modality)
    loaded.require_dna()
    warn_if_worse(loaded)
    lm = with_strands(loaded.language_model, settings.strands_of_locus)
    opened = genome_data(loaded, settings.data).open()
    if not isinstance(opened, OpenGenome):
        raise ConfigError("a locus belongs to one genome; give data.fasta=FILE of that genome")
    written = [out.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in (out, *written):
        check_target(path, inputs=inputs_of([settings, loaded.config.data]))
    store = opened.store
    pieces = pieces_of_locus(where, store)
    features = features_of_locus(opened, pieces)
    tracks = {"model": _model_bits(settings, loaded, lm, store, where)}
    label = ""
    if opened.splits.train and opened.splits.valid:
        tracks["markov"], label = _markov_bits(opened, where, settings.max_order)
    record = locus_record(
        where,
        tracks,
        features,
        markov_label=label,
        place=_place(opened, pieces),
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


def _model_bits(
    settings: TracksSettings,
    loaded: LoadedModel,
    lm: LanguageModel,
    store: GenomeStore,
    where: Interval,
) -> NDArray[np.float64]:
    """Bits of each base under the model."""
    length = loaded.length
    # a locus that is a whole circle has neighbours at its ends too.
    is_circle = where.chrom in store.circular and len(where) == store.lengths[where.chrom]
    around = min(length, len(where)) // 2 if is_circle else 0
    codes = store.stretch(where.chrom, where.start - around, where.end + around) & CODE_MASK
    batch_size = settings.batch_size or windows_at_once(length, loaded.device)
    with running_with(plan_for(loaded.lm, batch_size * length, threads=settings.threads).threads):
        bits = locus_bits(
            lm, codes, length,
            stride=settings.stride, batch_size=batch_size, device=loaded.device,
        )  # fmt: skip
    return bits[around : around + len(where)]


def _markov_bits(
    opened: OpenGenome, where: Interval, max_order: int
) -> tuple[NDArray[np.float64], str]:
    """Bits of each base under the best Markov model of the training split, and its name."""
    store = opened.store
    fits = fit_markov(store, opened.splits.train, opened.splits.valid, max_order=max_order)
    best = min(fits.values(), key=lambda fit: min(fit.valid_bits)).best
    first = where.start - best.order
    first = first if where.chrom in store.circular else max(first, 0)
    codes = store.stretch(where.chrom, first, where.end)
    nats = best.position_nats(codes, where.start - first)
    is_base = (codes[where.start - first :] & CODE_MASK) < N_CODE
    return np.where(is_base, nats / np.log(2.0), np.nan), best.label


def features_of_locus(opened: OpenGenome, pieces: Sequence[Interval]) -> list[Feature]:
    """Genes and coding exons that overlap the locus; none without an annotation.

    Those after the origin of a circle have the positions that follow its last.
    """
    wanted = [item for item in opened.features if item.kind in ("gene", "CDS")]
    found, turn = [], 0
    for piece in pieces:
        found += [
            Feature(item.kind, replace(at, start=at.start + turn, end=at.end + turn))
            for item in wanted
            if (at := item.interval).overlaps(piece)
        ]
        turn += opened.store.lengths[piece.chrom]
    return found


def _place(opened: OpenGenome, pieces: Sequence[Interval]) -> str:
    """Which splits the locus lies in."""
    found = [
        name
        for name in ("train", "valid", "test")
        if any(piece.overlaps(interval) for interval in opened.splits[name] for piece in pieces)
    ]
    return " and ".join(found) + " split" if found else "in no split"
