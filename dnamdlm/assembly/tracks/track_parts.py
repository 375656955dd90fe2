"""Tracks of a genome in parts: what they depend on, what a part holds, how parts are joined.

A part holds the log-probabilities and the bases of its windows, as arrays in the format of npy one
after the other, so that joining needs neither the model nor the genome.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.runner.part_settings import surroundings_of
from dnamdlm.assembly.tracks.probabilities import ReadBases, ReadIntervals
from dnamdlm.assembly.tracks.track_hub import hub_text
from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
from dnamdlm.data.files import whole_folder
from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.json_files import JsonError, read_json_file
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.data.parts.part_folders import (
    HASHED,
    folder_of,
    held_folder,
    read_manifest,
    remove_folder,
)
from dnamdlm.evaluation.likelihood.base_tracks import TRACKS, base_tracks
from dnamdlm.evaluation.likelihood.bigbed import write_bigbed
from dnamdlm.evaluation.likelihood.bigwig import BigWigWriter
from dnamdlm.evaluation.likelihood.browser_record import BrowserRecord
from dnamdlm.reporting.other_reports import tracks_page
from dnamdlm.words.codes import N_CODE

RECORD = "tracks.json"
RUN_BASES = 1 << 14
"""Bases of a run that is long enough to be written."""
_KNOWN = "with a base"


def identity_of(
    settings: TracksSettings, loaded: LoadedModel, read: ReadIntervals, features: Sequence[Feature]
) -> dict[str, Any]:
    """What the tracks depend on, by the name of the setting.

    Args:
        settings: of the command.
        loaded: the model.
        read: what is read.
        features: of the annotation.
    """
    genes = json.dumps([features_as_json(features, kind) for kind in ("gene", "CDS")])
    return {
        "model": f"{HASHED}{loaded.digest}",
        "weights": settings.weights,
        "data.fasta": f"{HASHED}{read.store.sha256}",
        "data.circular": sorted(read.store.circular),
        "data.annotation": f"{HASHED}{hashlib.sha256(genes.encode()).hexdigest()}",
        "the intervals": f"{HASHED}{_digest(list(map(str, read.intervals)))}",
        "length": read.length,
        "stride": read.stride,
        "strands": settings.strands_of_genome,
        "batch_size": read.at_once,
        "assembly": settings.assembly,
        "ops": settings.ops,
        **surroundings_of(loaded.device),
    }


def features_as_json(features: Iterable[Feature], kind: str) -> list[list[Any]]:
    """Features of a kind: record, start, end, strand, name."""
    return [
        [x.interval.chrom, x.interval.start, x.interval.end, x.interval.strand, x.name]
        for x in features
        if x.kind == kind
    ]


def stretch_of(found: Sequence[ReadBases]) -> Stretch:
    """What an item adds to a part."""
    places = np.array([(x.record, x.start, len(x.codes)) for x in found], np.int64).reshape(-1, 3)
    codes = np.concatenate([x.codes for x in found])
    file = io.BytesIO()
    for array in (places, codes, np.concatenate([x.log_probs for x in found])):
        npy.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    known = int((codes < N_CODE).sum())
    return Stretch(file.getvalue(), len(found), {_KNOWN: known})


def bases_in(content: IO[bytes]) -> Iterator[ReadBases]:
    """What `stretch_of` wrote; of each item, windows that follow each other as one run."""
    start, end = content.tell(), content.seek(0, io.SEEK_END)
    content.seek(start)
    while content.tell() < end:
        places, codes, values = (npy.read_array(content, allow_pickle=False) for _ in range(3))
        records, starts, sizes = places.T
        ends = starts + sizes
        follows = (records[1:] == records[:-1]) & (starts[1:] == ends[:-1])
        firsts = np.flatnonzero(np.append(True, ~follows))
        offsets = np.append(0, np.cumsum(sizes))
        cuts = offsets[np.append(firsts, len(places))].tolist()
        for number, first in enumerate(firsts.tolist()):
            inside = slice(cuts[number], cuts[number + 1])
            yield ReadBases(int(records[first]), int(starts[first]), codes[inside], values[inside])


def runs_in(contents: Iterable[IO[bytes]]) -> Iterator[ReadBases]:
    """The bases of all parts, what follows each other joined to runs of `RUN_BASES` and more.

    To write a run costs as much as some thousand bases of it, and windows may have few bases.
    """
    held: list[ReadBases] = []
    size, following = 0, (-1, 0)
    for found in chain.from_iterable(map(bases_in, contents)):
        if held and (size >= RUN_BASES or following != (found.record, found.start)):
            yield _joined(held)
            held, size = [], 0
        held.append(found)
        size += len(found.codes)
        following = (found.record, found.start + len(found.codes))
    if held:
        yield _joined(held)


def _joined(found: Sequence[ReadBases]) -> ReadBases:
    """Stretches that follow each other as one."""
    first = found[0]
    if len(found) == 1:
        return first
    codes = np.concatenate([x.codes for x in found])
    return ReadBases(first.record, first.start, codes, np.concatenate([x.log_probs for x in found]))


def join_tracks(head: Mapping[str, Any], contents: Iterable[IO[bytes]], target: Path) -> None:
    """Write the folder of tracks from all its parts.

    Raises:
        DataError: if it cannot be written.
    """
    lengths: dict[str, int] = head["lengths"]
    names = list(lengths)
    shown = BrowserRecord(lengths, head["label"])
    with whole_folder(target) as folder:
        with ExitStack() as stack:
            writers: dict[str, BigWigWriter] = {}
            for name in TRACKS:
                file = stack.enter_context((folder / f"{name}.bw").open("w+b"))
                writers[name] = stack.enter_context(BigWigWriter(file, lengths))
            for found in runs_in(contents):
                tracks = base_tracks(found.log_probs, found.codes)
                for name, values in tracks.items():
                    writers[name].add(names[found.record], found.start, values)
                shown.add(names[found.record], found.start, found.codes, tracks)
        genes = [_feature("gene", gene) for gene in head["genes"]]
        if genes:
            with (folder / "genes.bb").open("w+b") as file:
                write_bigbed(file, genes, lengths)
        hub = hub_text(head["genome"], head["label"], with_genes=bool(genes))
        (folder / "hub.txt").write_text(hub, encoding="utf-8")
        record = shown.content([*genes, *(_feature("CDS", exon) for exon in head["exons"])])
        (folder / "browser.html").write_text(tracks_page(record), encoding="utf-8")
        record |= {"made_by": head["made_by"], "plan": _digest(head)}
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def is_joined(target: Path) -> bool:
    """Whether a folder is complete already and only its parts are left, which are removed then.

    A process that was killed after it had joined them leaves both.
    """
    folder = folder_of(target)
    if not (target / RECORD).is_file() or not folder.is_dir():
        return False
    try:
        plan = read_json_file(target / RECORD)["plan"]
    except (JsonError, KeyError, TypeError, OSError):
        return False
    with held_folder(folder):
        manifest = read_manifest(folder)
        # the manifest is what is removed first.
        if manifest is not None and plan != _digest(manifest.head):
            return False
        remove_folder(folder)
    return True


def tracks_facts(head: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """What a folder holds, for people."""
    genes = f" and {len(head['genes']):,} genes" if head["genes"] else ""
    return f"{len(TRACKS)} tracks of {counts.get(_KNOWN, 0):,} bases{genes}"


def _feature(kind: str, fields: Sequence[Any]) -> Feature:
    chrom, start, end, strand, name = fields
    return Feature(kind, Interval(chrom, start, end, strand), name)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("ascii")).hexdigest()
