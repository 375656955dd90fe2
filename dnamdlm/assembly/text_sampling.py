"""Text from a trained model into a .txt or .jsonl file: prompts, gaps, long texts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building import build
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sampling_progress import GenerationProgress
from dnamdlm.data.text import TextData
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.generation import Template, generate_pieces
from dnamdlm.lm.samplers import Sampler
from dnamdlm.tokens.text import TextTokenizer

ENDINGS = (".txt", ".jsonl")
# settings of `sample` that speak of bases, with the value that leaves them out.
_OF_DNA: Mapping[str, Any] = {
    "template": None,
    "motif": None,
    "forbid": None,
    "infill": None,
    "flank": 0,
    "label": None,
    "guide": None,
}
_GAP = re.compile(r"\[MASK(?:\*(\d+))?\]")
# law of one batch of rows: as many numbers as may be held.
_NUMBERS = {"cpu": 1 << 26, "cuda": 1 << 29}


@dataclass(frozen=True)
class TextSummary:
    """What was written and what it cost.

    Attributes:
        path: the file.
        num_sequences: texts in it.
        num_tokens: tokens that were filled in.
        calls_per_sequence: mean number of network calls that a text took.
    """

    path: Path
    num_sequences: int
    num_tokens: int
    calls_per_sequence: float


def check_text_settings(tree: Mapping[str, Any]) -> None:
    """Refuse settings of `sample` that make no sense for text, with a `ConfigError`."""
    for key, without in _OF_DNA.items():
        if tree[key] != without:
            raise ConfigError(f"{key} is for models of DNA, and this is one of text; leave it out")
    if Path(tree["out"]).suffix not in ENDINGS:
        raise ConfigError(
            f"out={tree['out']} must end in {' or '.join(ENDINGS)} for a model of text"
        )


def prompt_ids(
    prompt: str, length: int | None, window: int, tokenizer: TextTokenizer, begin: int | None
) -> NDArray[np.int64]:
    """Ids of a prompt, with masks for what is filled in.

    Args:
        prompt: text; [MASK] stands for one token to fill, [MASK*8] for eight.
        length: tokens in all; None fills the gaps of the prompt, or without gaps one window.
        window: tokens per row in training.
        tokenizer: text to ids.
        begin: mark that stands first, or None.

    Raises:
        ConfigError: if the prompt is longer than `length`, or nothing is left to fill.
        DataError: if the tokenizer cannot represent it.
    """
    mask = tokenizer.vocabulary.mask_id
    parts = [np.array([] if begin is None else [begin], dtype=np.int64)]
    position = 0
    for gap in _GAP.finditer(prompt):
        parts.append(tokenizer.encode(prompt[position : gap.start()]))
        parts.append(np.full(int(gap[1] or 1), mask, dtype=np.int64))
        position = gap.end()
    parts.append(tokenizer.encode(prompt[position:]))
    given = np.concatenate(parts)
    if length is None:
        length = len(given) if position else window
    if len(given) > length:
        raise ConfigError(
            f"the prompt has {len(given)} tokens, more than length={length}; give a larger length"
        )
    ids = np.concatenate([given, np.full(length - len(given), mask, dtype=np.int64)])
    if not (ids == mask).any():
        raise ConfigError(
            f"the prompt leaves nothing to fill in {length} tokens; give a larger length, or "
            "[MASK*N] where something is missing"
        )
    return ids


def sample_text(
    tree: Mapping[str, Any], loaded: LoadedModel, sampler: Sampler, choice: Choice
) -> TextSummary:
    """Generate texts and write them, complete or not at all.

    Args:
        tree: the resolved config of `sample`, checked.
        loaded: a model of text.
        sampler: how it is sampled from.
        choice: temperature and its kin.

    Raises:
        ConfigError: for a setting that does not suit text.
        DataError: if the tokenizer is gone or cannot represent the prompt.
    """
    settings: TextData = build(loaded.tree["data"], "data")
    tokenizer = settings.open_tokenizer()
    marked = settings.wrap or settings.layout == "padded"
    begin = tokenizer.begin_id if marked else None
    ids = prompt_ids(tree["prompt"] or "", tree["length"], settings.length, tokenizer, begin)
    count, out = tree["num_sequences"], Path(tree["out"])
    hidden = int((ids == tokenizer.vocabulary.mask_id).sum()) * count
    calls = 0
    with GenerationProgress(hidden) as progress, _Target(out) as write:
        maker = _Maker(tree, loaded, sampler, choice, ids, progress.advance)
        for numbers in maker.batches():
            rows, row_calls = maker.rows(numbers)
            calls += row_calls
            for number, row in zip(numbers.tolist(), rows, strict=True):
                text = tokenizer.decode(_shown(row, settings, tokenizer, begin))
                record = {
                    "number": number + 1,
                    "text": text,
                    "ids": row.tolist(),
                    "model": loaded.digest[:12],
                    "sampler": sampler.name,
                    "seed": tree["seed"],
                }
                write(
                    json.dumps(record, ensure_ascii=False)
                    if out.suffix == ".jsonl"
                    else f"----- sample {number + 1:06d}\n{text}"
                )
    return TextSummary(out, count, hidden, calls / count)


@dataclass(frozen=True)
class _Maker:
    """What all texts of a run share."""

    tree: Mapping[str, Any]
    loaded: LoadedModel
    sampler: Sampler
    choice: Choice
    ids: NDArray[np.int64]
    watch: Callable[[int], None]

    def batches(self) -> Iterator[torch.Tensor]:
        """Numbers of texts, as many at once as fit."""
        device = next(self.loaded.lm.parameters()).device
        window = min(len(self.ids), int(self.loaded.tree["data"]["length"]))
        numbers = _NUMBERS.get(device.type, _NUMBERS["cpu"])
        fit = max(1, numbers // (max(window, 1) * len(self.loaded.lm.vocabulary)))
        yield from torch.arange(self.tree["num_sequences"]).split(min(self.tree["batch_size"], fit))

    def rows(self, numbers: torch.Tensor) -> tuple[NDArray[np.int64], int]:
        """Token ids of some texts, and how often the network read one."""
        device = next(self.loaded.lm.parameters()).device
        pieces = list(
            generate_pieces(
                self.loaded.language_model,
                row_keys(self.tree["seed"], numbers).to(device),
                Template(self.ids, None),
                sampler=self.sampler,
                choice=self.choice,
                trained_length=int(self.loaded.tree["data"]["length"]),
                watch=self.watch,
            )
        )
        tokens = torch.cat([piece.tokens.cpu() for piece in pieces], dim=1)
        return tokens.numpy(), sum(piece.row_calls for piece in pieces)


def _shown(
    row: NDArray[np.int64], settings: TextData, tokenizer: TextTokenizer, begin: int | None
) -> NDArray[np.int64]:
    """What is written of a row: without the first mark, and a document only up to its end."""
    shown = row if begin is None else row[1:]
    if settings.layout == "padded" and tokenizer.end_id is not None:
        ends = np.flatnonzero(shown == tokenizer.end_id)
        shown = shown[: ends[0]] if ends.size else shown
    return shown


class _Target:
    """Writes lines under a temporary name, and renames when all is well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial-{os.getpid()}")

    def __enter__(self) -> Callable[[str], None]:
        try:
            self.file = self.partial.open("x", encoding="utf-8")
        except OSError as error:
            raise self._refused(error) from error
        return self._write

    def _write(self, text: str) -> None:
        try:
            self.file.write(f"{text}\n")
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> DataError:
        return DataError(
            f"{self.path} cannot be written ({error.strerror}); choose another out=FILE"
        )

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.file.close()
            if kind is None:
                self.partial.replace(self.path)
        except OSError as problem:
            raise self._refused(problem) from problem
        finally:
            self.partial.unlink(missing_ok=True)
