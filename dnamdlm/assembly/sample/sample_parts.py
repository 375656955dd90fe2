"""Sampling in parts: what the sequences depend on, what a part holds, how parts are joined.

A sequence depends on its number and the seed, so that parts are batches of numbers. Sequences of
one length are made together, and are sorted by their numbers when parts are joined.
"""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.runner.part_settings import surroundings_of
from dnamdlm.assembly.sample.edit_requests import num_changed
from dnamdlm.assembly.sample.generating import (
    Batch,
    Generation,
    Made,
    batches_in_order,
    with_changes,
)
from dnamdlm.assembly.sample.requests import Request
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.sample.sample_writers import Origin, Record, SampleWriter, write_records
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.data.parts.part_folders import HASHED

SEQUENCES, WRITTEN, CALLS = "sequences", "positions written", "network calls"
CHANGED = "positions changed"
_FRAME = struct.Struct("<QIQ")


@dataclass(frozen=True)
class NumberedBatches:
    """The batches of all sequences that are asked for, in order.

    Attributes:
        run: how they are made.
        requests: what is filled.
        num_sequences: sequences per request.
        writer: what makes records of them.
        origin: what the file says of them.
        ending: of the name of the file.
    """

    run: Generation
    requests: Sequence[Request]
    num_sequences: int
    writer: SampleWriter
    origin: Origin
    ending: str
    _at_work: deque[Batch] = field(default_factory=deque, repr=False, compare=False)

    def items(self, chosen: Sequence[range]) -> Iterator[Batch]:
        """The batches of some ranges; they are kept until their results are there."""
        wanted = set(chain.from_iterable(chosen))
        self._at_work.clear()
        for number, batch in enumerate(self._all()):
            if number in wanted:
                self._at_work.append(batch)
                yield batch

    def num_items(self, numbers: range) -> int:
        """A batch is one item."""
        return len(numbers)

    def sizes(self) -> list[int]:
        """Positions that the network reads at once, batch by batch."""
        return [len(batch) * len(batch[0].request.template) for batch in self._all()]

    def stretches(self, numbers: range, results: Iterable[Made]) -> Iterator[Stretch]:
        """The records of the sequences of some batches."""
        del numbers
        # results come in the order of the batches.
        return (self._stretch(self._at_work.popleft(), made) for made in results)

    def _all(self) -> Iterator[Batch]:
        return batches_in_order(self.run, self.requests, self.num_sequences)

    def _stretch(self, batch: Batch, made: Made) -> Stretch:
        rows, calls, figures = made
        frames, changed = [], 0
        for job, pieces in zip(batch, rows, strict=True):
            found = figures.get(job.number)
            named = job if found is None else replace(job, note=found.note)
            if job.request.noise_level is not None:
                named = with_changes(named, pieces)
                changed += num_changed(job.request, pieces)
            record = self.writer.record(named, iter(pieces), self.origin, self.ending)
            head, body = record.head.encode("utf-8"), "".join(record.body).encode("utf-8")
            frames += [_FRAME.pack(job.number, len(head), len(body)), head, body]
        members = 1 if self.run.steering is None else self.run.steering.population
        filled = sum(job.request.num_hidden for job in batch) * members
        counts = {
            SEQUENCES: len(batch), CALLS: calls, WRITTEN: sum(job.request.length for job in batch),
        }  # fmt: skip
        if batch[0].request.noise_level is not None:
            counts[CHANGED] = changed
        return Stretch(b"".join(frames), filled, counts)


def identity_of(
    settings: SampleSettings,
    loaded: LoadedModel,
    requests: Sequence[Request],
    origin: Origin,
    *,
    guide: LoadedModel | None,
    batch_size: int,
) -> dict[str, Any]:
    """What the sequences depend on, by the name of the setting.

    Args:
        settings: of the command.
        loaded: the model.
        requests: what is filled.
        origin: what the file says of the sequences.
        guide: the classifier that guides, or None.
        batch_size: most sequences at once.
    """
    return {
        "model": f"{HASHED}{loaded.digest}",
        "weights": settings.weights,
        "block_length": loaded.block_length,
        "what is filled": f"{HASHED}{_hash_of(requests)}",
        "num_sequences": settings.num_sequences,
        "sampler": repr(settings.sampler),
        "how tokens are drawn": origin.words,
        "guide": None if guide is None else f"{HASHED}{guide.digest}",
        "guidance": [
            settings.label, settings.condition, settings.guide_label, settings.guidance,
            settings.guide_order, settings.corrected, settings.population,
        ],
        "batch_size": batch_size,
        "width": settings.width,
        "ops": settings.ops,
        **surroundings_of(loaded.device),
    }  # fmt: skip


def join_samples(head: Mapping[str, Any], contents: Iterable[IO[bytes]], target: Path) -> None:
    """Write the file from all its parts.

    Raises:
        DataError: if it cannot be written.
    """
    records = _in_order(chain.from_iterable(map(_frames_in, contents)))
    write_records(target, records, kind=head["kind"], width=head["width"])


def sample_facts(head: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """What a file holds, for people."""
    return f"{counts.get(SEQUENCES, 0):,} {head['strings']}"


def _in_order(frames: Iterable[tuple[int, Record]]) -> Iterator[Record]:
    """Records by their numbers, which are all those from 0 on; few wait for an earlier one."""
    waiting: list[tuple[int, Record]] = []
    wanted = 0
    for frame in frames:
        heapq.heappush(waiting, frame)
        while waiting and waiting[0][0] == wanted:
            yield heapq.heappop(waiting)[1]
            wanted += 1
    assert not waiting, "no number is missing"


def _frames_in(content: IO[bytes]) -> Iterator[tuple[int, Record]]:
    while start := content.read(_FRAME.size):
        number, head_size, body_size = _FRAME.unpack(start)
        head, body = content.read(head_size).decode("utf-8"), content.read(body_size)
        yield number, Record(head, (body.decode("utf-8"),))


def _hash_of(requests: Sequence[Request]) -> str:
    digest = hashlib.sha256()
    for request in requests:
        fields = (request.start, request.end, request.note, request.name, request.mask_id)
        digest.update(repr(fields).encode("utf-8"))
        for array in (request.template.ids, request.template.sets):
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
