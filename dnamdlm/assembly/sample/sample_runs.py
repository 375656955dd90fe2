"""Sequences into a file: in parts that outlive the command, or as they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.assembly.devices import plan_for
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.runner.part_runner import Job, Workforce, run_job
from dnamdlm.assembly.runner.part_settings import batches_of_part
from dnamdlm.assembly.sample.generating import BatchTask, Generation, generated
from dnamdlm.assembly.sample.requests import Request
from dnamdlm.assembly.sample.sample_parts import (
    CALLS,
    CHANGED,
    SEQUENCES,
    WRITTEN,
    NumberedBatches,
    identity_of,
    join_samples,
)
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.sample.sample_writers import FASTA, LINES, FastaSamples, Origin, writer_of
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.errors import ConfigError
from dnamdlm.progress import Progress


@dataclass(frozen=True)
class SamplingSummary:
    """What a sampling run wrote and what it cost.

    Attributes:
        path: the file.
        num_sequences: sequences in it.
        num_written: positions that were written.
        num_filled: positions that were filled.
        network_calls: how often a network read a sequence. It does not depend on how many it read
            at once.
        strings: what the sequences are called.
        units: what their positions are called.
        shard_sentence: what a shard has to say; empty if the file was written.
        num_changed: positions of edited sequences that are others than before; None without any.
    """

    path: Path
    num_sequences: int
    num_written: int
    num_filled: int
    network_calls: int
    strings: str
    units: str
    shard_sentence: str = ""
    num_changed: int | None = None

    @property
    def sentence(self) -> str:
        """What was written where, for people."""
        if self.shard_sentence:
            return self.shard_sentence
        strings = self.strings if self.num_sequences != 1 else self.strings[:-1]
        filled = f", {self.num_filled:,} of them new" if self.num_filled != self.num_written else ""
        if self.num_changed is not None:
            filled = f", {self.num_changed:,} of them changed,"
        return (
            f"wrote {self.num_sequences:,} {strings} of {self.num_written:,} {self.units} in all"
            f"{filled} to {self.path} ({self.calls_per_sequence:,.1f} network calls per sequence)"
        )

    @property
    def calls_per_sequence(self) -> float:
        """Mean number of network calls that a sequence took."""
        return self.network_calls / self.num_sequences


def ignore(amount: int) -> None:
    """Take no notice of progress, which parts report by themselves."""
    del amount


def in_parts(
    settings: SampleSettings,
    run: Generation,
    requests: Sequence[Request],
    origin: Origin,
    guide: LoadedModel | None,
) -> SamplingSummary:
    """Sequences that are kept in parts until all are made."""
    loaded, out = run.loaded, Path(settings.out)
    writer = writer_of(loaded.modality)
    batches = NumberedBatches(run, requests, settings.num_sequences, writer, origin, out.suffix)
    sizes = batches.sizes()
    members = 1 if run.steering is None else run.steering.population
    filled = sum(request.num_hidden for request in requests) * settings.num_sequences
    steps = settings.sampler.steps or max(request.num_hidden for request in requests)
    job = Job(
        entry="sample",
        target=out,
        identity=identity_of(
            settings, loaded, requests, origin, guide=guide, batch_size=settings.batch_size
        ),
        head={
            "kind": FASTA if isinstance(writer, FastaSamples) else LINES,
            "width": settings.width,
            "strings": loaded.modality.strings,
        },
        num_batches=len(sizes),
        batches=batches,
        num_rows=filled * members,
        join=join_samples,
        label="sampling",
        unit=loaded.modality.units,
        reports_itself=True,
    )
    plan = plan_for(
        loaded.lm,
        max(sizes),
        threads=settings.threads,
        workers=settings.workers,
        devices=settings.devices,
    )
    outcome = run_job(
        job,
        Workforce(BatchTask.of(run), plan, loaded),
        shard=parse_shard(settings.shard),
        per_part=batches_of_part(
            loaded.lm,
            positions=max(sizes) * max(1, steps) * members,
            num_batches=len(sizes),
            batch_rows=math.ceil(settings.num_sequences * len(requests) / len(sizes)),
            part_rows=settings.part_rows,
        ),
        keeps_cut=settings.part_rows is None,
    )
    counts = outcome.counts
    return SamplingSummary(
        outcome.path, counts.get(SEQUENCES, 0), counts.get(WRITTEN, 0), filled,
        counts.get(CALLS, 0), loaded.modality.strings, loaded.modality.units,
        outcome.shard_sentence,
        None if settings.edit is None else counts.get(CHANGED, 0),
    )  # fmt: skip


def at_once(
    settings: SampleSettings, run: Generation, requests: Sequence[Request], origin: Origin
) -> SamplingSummary:
    """Sequences that are written as they are made: into a pipe, or longer than may be held.

    Raises:
        ConfigError: for settings of parts, which there are none of.
    """
    if given := settings.given & {"shard", "part_rows", "devices"}:
        raise ConfigError(
            f"{min(given)} was given but has no effect: a sequence that long is written as it is "
            "made, and has no parts; leave it out"
        )
    loaded, out = run.loaded, Path(settings.out)
    filled = sum(request.num_hidden for request in requests) * settings.num_sequences
    members = 1 if run.steering is None else run.steering.population
    with Progress("sampling", filled * members, loaded.modality.units) as progress:
        run.watch = progress.advance
        made = generated(run, requests, settings.num_sequences)
        count = writer_of(loaded.modality).write(out, made, origin, width=settings.width)
    return SamplingSummary(
        out,
        count,
        sum(request.length for request in requests) * settings.num_sequences,
        filled,
        run.network_calls,
        loaded.modality.strings,
        loaded.modality.units,
        num_changed=None if settings.edit is None else run.num_changed,
    )
