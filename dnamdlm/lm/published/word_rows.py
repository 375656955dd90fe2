"""Which row of a published network is which word of bases: vocabularies of all words of one length.

The Nucleotide Transformer has the 4^K words of K bases, A, C, G, T and N alone, and a few marks, in
an order of its own. Here the words come in the order of their bases, see `WordIds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

from dnamdlm.lm.published.letter_rows import vocabulary_of

_BASES, _FILE = "ACGT", "vocab.txt"
_LARGEST = 8
MASK, BEGIN = "<mask>", "<cls>"


def word_ids(folder: Path) -> dict[str, int] | None:
    """Id of each symbol of a folder with a tokenizer of words of one length.

    Args:
        folder: with `tokenizer.json`, or `vocab.txt`, whose lines are the symbols.

    Returns:
        None if the folder has no such tokenizer.
    """
    found = vocabulary_of(folder / "tokenizer.json") or _lines(folder / _FILE)
    size = word_size(found)
    if size is None:
        return None
    complete = set(ordered_words(size)) | {MASK, BEGIN} <= set(found)
    return found if complete else None


def word_size(ids: Mapping[str, int]) -> int | None:
    """Bases per word; None where there are words of several lengths, or none."""
    sizes = {len(word) for word in ids if len(word) > 1 and set(word) <= set(_BASES)}
    size = sizes.pop() if len(sizes) == 1 else 0
    return size if 1 < size <= _LARGEST else None


def ordered_words(size: int) -> list[str]:
    """Symbols of `WordIds` up to N, in the order of their ids.

    >>> words = ordered_words(2)
    >>> words[:5], words[16:]
    (['AA', 'AC', 'AG', 'AT', 'CA'], ['A', 'C', 'G', 'T', 'N'])
    """
    return ["".join(word) for word in product(_BASES, repeat=size)] + [*_BASES, "N"]


def _lines(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {line.strip(): number for number, line in enumerate(lines)}
