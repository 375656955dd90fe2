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

Made = Iterable[tuple[Job, Iterator[Ids]]]


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


class SampleWriter(Protocol):
    """Turns token ids into strings, and writes them."""

    def strings(self, made: Made) -> Iterator[str]:
        """One string per sequence."""
        ...

    def write(self, path: Path, made: Made, origin: Origin, *, width: int) -> int:
        """Write a file, complete or not at all, and return the number of sequences in it."""
        ...


@dataclass(frozen=True)
class FastaSamples:
    """Sequences of DNA as FASTA records."""

    dna: Dna

    def strings(self, made: Made) -> Iterator[str]:
        """The letters of each sequence."""
        for _, pieces in made:
            yield "".join(self._letters(piece) for piece in pieces)

    def write(self, path: Path, made: Made, origin: Origin, *, width: int) -> int:
        """Write FASTA records as they are made; a name that ends in .gz is compressed."""

        def records() -> Iterator[tuple[str, Iterator[str]]]:
            for job, pieces in made:
                length = job.request.length
                header = f"{job.name} length={length} {origin.words}{job.request.note}{job.note}"
                yield header, (self._letters(piece) for piece in pieces)

        return write_fasta(path, records(), width=width)

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

    def strings(self, made: Made) -> Iterator[str]:
        """The text of each row."""
        for ids in self._rows(made):
            yield self.text.decode(ids)

    def write(self, path: Path, made: Made, origin: Origin, *, width: int) -> int:
        """Write a .jsonl file with ids, or a .txt file."""
        del width
        count = 0
        with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
            for number, ids in enumerate(self._rows(made), start=1):
                text = self.text.decode(ids)
                record = {
                    "number": number,
                    "text": text,
                    "ids": ids.tolist(),
                    "model": origin.digest[:12],
                    "sampler": origin.sampler,
                    "seed": origin.seed,
                }
                line = f"----- sample {number:06d}\n{text}"
                if path.suffix == ".jsonl":
                    line = json.dumps(record, ensure_ascii=False)
                file.write(f"{line}\n")
                count = number
        return count

    def _rows(self, made: Made) -> Iterator[Ids]:
        for _, pieces in made:
            yield shown(np.concatenate(list(pieces)), self.text.settings, self.text.tokenizer)


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
