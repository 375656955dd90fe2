"""Text from a trained model into a .txt or .jsonl file: prompts, gaps, long texts."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building.schema import build
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sampling_progress import GenerationProgress
from dnamdlm.data.text.corpus import TextData
from dnamdlm.data.text.sample_files import ENDINGS
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import Sampler, SemiAutoregressiveSampler
from dnamdlm.tokens.text_tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

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
# tokens of one text; each takes a few bytes, and more than this is a slip of the keyboard.
_MOST_TOKENS = 1 << 24


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
    prompt: str,
    length: int | None,
    window: int,
    tokenizer: TextTokenizer,
    begin: int | None,
    *,
    end: int | None = None,
) -> NDArray[np.int64]:
    """Ids of a prompt, with masks for what is filled in.

    Where the tokenizer keeps a blank with the word that follows (byte-level BPE), one blank before
    a gap is left out: the tokens of the gap bring their own.

    Args:
        prompt: text; [MASK] stands for one token to fill, [MASK*8] for eight.
        length: tokens in all; None fills the gaps of the prompt, or without gaps one window.
        window: tokens per row in training.
        tokenizer: text to ids.
        begin: mark that stands first, or None.
        end: mark that stands last where the gaps of the prompt are all that is filled, or None.

    Raises:
        ConfigError: if the prompt is longer than `length`, nothing is left to fill, or there is
            more to fill than fits memory.
        DataError: if the tokenizer cannot represent it.
    """
    mask = tokenizer.vocabulary.mask_id
    parts = [np.array([] if begin is None else [begin], dtype=np.int64)]
    position = 0
    for gap in _GAP.finditer(prompt):
        before = prompt[position : gap.start()]
        if before.endswith(" ") and _joins_blanks(tokenizer):
            before = before[:-1]
        parts.append(tokenizer.encode(before))
        parts.append(np.full(_bounded(gap[1] or "1", gap[0]), mask, dtype=np.int64))
        position = gap.end()
    parts.append(tokenizer.encode(prompt[position:]))
    if position and length is None and end is not None:
        parts.append(np.array([end], dtype=np.int64))
    given = np.concatenate(parts)
    _bounded(str(length or len(given)), f"length={length or len(given)}")
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


def _bounded(digits: str, what: str) -> int:
    """The number of tokens that the digits say."""
    # Python refuses to read thousands of digits.
    if len(digits.lstrip("0")) > len(str(_MOST_TOKENS)) or int(digits) > _MOST_TOKENS:
        shown = what if len(what) <= 40 else f"{what[:30]}..."
        raise ConfigError(
            f"{shown} asks for more than {_MOST_TOKENS:,} tokens in one text; give a smaller number"
        )
    return int(digits)


def _joins_blanks(tokenizer: TextTokenizer) -> bool:
    """Whether a blank and the word after it are one token, which the word alone is not."""
    alone, joined = tokenizer.encode("a"), tokenizer.encode(" a")
    return len(joined) == 1 and joined.tolist() != alone.tolist()


def begin_mark(settings: TextData, tokenizer: TextTokenizer) -> int | None:
    """The mark that rows begin with, or None."""
    return tokenizer.begin_id if settings.wrap or settings.layout == "padded" else None


def shown(
    row: NDArray[np.int64], settings: TextData, tokenizer: TextTokenizer
) -> NDArray[np.int64]:
    """What is written of a row, generated or held out: the ids whose text it is.

    The begin mark of rows is left out. A row of a padded model is one document, written up to its
    end; a row that is longer than those of training holds several, and is written whole.
    """
    begin = begin_mark(settings, tokenizer)
    written = row[1:] if begin is not None and row[:1].tolist() == [begin] else row
    one_document = settings.layout == "padded" and len(row) <= settings.length
    if one_document and tokenizer.end_id is not None:
        ends = np.flatnonzero(written == tokenizer.end_id)
        written = written[: ends[0]] if ends.size else written
    return written


def warn_of_length(length: int, window: int, sampler: Sampler, *, is_causal: bool) -> None:
    """Say in the log where texts are longer than rows of training and are not made by windows."""
    if length <= window or isinstance(sampler, SemiAutoregressiveSampler):
        return
    way = "a masked diffusion model with sampler=semi_ar" if is_causal else "sampler=semi_ar"
    logger.warning(
        "texts of %s tokens are made by a network that was trained on rows of %d; %s makes long "
        "texts from windows of that length",
        f"{length:,}",
        window,
        way,
    )


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
    begin = begin_mark(settings, tokenizer)
    is_causal = isinstance(loaded.language_model, CausalLM)
    # a model of the past cannot be told what follows a gap.
    is_ended = (settings.wrap or settings.layout == "padded") and not is_causal
    ids = prompt_ids(
        tree["prompt"] or "",
        tree["length"],
        settings.length,
        tokenizer,
        begin,
        end=tokenizer.end_id if is_ended else None,
    )
    warn_of_length(len(ids), settings.length, sampler, is_causal=is_causal)
    count, out = tree["num_sequences"], Path(tree["out"])
    hidden = int((ids == tokenizer.vocabulary.mask_id).sum()) * count
    calls = 0
    with GenerationProgress(hidden) as progress, _Target(out) as write:
        maker = _Maker(tree, loaded, sampler, choice, ids, progress.advance)
        for numbers in maker.batches():
            rows, row_calls = maker.rows(numbers)
            calls += row_calls
            for number, row in zip(numbers.tolist(), rows, strict=True):
                written = shown(row, settings, tokenizer)
                text = tokenizer.decode(written)
                record = {
                    "number": number + 1,
                    "text": text,
                    "ids": written.tolist(),
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
