"""Tracks of numbers along a record, for genome browsers: bedGraph, bigWig and a plain table."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dnamdlm.data.files import replacing, write_text
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.likelihood.bigwig import BigWigWriter

SUFFIXES = (".bedgraph", ".bw", ".tsv")


def check_track(path: Path) -> None:
    """Check that the format of a track is known.

    Raises:
        ConfigError: for an unknown ending.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"out={path} is not a track; its name must end in {', '.join(SUFFIXES)}, or "
            "have no ending for a folder of tracks"
        )


def write_track(
    path: Path,
    where: Interval,
    tracks: Mapping[str, np.ndarray],
    lengths: Mapping[str, int],
    *,
    name: str,
) -> None:
    """Write one number per base, in the order of positions; nan is left out.

    Args:
        path: .bedgraph and .bw hold the first track, .tsv all of them.
        where: interval of the n bases; what ends past its record goes on at the first base.
        tracks: name -> (n,) values.
        lengths: lengths of all records, which the header of a bigWig file lists.
        name: of the track in a browser, one word.
    """
    positions = np.arange(where.start, where.end) % lengths[where.chrom]
    # browsers want rising positions, also of what crosses the origin of a circular record.
    order = np.argsort(positions)
    positions = positions[order]
    tracks = {key: row[order] for key, row in tracks.items()}
    values = next(iter(tracks.values()))
    known = np.flatnonzero(np.isfinite(values))
    starts = positions[known]
    if path.suffix == ".bw":
        with (
            replacing(path) as partial,
            partial.open("r+b") as file,
            BigWigWriter(file, lengths) as writer,
        ):
            for run in np.split(np.arange(len(values)), np.flatnonzero(np.diff(positions) > 1) + 1):
                writer.add(where.chrom, int(positions[run[0]]), values[run])
        return
    text = io.StringIO()
    if path.suffix == ".bedgraph":
        text.write(f'track type=bedGraph name="{name}" description="bits per base"\n')
        for start, value in zip(starts.tolist(), values[known].tolist(), strict=True):
            text.write(f"{where.chrom}\t{start}\t{start + 1}\t{value:.4f}\n")
    else:
        text.write("\t".join(["chrom", "start", "end", *tracks]) + "\n")
        for place in range(len(values)):
            start = int(positions[place])
            cells = [
                f"{row[place]:.4f}" if np.isfinite(row[place]) else "" for row in tracks.values()
            ]
            text.write("\t".join([where.chrom, str(start), str(start + 1), *cells]) + "\n")
    write_text(path, text.getvalue())
