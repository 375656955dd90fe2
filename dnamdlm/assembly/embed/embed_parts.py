"""Embeddings in parts: what they depend on, what a part holds, how parts are joined.

A row of the table may lie in several parts, as the mean of a chromosome does. So a part holds what
each window adds to its rows, before the rows are made of it: arrays in the format of npy, one after
the other, for each item.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from dnamdlm.assembly.embed.embed_settings import EmbedSettings
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.runner.part_settings import hash_of_file, surroundings_of
from dnamdlm.data.embedding_tables import embedding_sink
from dnamdlm.data.files import replacing
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.data.parts.part_folders import HASHED
from dnamdlm.lm.states.record_states import EmbeddingSettings, Part, Piece, rows_of
from dnamdlm.lm.states.state_pooling import Tile


def identity_of(
    settings: EmbedSettings,
    loaded: LoadedModel,
    store: GenomeStore,
    windows: EmbeddingSettings,
    *,
    at_once: int,
) -> dict[str, Any]:
    """What the table depends on, by the name of the setting.

    Args:
        settings: of the command.
        loaded: the model.
        store: the genome.
        windows: how records are read and pooled.
        at_once: windows in a call.
    """
    bed = settings.data.bed
    return {
        "model": f"{HASHED}{loaded.digest}",
        "weights": settings.weights,
        "data.fasta": f"{HASHED}{store.sha256}",
        "data.bed": None if bed is None else hash_of_file(bed),
        "data.circular": sorted(store.circular),
        **vars(windows),
        "dtype": settings.dtype,
        "strands": settings.strands,
        "batch_size": at_once,
        "ops": settings.ops,
        **surroundings_of(loaded.device),
    }


def stretch_of(parts: Sequence[Part]) -> Stretch:
    """What the windows of an item add to their rows; empty items have no arrays."""
    if not parts:
        return Stretch(b"", 0)
    pieces = [part.piece for part in parts]
    places = np.array(
        [(x.record, x.length, x.tile.start, x.tile.end, x.tile.first, x.tile.last) for x in pieces],
        dtype=np.int64,
    )
    rows = np.array([len(part.counts) for part in parts], dtype=np.int64)
    file = io.BytesIO()
    for array in (
        places,
        rows,
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.values for part in parts]),
    ):
        npy.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return Stretch(file.getvalue(), len(parts))


def parts_in(content: IO[bytes]) -> Iterator[Part]:
    """What `stretch_of` wrote, item by item."""
    start, end = content.tell(), content.seek(0, io.SEEK_END)
    content.seek(start)
    while content.tell() < end:
        places, rows, counts, values = (
            npy.read_array(content, allow_pickle=False) for _ in range(4)
        )
        cuts = np.cumsum(rows)[:-1]
        for place, own_counts, own_values in zip(
            places.tolist(), np.split(counts, cuts), np.split(values, cuts), strict=True
        ):
            record, length, *tile = place
            yield Part(Piece(record, length, Tile(*tile)), own_values, own_counts)


def join_embeddings(head: Mapping[str, Any], contents: Iterable[IO[bytes]], target: Path) -> None:
    """Write the table from all its parts.

    Raises:
        DataError: if it cannot be written.
    """
    windows = EmbeddingSettings(**head["windows"])
    num_rows, width = head["shape"]
    with (
        replacing(target) as partial,
        embedding_sink(
            partial, head["ending"], head["names"], (num_rows, width), head["dtype"]
        ) as sink,
    ):
        for rows in rows_of(chain.from_iterable(map(parts_in, contents)), windows):
            sink.add(rows.record, rows.start, rows.end, rows.num_valid, rows.values)


def embed_facts(head: Mapping[str, Any]) -> str:
    """What a table holds, for people."""
    num_rows, width = head["shape"]
    return (
        f"{len(head['names']):,} records of {head['num_bases']:,} bases: {num_rows:,} rows of "
        f"{width} {head['dtype']} numbers"
    )
