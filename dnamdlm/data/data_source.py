"""What training and evaluation need of data, whatever they are made of.

A source is a group of settings (`data` in a config); opening it reads files and gives the data. One
genome, a mixture of genomes and a corpus of text are three sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from dnamdlm.data.batch import Batch
from dnamdlm.tokens.vocabulary import Vocabulary

# of a corpus, versions up to 0.1 wrote `fasta`.
_SOURCES = ("corpus", "fasta", "task")

Unit = Literal["base", "token"]
"""What a position of the data holds: a base of DNA or a token of text."""


@dataclass(frozen=True)
class SettingsOf:
    """Marks a setting that maps names to groups of settings, each those of one class.

    Attributes:
        target: the class whose signature is the schema of each group.
        provided: arguments that a group may not give.
    """

    target: type
    provided: tuple[str, ...] = ()


@runtime_checkable
class DataSource(Protocol):
    """Settings of data, checked when made; no file is touched before `open`."""

    @property
    def length(self) -> int:
        """Positions per training window."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """What the token ids of its batches mean."""
        ...

    def open(self) -> OpenData:
        """Read what is needed to make batches.

        Raises:
            DataError: if a file or a split cannot be used.
        """
        ...


class OpenData(Protocol):
    """Data that serve batches."""

    @property
    def unit(self) -> Unit:
        """What a position holds."""
        ...

    @property
    def length(self) -> int:
        """Positions per training window."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each class that `Batch.label` counts; empty where the data have no classes."""
        ...

    @property
    def parts(self) -> Mapping[str, OpenData]:
        """The parts of a mixture by name, each with labels of the whole; else empty."""
        ...

    def has_split(self, split: str) -> bool:
        """Whether train, valid or test is not empty."""
        ...

    def training_stream(self, seed: int, global_batch_size: int) -> BatchStream:
        """Endless training batches, a function of (seed, step)."""
        ...

    def evaluation_windows(
        self, split: str, length: int | None = None, limit: int | None = None, seed: int = 0
    ) -> WindowSequence:
        """Every position of a split once, or `limit` windows spread over it.

        Args:
            split: train, valid or test.
            length: positions per window; None is the training length.
            limit: at most this many windows.
            seed: of the noise keys and row numbers.

        Raises:
            DataError: if the split has nothing to score.
        """
        ...

    def check_files(self) -> None:
        """Read, and so check, each file of the settings that making batches does not read.

        Raises:
            DataError: if one cannot be used.
        """
        ...

    def fingerprint(self) -> str:
        """Hash of all that decides which batches come out, but not of where files lie."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts for a report.

        All have `fingerprint`, `split_rule` and `splits`. The source is called `fasta` or `corpus`;
        sizes are `num_bases` and `num_records`, or `num_tokens` and `num_documents`.
        """
        ...


def source_of(described: Mapping[str, Any]) -> str:
    """What the data of a description are called: a FASTA file, a corpus or a task.

    >>> source_of({"corpus": "wikitext2", "num_tokens": 7})
    'wikitext2'
    """
    return next((str(described[key]) for key in _SOURCES if key in described), "the data")


class BatchStream(Protocol):
    """A training stream: the batch of a step is a function of the step alone."""

    def batch(
        self,
        step: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        micro_step: int = 0,
        num_micro_steps: int = 1,
    ) -> Batch:
        """The part of the global batch of `step` that one rank sees in one micro step."""
        ...


class WindowSequence(Protocol):
    """Windows to be scored, in a fixed order."""

    @property
    def length(self) -> int:
        """Positions per window."""
        ...

    def __len__(self) -> int: ...

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All windows, `batch_size` at once or fewer."""
        ...
