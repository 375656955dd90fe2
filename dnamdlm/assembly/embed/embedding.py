"""Embeddings of the records of a FASTA file, of intervals of a genome, or of strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.embed.embed_parts import (
    embed_facts,
    identity_of,
    join_embeddings,
    stretch_of,
)
from dnamdlm.assembly.embed.embed_settings import EmbeddedRecords, EmbedSettings
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.runner.part_runner import Job, PlainBatches, Workforce, run_job
from dnamdlm.assembly.runner.part_settings import batches_of_part
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.worker_process import Advance
from dnamdlm.data.embedding_tables import ENDINGS
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.data.tasks.sequence_inputs import IntervalIds, log_n_alone
from dnamdlm.errors import DataError
from dnamdlm.lm.states.record_states import (
    EmbeddingSettings,
    Part,
    PartReader,
    Piece,
    Pieces,
    StateReader,
    count_rows,
    embed_records,
)
from dnamdlm.threads import running_with
from dnamdlm.tokens.nucleotide import NucleotideTokenizer

_CALLS_PER_ITEM = 4


class GenomeRecords:
    """Whole records, or intervals, as token ids, of which windows are fetched."""

    def __init__(self, store: GenomeStore, names: list[str], intervals: list[Interval]) -> None:
        self.store, self.names, self.intervals = store, names, intervals

    def __len__(self) -> int:
        """Number of records."""
        return len(self.intervals)

    def without_bases(self) -> list[str]:
        """Names of the records of N alone."""
        return [
            name
            for name, where, num_n in zip(self.names, self.intervals, self._num_n(), strict=True)
            if num_n == len(where)
        ]

    def _num_n(self) -> NDArray[np.int64]:
        offsets = self.store.offsets
        starts = np.array([offsets[x.chrom] + x.start for x in self.intervals], dtype=np.int64)
        ends = np.array([offsets[x.chrom] + x.end for x in self.intervals], dtype=np.int64)
        return self.store.count_n(starts, ends)

    @property
    def circular(self) -> frozenset[int]:
        """Numbers of the records that are circular and whole."""
        return frozenset(
            number
            for number, where in enumerate(self.intervals)
            if where.chrom in self.store.circular
            and len(where) == self.store.lengths[where.chrom]
            and where.strand != "-"
        )

    def __getitem__(self, index: int) -> IntervalIds:
        return IntervalIds(self.store, self.intervals[index])


def read_records(data: EmbeddedRecords) -> GenomeRecords:
    """The records of a FASTA file, or the intervals of a BED file, in their order.

    Raises:
        DataError: for files that the strict readers refuse, and for records without bases.
    """
    store = open_genome(data.fasta, cache_dir=data.cache_dir, rna=data.rna, circular=data.circular)
    if data.bed is not None:
        table = read_bed(data.bed, store.lengths)
        names = [
            str(interval) if name in (None, ".") else name
            for name, interval in zip(table.names, table.intervals, strict=True)
        ]
        return GenomeRecords(store, names, list(table.intervals))
    if empty := store.manifest["empty_records"]:
        raise DataError(
            f"{data.fasta}: record {empty[0]!r} has no bases ({len(empty)} such records), and "
            "every record in must be one out; remove them"
        )
    whole = [Interval(name, 0, length) for name, length in store.lengths.items()]
    return GenomeRecords(store, list(store.names), whole)


@dataclass(frozen=True)
class EmbeddingTask:
    """Reading pieces of records in several processes.

    Attributes:
        source: where each process finds the model.
        strands: which strands it reads.
        records: what is embedded; of the genome only the folder travels.
        windows: how records are read and pooled.
        tokens_at_once: bound on the tokens of a call.
    """

    source: ModelSource
    strands: Strands
    records: GenomeRecords
    windows: EmbeddingSettings
    tokens_at_once: int

    def open(self) -> PartReader:
        """What reads pieces."""
        loaded = self.source.open()
        return PartReader(
            StateReader(with_strands(loaded.lm, self.strands)),
            self.records,
            self.windows,
            tokens_at_once=self.tokens_at_once,
            device=loaded.device,
        )

    def work(self, context: PartReader, item: list[Piece], advance: Advance) -> list[Part]:
        """What these pieces add to their rows."""
        del advance
        return list(context.read(item))


def _job_of(
    out: Path, identity: Mapping[str, Any], head: Mapping[str, Any], items: Pieces
) -> Job[list[Piece], list[Part]]:
    """The work on all pieces, for `run_job`."""
    return Job(
        entry="embed",
        target=out,
        identity=identity,
        head=head,
        num_batches=len(items),
        batches=PlainBatches(items, stretch_of),
        num_rows=len(items) * items.size,
        join=join_embeddings,
        label="embedding",
        unit="windows",
    )


def embed(settings: EmbedSettings) -> tuple[Path, str]:
    """Write the table of embeddings, or compute a shard of it.

    Returns:
        The table, or the folder of the parts of a shard, and a sentence for people.

    Raises:
        ConfigError: for an impossible setting, or a model without hidden states.
        DataError: for files that are refused.
    """
    out = Path(settings.out)
    ending = check_target(out, inputs=inputs_of(settings), endings=ENDINGS)
    start_ops(settings.ops, settings.device, settings.precision)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    loaded.require_dna()
    warn_if_worse(loaded)
    reader = StateReader(with_strands(loaded.lm, settings.strands))
    # a large genome takes minutes when it is read for the first time.
    records = read_records(settings.data)
    log_n_alone(records.without_bases(), len(records), settings.data.bed or settings.data.fasta)
    windows = settings.windows(loaded.length)
    at_once = settings.batch_size or windows_at_once(windows.length, loaded.device)
    tokens = at_once * windows.length
    plan = plan_for(
        loaded.lm,
        tokens,
        threads=settings.threads,
        workers=settings.workers,
        devices=settings.devices,
    )
    task = EmbeddingTask(ModelSource.of(loaded), settings.strands, records, windows, tokens)
    parts = PartReader(reader, records, windows, tokens_at_once=tokens, device=loaded.device)
    lengths = [len(interval) for interval in records.intervals]
    with running_with(plan.threads):
        shape = (count_rows(lengths, windows), reader.width(loaded.device))
    items = Pieces(lengths, windows, _CALLS_PER_ITEM * parts.at_once, records.circular)
    identity = identity_of(settings, loaded, records.store, windows, at_once=parts.at_once)
    head = {
        "ending": ending,
        "names": records.names,
        "shape": shape,
        "num_bases": sum(lengths),
        "dtype": settings.dtype,
        "windows": vars(windows),
    }
    job = _job_of(out, identity, head, items)
    outcome = run_job(
        job,
        Workforce(task, plan, parts),
        shard=parse_shard(settings.shard),
        per_part=batches_of_part(
            loaded.lm,
            positions=items.size * windows.length,
            num_batches=len(items),
            batch_rows=items.size,
            part_rows=settings.part_rows,
        ),
        keeps_cut=settings.part_rows is None,
    )
    said = outcome.shard_sentence or f"{embed_facts(job.head)}, {outcome.seconds:,.1f} s"
    return outcome.path, said


def embedded_strings(
    loaded: LoadedModel,
    sequences: Sequence[str],
    *,
    strands: Strands = "one",
    batch_size: int | None = None,
) -> NDArray[np.float32]:
    """The mean hidden states that `embed` writes for records with these sequences, shape (N, D).

    Raises:
        ConfigError: if the model has no hidden states, or cannot read another strand.
        DataError: for a sequence that is empty.
    """
    reader = StateReader(with_strands(loaded.lm, strands))
    windows = EmbeddingSettings("mean", loaded.length)
    tokenizer = NucleotideTokenizer()
    records = [tokenizer.encode(sequence) for sequence in sequences]
    for number, ids in enumerate(records, start=1):
        if len(ids) == 0:
            raise DataError(f"sequence {number} is empty; give at least one base")
    found = np.zeros((len(records), reader.width(loaded.device)), dtype=np.float32)
    at_once = batch_size or windows_at_once(windows.length, loaded.device)
    tokens = at_once * windows.length
    with running_with(plan_for(loaded.lm, tokens, threads=None).threads):
        for rows in embed_records(
            reader, records, windows, tokens_at_once=tokens, device=loaded.device
        ):
            found[rows.record] = rows.values
    return found


def mean_states(
    loaded: LoadedModel, strings: Sequence[str], *, batch_size: int
) -> NDArray[np.float32]:
    """Mean of the hidden states over the rows of each string, shape (N, D).

    A string may have several rows, as a text that is cut into blocks has.

    Raises:
        DataError: for a string that is empty, too long, or cannot be represented.
    """
    lm = loaded.language_model
    total: torch.Tensor | None = None
    counts = torch.zeros(len(strings))
    for batch, owner in loaded.modality.rows(strings, seed=0, batch_size=batch_size):
        plan = plan_for(loaded.lm, batch.tokens.numel(), threads=None)
        with torch.inference_mode(), running_with(plan.threads):
            states = lm.hidden(batch.to(loaded.device)).float().cpu()
        counted = loaded.modality.pooled(batch)
        rows = torch.where(counted[..., None], states, 0.0).sum(dim=1)
        if total is None:
            total = torch.zeros(len(strings), rows.shape[-1])
        index = torch.from_numpy(owner)
        total.index_add_(0, index, rows)
        counts.index_add_(0, index, counted.sum(dim=1).float())
    if total is None:
        raise DataError(f"there is nothing to embed; give a list of {loaded.modality.strings}")
    return (total / counts[:, None]).numpy()
