"""Runs a command in parts that outlive it, and joins them to one result.

Each part is on the disk once it is computed; the same command computes what is missing or damaged
and joins all. The result does not depend on how the batches are cut, nor on who computed which.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Generic, Protocol, TypeVar

from dnamdlm.assembly.runner.part_makers import made_with, warn_of_makers
from dnamdlm.assembly.runner.part_settings import PART_SECONDS
from dnamdlm.assembly.worker_process import Task
from dnamdlm.assembly.workers import spread
from dnamdlm.data.output_streams import stream_of
from dnamdlm.data.partial_files import unwinding_on_signals
from dnamdlm.data.parts.cutting import Cut, Shard
from dnamdlm.data.parts.part_files import (
    PartHead,
    PartWriter,
    Stretch,
    opened_content,
    part_writer,
    whole_head,
)
from dnamdlm.data.parts.part_folders import (
    Manifest,
    begin,
    claimed_shard,
    folder_of,
    held_folder,
    is_claimed,
    part_path,
    remove_folder,
)
from dnamdlm.progress import Progress
from dnamdlm.threads import Plan

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_co = TypeVar("Item_co", covariant=True)
Result_contra = TypeVar("Result_contra", contravariant=True)
Join = Callable[[Mapping[str, Any], Iterable[IO[bytes]], Path], str | None]
"""Writes a target, complete or not at all, from the head of a manifest and the contents of all
parts in order; gives what is to be said of it, if it has figures."""

_log = logging.getLogger(__name__)


class Batches(Protocol[Item_co, Result_contra]):
    """The batches of a command, which are numbered from 0."""

    def items(self, chosen: Sequence[range]) -> Iterable[Item_co]:
        """What a task works on, for some ranges of batches, in order."""
        ...

    def num_items(self, numbers: range) -> int:
        """How many items a range of batches has."""
        ...

    def stretches(self, numbers: range, results: Iterable[Result_contra]) -> Iterator[Stretch]:
        """The content of a part, from the results for the items of its batches."""
        ...


@dataclass(frozen=True)
class PlainBatches(Generic[Item, Result]):
    """Batches of one item each, whose result is a stretch.

    Attributes:
        each: the items; each iteration begins anew.
        stretch: a result as bytes of a part.
    """

    each: Iterable[Item]
    stretch: Callable[[Result], Stretch]

    def items(self, chosen: Sequence[range]) -> Iterator[Item]:
        """All items are passed through, to their end."""
        rest = iter(chosen)
        current = next(rest, None)
        for number, item in enumerate(self.each):
            while current is not None and number >= current.stop:
                current = next(rest, None)
            if current is not None and number in current:
                yield item

    def num_items(self, numbers: range) -> int:
        return len(numbers)

    def stretches(self, numbers: range, results: Iterable[Result]) -> Iterator[Stretch]:
        del numbers
        return map(self.stretch, results)


@dataclass(frozen=True)
class Job(Generic[Item, Result]):
    """What a command computes, batch by batch.

    What is in a batch decides the last digits of its results, so that a part is made of whole ones.

    Attributes:
        entry: name of the command.
        target: the file to be written.
        identity: what the result depends on, see `Manifest`.
        head: what `join` needs besides the parts, as JSON.
        num_batches: how many there are.
        batches: what the computation is made of.
        num_rows: units of work in all, for people.
        join: the parts to the target.
        label: what happens, for the display of progress.
        unit: what `num_rows` counts, a plural.
        reports_itself: whether the task says how far it is within an item, in rows.
    """

    entry: str
    target: Path
    identity: Mapping[str, Any]
    head: Mapping[str, Any]
    num_batches: int
    batches: Batches[Item, Result]
    num_rows: int
    join: Join
    label: str
    unit: str
    reports_itself: bool = False


@dataclass(frozen=True)
class Workforce(Generic[Item, Result]):
    """Who computes.

    Attributes:
        task: what is done to each item.
        plan: with how many processes and threads.
        opened: the context of the task in this process.
    """

    task: Task[Any, Item, Result]
    plan: Plan
    opened: Any


@dataclass(frozen=True)
class Outcome:
    """What a command computed.

    Attributes:
        path: the target, or the folder of parts of a shard.
        rows: of all parts that belong to it.
        counts: figures that were summed over them.
        seconds: that the computation took.
        rate: units per second.
        shard_sentence: what a shard has to say; empty if the target was written.
        said: what joining the parts had to say of the target.
    """

    path: Path
    rows: int
    counts: Mapping[str, int]
    seconds: float
    rate: float
    shard_sentence: str = ""
    said: str | None = None


@dataclass(frozen=True)
class _Chosen(Generic[Item]):
    """The items of some parts, counted, and the seconds that a batch takes at least, or 0."""

    job: Job[Item, Any]
    ranges: Sequence[range]
    batch_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """What all batches take at least, in one process."""
        return self.batch_seconds * sum(map(len, self.ranges))

    def __len__(self) -> int:
        return sum(map(self.job.batches.num_items, self.ranges))

    def __iter__(self) -> Iterator[Item]:
        return iter(self.job.batches.items(self.ranges))


def run_job(
    job: Job[Item, Result],
    workforce: Workforce[Item, Result],
    *,
    shard: Shard,
    per_part: int,
    keeps_cut: bool,
) -> Outcome:
    """Compute what is missing of a result, and join it unless only a shard was asked for.

    What goes to a pipe or to standard output has no folder, and is kept in an unnamed file.

    Args:
        job: what is computed.
        workforce: who computes.
        shard: the share that is computed.
        per_part: batches of a part.
        keeps_cut: take the size of parts that a folder has already.

    Raises:
        ConfigError: if there are parts of another result, or another process computes them.
        DataError: if a part or the target cannot be written.
    """
    if stream_of(job.target) is not None:
        return _streamed(job, workforce)
    folder = folder_of(job.target)
    manifest = Manifest(
        job.entry, job.identity, job.head, job.num_batches, per_part, shard.count
    )  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(unwinding_on_signals(job.target.name))
        with held_folder(folder):
            manifest = begin(folder, manifest, keeps_cut=keeps_cut)
            stack.enter_context(claimed_shard(folder, shard))
        with _keeping(folder, manifest, shard):
            # the usual size of a part is that of some seconds.
            seconds = PART_SECONDS / per_part if keeps_cut else 0.0
            heads, progress = _computed(
                job, workforce, folder, manifest, shard, batch_seconds=seconds
            )
            outcome = _outcome(job.target, heads, progress)
            if shard.count == 1:
                with held_folder(folder):
                    said = join_parts(folder, manifest, job.target, job.join)
                return replace(outcome, said=said)
    return Outcome(
        folder, outcome.rows, outcome.counts, outcome.seconds, outcome.rate,
        f"shard {shard}: {len(heads)} of {manifest.cut.num_parts} parts are complete "
        f"({outcome.seconds:,.1f} s); once all shards have run, dnamdlm gather out={job.target} "
        "joins them",
    )  # fmt: skip


def join_parts(folder: Path, manifest: Manifest, target: Path, join: Join) -> str | None:
    """Write a target from all parts, which were verified, and remove their folder, which is held.

    Returns:
        What `join` says of it.

    Raises:
        DataError: if the target cannot be written; the parts remain.
    """
    said = join(manifest.head, _contents(folder, manifest.cut), target)
    remove_folder(folder)
    return said


def _contents(folder: Path, cut: Cut) -> Iterator[IO[bytes]]:
    for number in range(cut.num_parts):
        with opened_content(part_path(folder, number)) as file:
            yield file


def whole_parts(folder: Path, manifest: Manifest, numbers: Iterable[int]) -> dict[int, PartHead]:
    """The heads of those parts that are there and as they were written."""
    digest = manifest.digest
    found = {
        number: whole_head(path, digest, number)
        for number in numbers
        if (path := part_path(folder, number)).exists()
    }
    return {number: head for number, head in found.items() if head is not None}


def _computed(
    job: Job[Item, Result],
    workforce: Workforce[Item, Result],
    folder: Path,
    manifest: Manifest,
    shard: Shard,
    *,
    batch_seconds: float,
) -> tuple[list[PartHead], Progress]:
    """The heads of all parts of a shard, after the missing ones were computed."""
    cut = manifest.cut
    mine = shard.parts(cut.num_parts)
    found = whole_parts(folder, manifest, mine)
    missing = [number for number in mine if number not in found]
    damaged = [number for number in missing if part_path(folder, number).exists()]
    for number in damaged:
        part_path(folder, number).unlink()
    if damaged:
        _log.warning(
            "%s: %d parts are damaged, the first is %s; they are computed again",
            folder, len(damaged), part_path(folder, damaged[0]).name,
        )  # fmt: skip
    if found:
        _log.info("%s: %d of %d parts are there already", folder, len(found), len(mine))
    chosen = _Chosen(job, [cut.batches(number) for number in missing], batch_seconds)
    done = sum(head.rows for head in found.values())
    # the parts of a shard are about as large as the others.
    total = job.num_rows if shard.count == 1 else round(job.num_rows * len(mine) / cut.num_parts)
    digest, made = manifest.digest, made_with(workforce.plan, job.identity)
    with Progress(job.label, total, job.unit, first=done) as progress:
        if missing:
            with _spread(chosen, workforce, progress) as results:
                for number, numbers in zip(missing, chosen.ranges, strict=True):
                    with part_writer(part_path(folder, number), digest, number, made) as writer:
                        _fill(writer, job, numbers, results, progress)
                    found[number] = writer.head(digest, number)
                # the items may be checked at their end.
                next(results, None)
    heads = [found[number] for number in mine]
    warn_of_makers(folder, heads)
    return heads, progress


def _spread(chosen: _Chosen[Item], workforce: Workforce[Item, Result], progress: Progress) -> Any:
    advance = progress.advance if chosen.job.reports_itself else None
    return spread(
        workforce.task, chosen, workforce.plan, opened=workforce.opened, advance=advance,
        expected=chosen.seconds,
    )  # fmt: skip


def _fill(
    writer: PartWriter,
    job: Job[Item, Result],
    numbers: range,
    results: Iterator[Result],
    progress: Progress,
) -> None:
    """Write the batches of a part."""
    for stretch in job.batches.stretches(numbers, islice(results, job.batches.num_items(numbers))):
        writer.add(stretch)
        if not job.reports_itself:
            progress.advance(stretch.rows)


def _streamed(job: Job[Item, Result], workforce: Workforce[Item, Result]) -> Outcome:
    everything = _Chosen(job, [range(job.num_batches)])
    with (
        unwinding_on_signals(job.target.name),
        TemporaryFile() as file,
        Progress(job.label, job.num_rows, job.unit) as progress,
    ):
        writer = PartWriter(file)
        with _spread(everything, workforce, progress) as results:
            _fill(writer, job, everything.ranges[0], results, progress)
            next(results, None)
        file.seek(0)
        outcome = _outcome(job.target, [writer.head("", 0)], progress)
        said = job.join(job.head, [file], job.target)
    return replace(outcome, said=said)


def _outcome(target: Path, heads: Sequence[PartHead], progress: Progress) -> Outcome:
    counts: Counter[str] = Counter()
    for head in heads:
        counts.update(head.counts)
    rows = sum(head.rows for head in heads)
    return Outcome(target, rows, counts, progress.seconds, progress.rate)


@contextmanager
def _keeping(folder: Path, manifest: Manifest, shard: Shard) -> Iterator[None]:
    """Say what is kept if the block does not end well; remove the folder if that is nothing."""
    is_done = False
    try:
        yield
        is_done = True
    finally:
        if not is_done:
            _leave(folder, manifest, shard)


def _leave(folder: Path, manifest: Manifest, shard: Shard) -> None:
    numbers = range(manifest.cut.num_parts)
    kept = sum(part_path(folder, number).exists() for number in numbers)
    if kept:
        _log.warning(
            "%d of %d parts are kept in %s; the same command resumes", kept, len(numbers), folder
        )
        return
    if folder.is_dir() and not _others(folder, manifest, shard):
        with held_folder(folder):
            if not _others(folder, manifest, shard):
                remove_folder(folder)


def _others(folder: Path, manifest: Manifest, shard: Shard) -> bool:
    """Whether other processes compute shards in a folder."""
    others = (Shard(number, manifest.shards) for number in range(1, manifest.shards + 1))
    return any(other != shard and is_claimed(folder, other) for other in others)
