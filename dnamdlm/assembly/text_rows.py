"""Rows of a model of text: the mark that they begin with, and what of one is written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.text.corpus import TextData
from dnamdlm.tokens.text_tokenizer import TextTokenizer


def begin_mark(settings: TextData, tokenizer: TextTokenizer) -> int | None:
    """The mark that rows begin with, or None."""
    return tokenizer.begin_id if settings.wrap or settings.layout == "padded" else None


def shown(
    row: NDArray[np.integer], settings: TextData, tokenizer: TextTokenizer
) -> NDArray[np.integer]:
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
