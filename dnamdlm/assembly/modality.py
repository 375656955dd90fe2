"""DNA and text: what differs between models of the two, in one place.

A modality is chosen once, from the settings of the data that a model was trained with. Everything
above asks it for names, for batches and for strings, and never asks which of the two it is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building.without_effect import changed_from_default
from dnamdlm.data.batch import Batch, batch_of_ids
from dnamdlm.data.content_keys import content_keys
from dnamdlm.data.data_source import DataSource
from dnamdlm.data.stream import Sweep
from dnamdlm.data.text.corpus import OpenText, TextData
from dnamdlm.data.text.given_texts import GivenRows
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.iupac import codes_of_coding, with_code_ids, with_codes
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from dnamdlm.tokens.text_tokenizer import TextTokenizer

Owned = tuple[Batch, NDArray[np.int64]]
"""Rows, and the number of the string that each belongs to."""


class Modality(Protocol):
    """What a model is a model of."""

    @property
    def name(self) -> Literal["dna", "text"]:
        """`dna` or `text`."""
        ...

    @property
    def unit(self) -> str:
        """One position of a sequence: `base` or `token`."""
        ...

    @property
    def units(self) -> str:
        """Several positions."""
        ...

    @property
    def strings(self) -> str:
        """What strings are called in messages."""
        ...

    @property
    def foreign(self) -> tuple[str, ...]:
        """Settings of entries that belong to the other modality."""
        ...

    def tokenizer_record(self) -> Mapping[str, Any]:
        """What a checkpoint keeps of the tokenizer: name and files; nothing where it needs none."""
        ...

    def rows(self, strings: Sequence[str], *, seed: int, batch_size: int) -> Iterator[Owned]:
        """Strings as rows of token ids, in batches and in order.

        Args:
            strings: none of them empty.
            seed: of the keys of noise, which depend on it and on the row alone.
            batch_size: rows at once.

        Raises:
            DataError: for a string that is empty, too long, or cannot be represented.
        """
        ...

    def pooled(self, batch: Batch) -> torch.Tensor:
        """Which positions count in a mean over a string, bool (B, L)."""
        ...

    def decode(self, ids: NDArray[np.integer]) -> str:
        """Token ids to a string."""
        ...


@dataclass(frozen=True)
class Dna:
    """Sequences of nucleotides; N and ambiguity codes are seen and not scored.

    Attributes:
        codes: ambiguity codes that the model reads as what they are; all others are N.
    """

    name: Literal["dna", "text"] = "dna"
    unit: str = "base"
    units: str = "bases"
    strings: str = "sequences"
    foreign: tuple[str, ...] = ("prompt", "scorer", "mauve", "data.corpus")
    codes: str = ""

    def tokenizer_record(self) -> Mapping[str, Any]:
        """Nothing: ids of nucleotides are fixed."""
        return {}

    def rows(self, strings: Sequence[str], *, seed: int, batch_size: int) -> Iterator[Owned]:
        """One row per sequence, padded to the longest of its batch."""
        _refuse_one_string(strings, self.strings)
        tokenizer = NucleotideTokenizer()
        for first in range(0, len(strings), batch_size):
            part = strings[first : first + batch_size]
            encoded = [with_code_ids(tokenizer.encode(text), text, self.codes) for text in part]
            for number, ids in enumerate(encoded, start=first + 1):
                if len(ids) == 0:
                    raise DataError(f"sequence {number} is empty; give at least one base")
            vocabulary = with_codes(NUCLEOTIDE_VOCABULARY)
            batch = batch_of_ids(encoded, vocabulary if self.codes else NUCLEOTIDE_VOCABULARY)
            batch = replace(batch, key=content_keys(batch.tokens, batch.present, seed))
            yield batch, np.arange(first, first + len(encoded))

    def pooled(self, batch: Batch) -> torch.Tensor:
        """A, C, G and T."""
        return batch.valid

    def decode(self, ids: NDArray[np.integer]) -> str:
        """Letters of the ids."""
        return NucleotideTokenizer().decode(ids)


@dataclass(frozen=True)
class Text:
    """Texts of one tokenizer, cut into rows as the model was trained on them.

    With `data.layout=padded` a text is one row with the marks of the tokenizer, and a longer one is
    refused. With `packed` a text and its end mark are cut into blocks, each of which is read on its
    own; the first block begins with the text.

    Attributes:
        settings: of the corpus that the model was trained on.
    """

    settings: TextData
    name: Literal["dna", "text"] = "text"
    unit: str = "token"
    units: str = "tokens"
    strings: str = "texts"
    foreign: tuple[str, ...] = (
        "template", "motif", "forbid", "infill", "edit", "noise_level", "flank", "width", "label",
        "condition", "guidance", "guide", "guide_label", "guide_order", "genome", "reference",
        "motifs", "genes", "locus", "infill_windows", "overlap_report", "strands", "max_order",
        "mixture", "pi", "genetic_code",
        "data.fasta", "data.annotation", "data.circular", "data.bed", "data.expand", "data.train",
        "data.valid", "data.test",
    )  # fmt: skip

    @functools.cached_property
    def tokenizer(self) -> TextTokenizer:
        """Text to ids and back.

        Raises:
            DataError: if neither the model nor its corpus has it any more.
        """
        return self.settings.open_tokenizer()

    def tokenizer_record(self) -> Mapping[str, Any]:
        """Name and files of the tokenizer."""
        files = self.tokenizer.files()
        return {
            "tokenizer": self.tokenizer.name,
            "files": {name: content.decode("utf-8") for name, content in files.items()},
        }

    def rows(self, strings: Sequence[str], *, seed: int, batch_size: int) -> Iterator[Owned]:
        """One row or more per text, cut as the rows of the corpus are."""
        _refuse_one_string(strings, self.strings)
        if not len(strings):
            return
        rule = OpenText(self.settings, {}, self.tokenizer).rule()
        rows = GivenRows(strings, rule, self.tokenizer)
        done = 0
        for batch in Sweep.over(rows, seed=seed).batches(batch_size):
            keys = content_keys(batch.tokens, batch.present, seed)
            yield replace(batch, key=keys), rows.owner[done : done + len(batch)]
            done += len(batch)

    def pooled(self, batch: Batch) -> torch.Tensor:
        """All tokens but the marks."""
        counted = batch.present.clone()
        for mark in (self.tokenizer.begin_id, self.tokenizer.end_id):
            # no text becomes a mark.
            counted &= batch.tokens != (-1 if mark is None else mark)
        return counted

    def decode(self, ids: NDArray[np.integer]) -> str:
        """Text of the ids."""
        return self.tokenizer.decode(ids)


def modality_of(data: DataSource, *, coding: str | None = None) -> Dna | Text:
    """The modality of the settings of data.

    Args:
        data: the settings.
        coding: how a model of IUPAC diffusion codes bases, see `IupacDiffusionLM`.
    """
    if isinstance(data, TextData):
        return Text(data)
    return Dna(codes="" if coding is None else codes_of_coding(coding))


def refuse_foreign(settings: Any, modality: Modality) -> None:
    """Refuse a setting that was given and belongs to the other modality.

    Args:
        settings: of an entry, with the field `given`.
        modality: of the model.

    Raises:
        ConfigError: naming the setting.
    """
    given = settings.given | changed_from_default(settings)
    here, other = ("DNA", "text") if modality.name == "dna" else ("text", "DNA")
    for name in sorted(given & set(modality.foreign)):
        raise ConfigError(
            f"{name} is for models of {other}, and this is a model of {here}; leave it out"
        )


def _refuse_one_string(strings: Sequence[str], what: str) -> None:
    if isinstance(strings, str):
        raise DataError(
            f"one string was given where a list of {what} is wanted; put it into a list"
        )
