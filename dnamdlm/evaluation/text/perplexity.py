"""Perplexity of text and bits per byte of a split, compared with unigram frequencies.

Protocol. Splits are read as rows of `dnamdlm.data.text.rows`: packed rows hold every token once;
padded rows cut long documents. Each row is scored with `draws` stratified times (a bound) or once
(exact). Perplexity is exp(nats / scored tokens); its standard error comes from the spread between
rows. Bits per byte divides the bits of all scored tokens by the UTF-8 bytes of the cleaned text;
if only some rows are read, their share of the bytes is taken to be their share of the text tokens.
Unigram frequencies are counted over the training split as it is cut into rows, including marks if
marks are scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnamdlm.data.stream import Sweep
from dnamdlm.data.text.rows import RowRule, Rows
from dnamdlm.data.text.shards import CorpusSplit
from dnamdlm.evaluation.rates import Rate, clustered_rate
from dnamdlm.evaluation.window_scores import WindowScores
from dnamdlm.tokens.vocabulary import Vocabulary

_TOKENS_AT_ONCE = 1 << 22
_PSEUDO_COUNT = 1.0


@dataclass(frozen=True)
class TextReport:
    """Likelihood of a split of text.

    Attributes:
        bits: bits per token of the model.
        unigram: bits per token under the frequencies of the train split (plus one), or None.
        uniform: bits per token if all real tokens are equally likely.
        kind: "exact" or "upper bound".
        bits_per_byte: bits per UTF-8 byte, or None where documents were cut.
        facts: rows, length, draws (None if exact), seconds, and how the text was cut.
    """

    bits: Rate
    unigram: Rate | None
    uniform: float
    kind: str
    bits_per_byte: float | None
    facts: Mapping[str, Any]

    @property
    def perplexity(self) -> float:
        """Perplexity of a token."""
        return 2.0**self.bits.value

    @property
    def perplexity_error(self) -> float:
        """Standard error of the perplexity, to first order."""
        return self.perplexity * math.log(2.0) * self.bits.standard_error

    def to_json(self) -> dict[str, Any]:
        """The section "text" of an evaluation file."""
        return {
            **self.facts,
            "kind": self.kind,
            "tokens": self.bits.count,
            "bits_per_token": self.bits.value,
            "bits_per_token_standard_error": _finite(self.bits.standard_error),
            "perplexity": self.perplexity,
            "perplexity_standard_error": _finite(self.perplexity_error),
            "bits_per_byte": self.bits_per_byte,
            "unigram_perplexity": None if self.unigram is None else 2.0**self.unigram.value,
            "uniform_perplexity": 2.0**self.uniform,
        }


def text_report(
    scores: WindowScores,
    windows: Sweep[Rows],
    split: CorpusSplit,
    train: CorpusSplit | None,
    *,
    draws: int,
    seconds: float,
    vocabulary: Vocabulary,
) -> TextReport:
    """The figures of the rows of a split.

    Args:
        scores: of the rows under the model.
        windows: the rows.
        split: the split that the rows were cut from.
        train: split in which unigram frequencies are counted, or None.
        draws: noise draws per row.
        seconds: spent on the model.
        vocabulary: of the model.
    """
    bits = scores.bits()
    rule, num_rows = windows.source.rule, len(windows.source)
    num_bytes = 0.0  # documents of padded rows are cut, so that bytes per row are unknown
    if rule.layout == "packed":
        num_bytes = float(split.entry["num_bytes"]) * _share_of_text(windows, split)
    return TextReport(
        bits=bits,
        unigram=None if train is None else _unigram(windows, train, vocabulary.real_tokens()),
        uniform=math.log2(len(vocabulary.real_ids)),
        kind=scores.kind,
        bits_per_byte=bits.value * bits.count / num_bytes if num_bytes else None,
        facts={
            "num_rows": len(windows),
            "num_rows_in_split": num_rows,
            "row_length": windows.length,
            "layout": rule.layout,
            "marked": rule.end_id is not None,
            "score_marks": rule.score_marks,
            "draws": None if scores.kind == "exact" else draws,
            "seconds": seconds,
        },
    )


def _unigram(windows: Sweep[Rows], train: CorpusSplit, is_real: np.ndarray) -> Rate:
    """Bits per token under the frequencies of another split, with one more of each real token."""
    counts = np.where(is_real, _PSEUDO_COUNT, 0.0)
    for start in range(0, train.num_tokens, _TOKENS_AT_ONCE):
        ids = train.read(start, min(start + _TOKENS_AT_ONCE, train.num_tokens))
        counts += np.bincount(ids, minlength=len(counts))
    for mark, number in _row_marks(windows.source.rule, train):
        counts[mark] += number
    with np.errstate(divide="ignore"):
        bits = np.log2(counts.sum()) - np.log2(counts)
    sums, tokens = [], []
    for batch in windows.batches(256):
        valid = batch.valid.numpy()
        sums.append(np.where(valid, bits[batch.tokens.numpy()], 0.0).sum(axis=1))
        tokens.append(valid.sum(axis=1))
    return clustered_rate(np.concatenate(sums), np.concatenate(tokens))


def _row_marks(rule: RowRule, split: CorpusSplit) -> Iterator[tuple[int, int]]:
    """Each mark that rows of a split score without storing it, and how often it occurs."""
    padded = rule.layout == "padded"
    num_rows = split.num_documents if padded else -(-split.num_tokens // rule.capacity)
    if rule.begin_id is not None and rule.score_marks:
        yield rule.begin_id, num_rows
    if rule.end_id is not None and (not rule.ends_stored if padded else rule.score_marks):
        yield rule.end_id, num_rows


def _share_of_text(windows: Sweep[Rows], split: CorpusSplit) -> float:
    """Text tokens in the rows that are read over those in the split; marks are not text."""
    rule = windows.source.rule
    if len(windows) == len(windows.source):
        return 1.0
    ends = split.document_ends if rule.ends_stored else np.zeros(0, dtype=np.int64)
    num_marks = (rule.begin_id is not None) + (rule.end_id is not None)
    read = 0
    for batch in windows.batches(256):
        assert batch.start is not None
        first = batch.start.numpy()
        last = first + batch.present.sum(dim=1).numpy() - num_marks
        # a document that ends at e has its mark at e - 1.
        marks = np.searchsorted(ends, last, "right") - np.searchsorted(ends, first, "right")
        read += int((last - first - marks).sum())
    return read / max(split.num_tokens - len(ends), 1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
