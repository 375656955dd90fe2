"""Generated text: perplexity under a causal model, always with entropy and repetition.

Protocol. The tokenizer of the sampling model decodes ids to text, and the tokenizer of the scorer
encodes the text again. Marks of documents (such as <|endoftext|>) become the end mark of the
scorer, which is visible and not scored; a scorer without one does not see them. The first token of
a text is visible and not scored, since a Hugging Face model does not predict it. Texts longer than
the context of the scorer are read in windows that begin half a context apart; each token is scored
once, in the first window that contains it. Perplexity is exp(nats / scored tokens) over all texts,
with a standard error that treats texts as clusters. A text of blanks alone counts as empty and is
left out of all figures.

Low perplexity alone is not evidence of quality: a text that repeats one word has it. It is
therefore reported together with the mean entropy of the tokens within a text (nats, of the tokens
of the sampling model, marks included), distinct-n (different n-grams over n-grams, of all texts
together; Li et al. 2016) and rep-n (one minus the same ratio within each text, averaged over texts;
Su et al. 2022). All of them depend on the length, so that they are compared with those of as many
real texts of the same length, written by the same rule.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import DataError
from dnamdlm.evaluation.rates import Rate, clustered_rate
from dnamdlm.evaluation.text.scorers import Scorer, padded
from dnamdlm.evaluation.window_scores import Progress
from dnamdlm.tokens.text_tokenizer import TextTokenizer

NGRAMS = (1, 2, 3, 4)
_NUMBERS_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class TextSample:
    """One text.

    Attributes:
        text: decoded, with the symbols of marks.
        ids: tokens of the model that sampled it, or of its tokenizer.
    """

    text: str
    ids: NDArray[np.integer]


@dataclass(frozen=True)
class TextQuality:
    """Figures of a set of texts.

    Attributes:
        num_texts: number of texts, including empty ones.
        num_empty: number of empty texts.
        num_tokens: total number of ids of the sampling model.
        entropy: mean over texts of the entropy of their tokens, nats, with its standard error.
        distinct: n -> different n-grams over n-grams of all texts.
        repeated: n -> mean over texts of one minus different n-grams over n-grams.
        bits: bits per token of the scorer; None without one.
    """

    num_texts: int
    num_empty: int
    num_tokens: int
    entropy: Rate
    distinct: Mapping[int, float]
    repeated: Mapping[int, float]
    bits: Rate | None

    @property
    def perplexity(self) -> float | None:
        """Generative perplexity per token of the scorer."""
        return None if self.bits is None else 2.0**self.bits.value

    @property
    def perplexity_error(self) -> float | None:
        """Its standard error, to first order."""
        if self.bits is None:
            return None
        return 2.0**self.bits.value * math.log(2.0) * self.bits.standard_error

    def to_json(self) -> dict[str, Any]:
        """Plain values; a figure that is not a number becomes null."""
        return {
            "num_texts": self.num_texts,
            "num_empty": self.num_empty,
            "num_tokens": self.num_tokens,
            "perplexity": _finite(self.perplexity),
            "perplexity_standard_error": _finite(self.perplexity_error),
            "scored_tokens": None if self.bits is None else self.bits.count,
            "entropy_nats": _finite(self.entropy.value),
            "entropy_standard_error": _finite(self.entropy.standard_error),
            "distinct": {str(n): _finite(value) for n, value in self.distinct.items()},
            "repeated": {str(n): _finite(value) for n, value in self.repeated.items()},
        }


def text_quality(
    samples: Sequence[TextSample],
    scorer: Scorer | None,
    marks: Sequence[str] = (),
    *,
    progress: Progress | None = None,
) -> TextQuality:
    """Perplexity, entropy and repetition of texts.

    Args:
        samples: the texts.
        scorer: causal model that reads them; None leaves perplexity out.
        marks: symbols of the begin or end of a document in the texts.
        progress: called with (texts scored, total texts).

    Raises:
        DataError: if there is no text, or no text has two tokens.
    """
    written = _not_empty(samples)
    rows = [sample.ids for sample in written if len(sample.ids)]
    if not rows:
        raise DataError("there is no text to evaluate; sample texts first")
    entropies = np.array([token_entropy(row) for row in rows])
    return TextQuality(
        num_texts=len(samples),
        num_empty=len(samples) - len(written),
        num_tokens=sum(map(len, rows)),
        entropy=clustered_rate(entropies, np.ones(len(rows), dtype=np.int64)),
        distinct={n: distinct_ngrams(rows, n) for n in NGRAMS},
        repeated={n: repeated_ngrams(rows, n) for n in NGRAMS},
        bits=None
        if scorer is None
        else generative_bits([sample.text for sample in written], scorer, marks, progress),
    )


def token_entropy(ids: NDArray[np.integer]) -> float:
    """Entropy of the token frequencies of one text, nats."""
    counts = np.unique(ids, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def distinct_ngrams(rows: Sequence[NDArray[np.integer]], n: int) -> float:
    """Different n-grams over n-grams of all rows; nan without n-grams."""
    counts = Counter(gram for row in rows for gram in _ngrams(row, n))
    return len(counts) / counts.total() if counts else math.nan


def repeated_ngrams(rows: Sequence[NDArray[np.integer]], n: int) -> float:
    """Mean over rows of one minus different n-grams over n-grams; nan without n-grams."""
    shares = [1.0 - len(set(grams)) / len(grams) for row in rows if (grams := _ngrams(row, n))]
    return float(np.mean(shares)) if shares else math.nan


def generative_bits(
    texts: Sequence[str],
    scorer: Scorer,
    marks: Sequence[str] = (),
    progress: Progress | None = None,
) -> Rate:
    """Bits per token of texts under a causal model, by the protocol of this module.

    Args:
        texts: the texts.
        scorer: causal model that reads them.
        marks: symbols of the begin or end of a document in the texts.
        progress: called with (texts scored, total texts).

    Raises:
        DataError: if the tokenizer of the scorer cannot represent a text, or no text has two
            tokens.
    """
    windows: list[tuple[int, NDArray[np.int64], NDArray[np.bool_]]] = []
    for number, text in enumerate(texts):
        ids, scored = retokenized(text, scorer.tokenizer, marks)
        scored[:1] = False
        for first, last, new in reading_windows(len(ids), scorer.context):
            fresh = scored[first:last].copy()
            fresh[: new - first] = False
            windows.append((number, ids[first:last], fresh))
    sums, counts = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
    pad_id, num_ids = scorer.tokenizer.vocabulary.pad_id, len(scorer.tokenizer.vocabulary)
    at_once = max(1, _NUMBERS_AT_ONCE // (num_ids * max([len(w[1]) for w in windows] or [1])))
    for start in range(0, len(windows), at_once):
        group = windows[start : start + at_once]
        nats = scorer.nats(*padded([ids for _, ids, _ in group], pad_id)).numpy()
        for (number, ids, fresh), row in zip(group, nats, strict=True):
            sums[number] += np.where(fresh, row[: len(ids)], 0.0).sum()
            counts[number] += fresh.sum()
        if progress is not None:
            progress(group[-1][0] + 1, len(texts))
    if not counts.any():
        raise DataError("no text has two tokens, so nothing can be scored; sample longer texts")
    return clustered_rate(sums / math.log(2.0), counts)


def retokenized(
    text: str, tokenizer: TextTokenizer, marks: Sequence[str] = ()
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ids of a text, and a mask that is False at end marks of documents."""
    pieces = [text]
    if marks:
        pieces = re.split("|".join(map(re.escape, marks)), text)
    ids: list[NDArray[np.int64]] = []
    scored: list[NDArray[np.bool_]] = []
    end = [] if tokenizer.end_id is None else [tokenizer.end_id]
    for number, piece in enumerate(pieces):
        if number:
            ids.append(np.array(end, dtype=np.int64))
            scored.append(np.zeros(len(end), dtype=bool))
        ids.append(tokenizer.encode(piece))
        scored.append(np.ones(len(ids[-1]), dtype=bool))
    return np.concatenate(ids), np.concatenate(scored)


def reading_windows(length: int, context: int) -> list[tuple[int, int, int]]:
    """Windows of a text as (first, last, first token that no earlier window contains)."""
    if length <= context:
        return [(0, length, 0)] if length else []
    step = max(1, context // 2)
    found = [(0, context, 0)]
    while found[-1][1] < length:
        last = min(found[-1][1] + step, length)
        found.append((last - context, last, found[-1][1]))
    return found


def text_states(
    samples: Sequence[TextSample], scorer: Scorer, marks: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Hidden state of the scorer at the last token of each text, cut to its context, for MAUVE.

    Empty texts are left out.
    """
    states = []
    for sample in _not_empty(samples):
        ids, _ = retokenized(sample.text, scorer.tokenizer, marks)
        if len(ids):
            tokens, present = padded([ids[: scorer.context]], scorer.tokenizer.vocabulary.pad_id)
            states.append(scorer.states(tokens, present)[0].numpy())
    return np.stack(states)


def _not_empty(samples: Sequence[TextSample]) -> list[TextSample]:
    return [sample for sample in samples if sample.text.strip()]


def _ngrams(row: NDArray[np.integer], n: int) -> list[tuple[int, ...]]:
    ids = row.tolist()
    return list(zip(*(ids[place:] for place in range(n)), strict=False))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
