"""Requests to sequences of token ids, in batches, in order, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sample.edit_requests import num_changed
from dnamdlm.assembly.sample.pointed_samples import SamplePointers
from dnamdlm.assembly.sample.requests import Request
from dnamdlm.assembly.sample.steering_request import (
    PopulationFigures,
    SteeringRequest,
    figures_of,
)
from dnamdlm.assembly.workers import spread
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.class_guidance import Guidance
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import Sampler, SemiAutoregressiveSampler
from dnamdlm.threads import running_with

# sequences are made side by side while they have so few tokens in all; a longer one is given piece
# by piece, and never held as a whole.
_TOKENS_HELD = 1 << 20
# log-probabilities of one batch of rows: as many numbers as may be held.
_NUMBERS_AT_ONCE = {"cpu": 1 << 26, "cuda": 1 << 29}

Ids = NDArray[np.integer]


@dataclass
class Generation:
    """What all sequences of one call share, and what they cost.

    Attributes:
        loaded: the model.
        sampler: how it is sampled from.
        choice: temperature and its kin.
        guidance: a class to steer towards, or None.
        seed: of all noise.
        batch_size: most sequences at once.
        watch: called with the number of tokens just filled.
        threads: the setting of that name; None is chosen by the size of the network.
        workers: the setting of that name; None is chosen by the work.
        network_calls: sequences that the network read so far, with repetition; it does not depend
            on how many it read at once.
        steering: what populations steer towards; None draws each sequence by itself.
        figures: of the population of each sequence so far, by the number of the sequence.
        num_changed: bases of edited sequences so far that are others than before.
        pointers: where sequences may copy from, or None.
    """

    loaded: LoadedModel
    sampler: Sampler
    choice: Choice
    guidance: Guidance | None
    seed: int
    batch_size: int
    watch: Callable[[int], None]
    threads: int | None = None
    workers: int | None = 1
    network_calls: int = 0
    steering: SteeringRequest | None = None
    figures: dict[int, PopulationFigures] = field(default_factory=dict)
    num_changed: int = 0
    pointers: SamplePointers | None = None


@dataclass(frozen=True)
class Job:
    """One sequence to make, its number from 0, and its name in a file.

    Attributes:
        number: from 0.
        request: what is filled.
        name: in a file.
        note: end of the header, of what was found while it was made.
    """

    number: int
    request: Request
    name: str
    note: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Length of the template, and the part of it that is written."""
        return len(self.request.template), self.request.start, self.request.end


Batch = list[Job]
"""Sequences of one length, which are made together."""
Made = tuple[list[list[Ids]], int, dict[int, PopulationFigures]]
"""The pieces of each sequence of a batch, how often the network read one, and populations."""


def generated(
    run: Generation, requests: Sequence[Request], num_sequences: int, *, first: int = 0
) -> Iterator[tuple[Job, Iterator[Ids]]]:
    """Sequences in order, each as pieces of token ids; each depends on its number and the seed.

    Args:
        run: the model and how it is sampled.
        requests: what is filled.
        num_sequences: sequences per request.
        first: number of the first sequence; those before it are not made.
    """
    for held in _held(_jobs(requests, num_sequences, first)):
        if len(held) == 1 and run.steering is None:
            made = _streamed(run, held[0])
        else:
            made = _side_by_side(run, held)
        for job, pieces in zip(held, made, strict=True):
            if job.request.noise_level is not None:
                found = list(pieces)
                run.num_changed += num_changed(job.request, found)
                yield with_changes(job, found), iter(found)
                continue
            figures = run.figures.get(job.number)
            yield job if figures is None else replace(job, note=figures.note), pieces


def with_changes(job: Job, pieces: Sequence[Ids]) -> Job:
    """A job whose header says how many bases of an edited sequence are others than before."""
    return replace(job, note=f"{job.note} changed={num_changed(job.request, pieces)}")


def _jobs(requests: Sequence[Request], num_sequences: int, first: int) -> Iterator[Job]:
    """Jobs in order, each with a name of its own.

    What is made once has the name of its request; what is made several times is numbered: NAME_1,
    NAME_2. Requests without a name are numbered through.
    """
    wanted = Counter(request.name for request in requests)
    made: Counter[str | None] = Counter()
    for place, request in enumerate(requests):
        for copy in range(num_sequences):
            number = first + place * num_sequences + copy
            name = request.name
            made[name] += 1
            if name is None:
                name = f"sample_{number + 1:06d}"
            elif wanted[name] * num_sequences > 1:
                name = f"{name}_{made[name]}"
            yield Job(number, request, name)


def _held(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs in order, as many at once as may be held in memory."""
    held: list[Job] = []
    tokens = 0
    for job in jobs:
        tokens += len(job.request.template)
        if held and tokens > _TOKENS_HELD:
            yield held
            held, tokens = [], len(job.request.template)
        held.append(job)
    if held:
        yield held


def _streamed(run: Generation, job: Job) -> Iterator[Iterator[Ids]]:
    """One sequence, in pieces."""
    yield (rows[0] for rows in _pieces(run, [job]))


def _side_by_side(run: Generation, jobs: Sequence[Job]) -> Iterator[Iterator[Ids]]:
    """All sequences, those of one length in batches."""
    batches = _batches(run, jobs)
    largest = max(len(batch) * len(batch[0].request.template) for batch in batches)
    plan = plan_for(run.loaded.lm, largest, threads=run.threads, workers=run.workers)
    task = BatchTask.of(run)
    made: dict[int, list[Ids]] = {}
    with spread(task, batches, plan, opened=run.loaded, advance=run.watch) as results:
        for batch, (rows, calls, figures) in zip(batches, results, strict=True):
            run.network_calls += calls
            run.figures |= figures
            made |= {job.number: row for job, row in zip(batch, rows, strict=True)}
    return (iter(made[job.number]) for job in jobs)


def _batches(run: Generation, jobs: Sequence[Job]) -> list[Batch]:
    """Jobs of one length in batches."""
    by_shape: dict[tuple[int, ...], list[Job]] = {}
    for job in jobs:
        shape = job.shape if run.steering is not None else job.shape[:1]
        by_shape.setdefault(shape, []).append(job)
    batches: list[Batch] = []
    for (length, *_), alike in by_shape.items():
        # few enough that every process has some; their number does not change the result.
        window = max(1, min(length, run.loaded.length))
        at_once = min(_rows_at_once(run, length), windows_at_once(window, run.loaded.device))
        batches += [alike[first : first + at_once] for first in range(0, len(alike), at_once)]
    return batches


def batches_in_order(
    run: Generation, requests: Sequence[Request], num_sequences: int
) -> Iterator[Batch]:
    """What is made together, as `generated` makes it, batch by batch.

    Args:
        run: the model and how it is sampled.
        requests: what is filled.
        num_sequences: sequences per request.
    """
    return chain.from_iterable(
        _batches(run, held) for held in _held(_jobs(requests, num_sequences, 0))
    )


def is_held(requests: Sequence[Request]) -> bool:
    """Whether every sequence may be held as a whole, rather than be written as it is made."""
    return max(len(request.template) for request in requests) <= _TOKENS_HELD


@dataclass(frozen=True)
class BatchTask:
    """Makes the sequences of a batch, in any process."""

    source: ModelSource
    sampler: Sampler
    choice: Choice
    guidance: Guidance | None
    seed: int
    threads: int | None
    steering: SteeringRequest | None
    pointers: SamplePointers | None

    @classmethod
    def of(cls, run: Generation) -> BatchTask:
        """The task of a call."""
        source = ModelSource.of(run.loaded)
        return cls(
            source, run.sampler, run.choice, run.guidance, run.seed, run.threads, run.steering,
            run.pointers,
        )  # fmt: skip

    def open(self) -> LoadedModel:
        """Load the model."""
        return self.source.open()

    def work(self, context: LoadedModel, item: Batch, advance: Callable[[int], None]) -> Made:
        """The sequences of a batch."""
        run = Generation(
            context,
            self.sampler,
            self.choice,
            self.guidance,
            self.seed,
            len(item),
            advance,
            self.threads,
            steering=self.steering,
            pointers=self.pointers,
        )
        rows = [list(column) for column in zip(*_pieces(run, item), strict=True)]
        return rows, run.network_calls, run.figures


def _rows_at_once(run: Generation, length: int) -> int:
    """As many sequences as asked for, or as fit memory."""
    rows = _rows_in_memory(run.loaded, length)
    if run.steering is None:
        return min(run.batch_size, rows)
    # all members of a population are made together.
    return max(1, min(run.batch_size, rows) // run.steering.population)


def _rows_in_memory(loaded: LoadedModel, length: int) -> int:
    """Sequences whose log-probabilities are held at once."""
    numbers = _NUMBERS_AT_ONCE.get(loaded.device.type, _NUMBERS_AT_ONCE["cpu"])
    window = max(1, min(length, loaded.length))
    return max(1, numbers // (window * len(loaded.lm.vocabulary)))


def check_memory(
    steering: SteeringRequest, loaded: LoadedModel, requests: Sequence[Request]
) -> None:
    """Refuse a population whose members cannot be made together.

    Raises:
        ConfigError: naming the largest that can.
    """
    length = max(len(request.template) for request in requests)
    if steering.population > (rows := _rows_in_memory(loaded, length)):
        raise ConfigError(
            f"a population of {steering.population:,} sequences of {length:,} bases needs more "
            f"memory than one batch may have; use population={rows} or less"
        )


def _pieces(run: Generation, jobs: Sequence[Job]) -> Iterator[list[Ids]]:
    """The ids of the written part of all sequences of one length, piece by piece."""
    position = 0
    length = len(jobs[0].request.template)
    if isinstance(run.sampler, SemiAutoregressiveSampler):
        length = min(length, run.loaded.length)
    plan = plan_for(run.loaded.lm, len(jobs) * length, threads=run.threads)
    keys = row_keys(run.seed, torch.tensor([job.number for job in jobs])).to(run.loaded.device)
    pieces = generate_pieces(
        run.loaded.language_model,
        keys,
        Template.of_rows([job.request.template for job in jobs]),
        sampler=run.sampler,
        choice=run.choice,
        trained_length=run.loaded.length,
        guidance=run.guidance,
        watch=run.watch,
        tilt=None if run.steering is None else run.steering.tilt(run.loaded, jobs[0].request),
        noise_level=jobs[0].request.noise_level,
        aligned=None if run.pointers is None else run.pointers.templates(keys, length),
    )
    while True:
        with running_with(plan.threads):
            piece = next(pieces, None)
        if piece is None:
            return
        run.network_calls += piece.row_calls
        if piece.outcome is not None and run.steering is not None:
            run.figures |= figures_of(piece.outcome, [job.number for job in jobs])
        rows: Ids = piece.tokens.cpu().numpy()
        yield [
            row[max(0, job.request.start - position) : max(0, job.request.end - position)]
            for job, row in zip(jobs, rows, strict=True)
        ]
        position += rows.shape[1]
