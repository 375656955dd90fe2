"""Prompts and rows of text: what is given, what is filled, and what of a row is written."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.sample.requests import Request
from dnamdlm.assembly.text_rows import begin_mark
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.generation import Template
from dnamdlm.tokens.text_tokenizer import TextTokenizer

_GAP = re.compile(r"\[MASK(?:\*(\d+))?\]")
# tokens of one text; each takes a few bytes, and more than this is a slip of the keyboard.
_MOST_TOKENS = 1 << 24


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
    a gap is left out: the tokens of the gap have their own.

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


def of_prompt(text: Text, prompt: str | None, length: int | None, *, is_causal: bool) -> Request:
    """The request to fill one prompt.

    Args:
        text: the modality of the model.
        prompt: text that is kept, with gaps; None is an empty one.
        length: tokens in all; None as in `prompt_ids`.
        is_causal: whether the model continues to the right alone; it cannot see what follows a gap.

    Raises:
        ConfigError: if the prompt is longer than `length` or nothing is left to fill.
        DataError: if the tokenizer is missing or cannot represent the prompt.
    """
    settings, tokenizer = text.settings, text.tokenizer
    is_ended = (settings.wrap or settings.layout == "padded") and not is_causal
    ids = prompt_ids(
        prompt or "",
        length,
        settings.length,
        tokenizer,
        begin_mark(settings, tokenizer),
        end=tokenizer.end_id if is_ended else None,
    )
    return Request(Template(ids, None), 0, len(ids), mask_id=tokenizer.vocabulary.mask_id)
