"""Files of generated sequences: FASTA for DNA, .txt or .jsonl for text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dnamdlm.assembly.modality import Dna, Text
from dnamdlm.assembly.sample.generating import Ids, Job
from dnamdlm.assembly.text_rows import shown
from dnamdlm.data.files import replacing
from dnamdlm.data.genome.fasta_writer import write_fasta
from dnamdlm.data.targets import check_target
from dnamdlm.data.text.sample_files import ENDINGS
from dnamdlm.errors import CheckpointError

FASTA, LINES = "fasta", "lines"
"""Kinds of files: records with headers, or texts line by line."""
Generated = Iterable[tuple[Job, Iterator[Ids]]]


@dataclass(frozen=True)
class Origin:
    """What a file says of how its sequences were made.

    Attributes:
        digest: SHA-256 of the weights.
        sampler: name of the sampler.
        steps: of the reverse process; None where they depend on the sequence.
        seed: of all noise.
        note: further words, such as the class that was asked for.
    """

    digest: str
    sampler: str
    steps: int | None
    seed: int
    note: str = ""

    @property
    def words(self) -> str:
        """What a FASTA header says of it."""
        steps = "auto" if self.steps is None else self.steps
        return (
            f"model={self.digest[:12]} sampler={self.sampler} steps={steps} "
            f"seed={self.seed}{self.note}"
        )


@dataclass(frozen=True)
class Record:
    """A sequence as a file has it.

    Attributes:
        head: of a FASTA record, without '>'; empty for text.
        body: its letters in pieces, or the line of a text.
    """

    head: str
    body: Iterable[str]


class SampleWriter(Protocol):
    """Turns token ids into strings, and writes them."""

    def record(self, job: Job, pieces: Iterator[Ids], origin: Origin, ending: str) -> Record:
        """A sequence as a file with this ending has it."""
        ...

    def strings(self, made: Generated) -> Iterator[str]:
        """One string per sequence."""
        ...

    def write(self, path: Path, made: Generated, origin: Origin, *, width: int) -> int:
        """Write a file, complete or not at all, and return the number of sequences in it."""
        ...


@dataclass(frozen=True)
class FastaSamples:
    """Sequences of DNA as FASTA records."""

    dna: Dna

    def strings(self, made: Generated) -> Iterator[str]:
        """The letters of each sequence."""
        for _, pieces in made:
            yield "".join(self._letters(piece) for piece in pieces)

    def write(self, path: Path, made: Generated, origin: Origin, *, width: int) -> int:
        """Write FASTA records as they are made; a name that ends in .gz is compressed."""
        records = (self.record(job, pieces, origin, path.suffix) for job, pieces in made)
        return write_records(path, records, kind=FASTA, width=width)

    def record(self, job: Job, pieces: Iterator[Ids], origin: Origin, ending: str) -> Record:
        """A FASTA record."""
        del ending
        header = f"{job.name} length={job.request.length} {origin.words}"
        letters = (self._letters(piece) for piece in pieces)
        return Record(f"{header}{job.request.note}{job.note}", letters)

    def _letters(self, ids: Ids) -> str:
        """Letters of DNA; an error where the model chose a token that is not one."""
        text = self.dna.decode(ids)
        if "?" in text:
            raise CheckpointError(
                "the model chose a token that is not a letter of DNA; its probabilities are "
                "probably not finite: use another checkpoint"
            )
        return text


@dataclass(frozen=True)
class TextSamples:
    """Texts, with their token ids in .jsonl files."""

    text: Text

    def strings(self, made: Generated) -> Iterator[str]:
        """The text of each row."""
        for _, pieces in made:
            yield self.text.decode(self._shown(pieces))

    def write(self, path: Path, made: Generated, origin: Origin, *, width: int) -> int:
        """Write a .jsonl file with ids, or a .txt file."""
        records = (self.record(job, pieces, origin, path.suffix) for job, pieces in made)
        return write_records(path, records, kind=LINES, width=width)

    def record(self, job: Job, pieces: Iterator[Ids], origin: Origin, ending: str) -> Record:
        """The line of a .jsonl file, or the lines of a .txt file."""
        ids, number = self._shown(pieces), job.number + 1
        text = self.text.decode(ids)
        if ending != ".jsonl":
            return Record("", (f"----- sample {number:06d}\n{text}",))
        found = {
            "number": number,
            "text": text,
            "ids": ids.tolist(),
            "model": origin.digest[:12],
            "sampler": origin.sampler,
            "seed": origin.seed,
        }
        return Record("", (json.dumps(found, ensure_ascii=False),))

    def _shown(self, pieces: Iterator[Ids]) -> Ids:
        return shown(np.concatenate(list(pieces)), self.text.settings, self.text.tokenizer)


def write_records(path: Path, records: Iterable[Record], *, kind: str, width: int) -> int:
    """Write a file, complete or not at all.

    Args:
        path: of the file.
        records: in order.
        kind: `FASTA` or `LINES`.
        width: letters of a line of FASTA.

    Returns:
        The number of records.

    Raises:
        DataError: if the target cannot be written.
    """
    if kind == FASTA:
        return write_fasta(path, ((record.head, record.body) for record in records), width=width)
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        for count, record in enumerate(records, start=1):  # noqa: B007
            file.write("".join(record.body) + "\n")
    return count


def writer_of(modality: Dna | Text) -> FastaSamples | TextSamples:
    """How the sequences of a model are written."""
    return TextSamples(modality) if isinstance(modality, Text) else FastaSamples(modality)


def check_ending(path: str, modality: Dna | Text) -> None:
    """Refuse the name of a file that the format of the samples does not have.

    Raises:
        ConfigError: naming the endings that text has.
    """
    if isinstance(modality, Text):
        check_target(path, endings=ENDINGS)
