"""Embeddings of the records of a FASTA file, or of intervals of a genome, from a config tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.building.schema import check_keys, check_value
from dnamdlm.assembly.models import load_model, windows_at_once
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.row_progress import RowProgress
from dnamdlm.assembly.strands import read_strands
from dnamdlm.data.embedding_tables import ENDINGS, embedding_sink
from dnamdlm.data.files import check_target, replacing
from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.tasks.sequence_inputs import interval_ids
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.states.record_states import (
    EmbeddingSettings,
    StateReader,
    count_rows,
    embed_records,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

_KEYS = {
    "model": str,
    "out": str,
    "pooling": str,
    "bin_size": int,
    "length": int | None,
    "overlap": float,
    "dtype": str,
    "strands": str,
    "batch_size": int | None,
    "weights": str,
    "device": str,
    "ops": str,
    "debug": bool,
}
_DATA_KEYS: dict[str, Any] = {"fasta": str, "bed": str | None, "cache_dir": str | None}
_DTYPES = ("float32", "float16")
_STRANDS = {"forward": "one", "both": "both"}


class GenomeRecords:
    """Whole records, or intervals, as token ids, fetched one at a time."""

    def __init__(self, store: GenomeStore, names: list[str], intervals: list[Interval]) -> None:
        self.store, self.names, self.intervals = store, names, intervals

    def __len__(self) -> int:
        """Number of records."""
        return len(self.intervals)

    def __getitem__(self, index: int) -> NDArray[np.integer]:
        return interval_ids(self.store, self.intervals[index])


def read_records(data: Mapping[str, Any]) -> GenomeRecords:
    """The records of a FASTA file, or the intervals of a BED file, in their order.

    Raises:
        DataError: for files that the strict readers refuse, and for records without bases.
    """
    store = prepare_genome(data["fasta"], cache_dir=data["cache_dir"])
    if data["bed"] is not None:
        table = read_bed(data["bed"], store.lengths)
        names = [
            str(interval) if name in (None, ".") else name
            for name, interval in zip(table.names, table.intervals, strict=True)
        ]
        return GenomeRecords(store, names, list(table.intervals))
    if empty := store.manifest["empty_records"]:
        raise DataError(
            f"{data['fasta']}: record {empty[0]!r} has no bases ({len(empty)} such records), and "
            "every record in must be one out; remove them"
        )
    whole = [Interval(name, 0, length) for name, length in store.lengths.items()]
    return GenomeRecords(store, list(store.names), whole)


def embed(tree: Mapping[str, Any]) -> tuple[Path, str]:
    """Write the table of embeddings.

    Args:
        tree: the resolved config of `embed`.

    Returns:
        The table, and a sentence for people.
    """
    ending = _check(tree)
    out = Path(tree["out"])
    start_ops(tree["ops"], tree["device"])
    records = read_records(tree["data"])
    loaded = load_model(tree["model"], weights=tree["weights"], device=tree["device"])
    if loaded.lm.vocabulary.fingerprint() != NUCLEOTIDE_VOCABULARY.fingerprint():
        raise ConfigError("this model was not trained on DNA; give a model of DNA")
    read_strands(loaded.lm, _STRANDS[tree["strands"]])
    reader = StateReader(loaded.lm)
    device = next(loaded.lm.parameters()).device
    settings = _settings(tree, int(loaded.tree["data"]["length"]))
    at_once = tree["batch_size"] or windows_at_once(settings.length, device)
    lengths = [len(interval) for interval in records.intervals]
    shape = (count_rows(lengths, settings), reader.width(device))
    progress = RowProgress(shape[0], "rows")
    with (
        replacing(out) as partial,
        embedding_sink(partial, ending, records.names, shape, tree["dtype"]) as sink,
    ):
        for rows in embed_records(
            reader, records, settings, tokens_at_once=at_once * settings.length, device=device
        ):
            sink.add(rows.record, rows.start, rows.end, rows.num_valid, rows.values)
            progress.add(len(rows))
    return out, (
        f"{len(records):,} records of {sum(lengths):,} bases: {shape[0]:,} rows of {shape[1]} "
        f"{tree['dtype']} numbers, {progress.seconds:,.1f} s"
    )


def _settings(tree: Mapping[str, Any], trained_length: int) -> EmbeddingSettings:
    length = trained_length if tree["length"] is None else tree["length"]
    return EmbeddingSettings(tree["pooling"], length, tree["bin_size"], float(tree["overlap"]))


def _check(tree: Mapping[str, Any]) -> str:
    check_keys(tree, _KEYS, ["data"])
    check_keys(tree["data"], _DATA_KEYS)
    for key, value in tree["data"].items():
        check_value(value, _DATA_KEYS[key], f"data.{key}")
    for key, allowed in (("dtype", _DTYPES), ("strands", tuple(_STRANDS))):
        if tree[key] not in allowed:
            raise ConfigError(f"{key}={tree[key]} is unknown; choose {' or '.join(allowed)}")
    if tree["batch_size"] is not None and tree["batch_size"] < 1:
        raise ConfigError(f"batch_size={tree['batch_size']} must be at least 1")
    _settings(tree, 1)
    return check_target(Path(tree["out"]), ENDINGS, tuple(tree["data"].values())[:2])
