"""Undo the tokenization that text benchmarks were published with: one function per benchmark.

Models are trained on plain text, while these benchmarks come with spaces around punctuation, so
each is brought back to plain text before it is tokenized again; the rules follow what the
literature does with each benchmark. A name of `CLEANERS` and `VERSION` are part of the cache key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

VERSION = 2
"""Raise it when a cleaner changes what it returns."""

_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PAIRS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\([^)]*\)",
        r"\[[^\]]*\]",
        r"\{[^}]*\}",
        r'"[^"]*"',
        r"(?<!\w)'\s[^']*\s'(?!\w)",
    )
)
_BEFORE = re.compile(r"(?<! ) +([,.;:!?%])(?=\s|$|\")")
_CONTRACTED = re.compile(r" '(s|t|re|ve|ll|d|m)\b")
_POSSESSIVE = re.compile(r"\b(\w*s) ' (?=\S)")
_NEVER_POSSESSIVE = ("as", "does", "has", "his", "is", "its", "plus", "says", "this", "thus", "us",
                     "versus", "was", "yes")  # fmt: skip


def plain(text: str) -> str:
    """The text as it is."""
    return text


def text8(text: str) -> str:
    """Small letters and single spaces; digits are spelled out, everything else is a space."""
    text = re.sub(r"[0-9]", lambda match: f" {_NUMBER_WORDS[int(match[0])]} ", text.lower())
    return re.sub(r"[^a-z]+", " ", text).strip()


def wikitext(text: str) -> str:
    """WikiText: joins numbers and hyphens written as @-@ and @,@, punctuation, headings."""
    for sign in "-,.":
        text = text.replace(f" @{sign}@ ", sign)
    text = _apostrophes(text)
    text = _paired(_punctuated(text)).replace("\u00b0 ", "\u00b0")
    text = re.sub(r"= (?:= )+", lambda match: "=" * match[0].count("=") + " ", text)
    text = re.sub(r" (?:= )+=(?=\s|$)", lambda match: " " + "=" * match[0].count("="), text)
    return "\n".join(line.strip() for line in text.split("\n")).strip()


def ptb(text: str) -> str:
    """Penn Treebank: contractions, currency signs, fractions; N becomes 1 and <unk> becomes ?."""
    text = text.replace(" n't", "n't").replace("\\/", "/")
    text = _apostrophes(text)
    text = re.sub(r"(?<!\S)N(?!\S)", "1", text)
    text = re.sub(r"([$#]) (?=\d)", r"\1", text)
    return _paired(_punctuated(text)).strip().replace("<unk>", "?")


def lm1b(text: str) -> str:
    """One Billion Words: addresses, contractions, punctuation, currency signs."""
    text = re.sub(r"(https?) : / /\s*", r"\1://", text)
    text = re.sub(r" '(\w+)", r"'\1", text)
    text = _punctuated(text).replace(" / ", "/")
    text = re.sub(r"([$\u00a3]) (?=\d)", r"\1", text)
    return _paired(text).strip()


def lambada(text: str) -> str:
    """LAMBADA: typographic quotation marks become plain ones; a line break stands before it."""
    for odd, even in (("\u201c", '"'), ("\u201d", '"'), ("\u2018", "'"), ("\u2019", "'")):
        text = text.replace(odd, even)
    text = text.replace("''", '"').replace("``", '"').strip()
    return f"\n{text}" if text else text


def scientific_papers(text: str) -> str:
    """PubMed and arXiv: spaces around punctuation, as WikiText and One Billion Words."""
    return lm1b(wikitext(text))


CLEANERS: Mapping[str, Callable[[str], str]] = {
    function.__name__: function
    for function in (plain, text8, wikitext, ptb, lm1b, lambada, scientific_papers)
}
"""Cleaners by name."""


def _punctuated(text: str) -> str:
    return _BEFORE.sub(r"\1", text)


def _apostrophes(text: str) -> str:
    """Contractions, and plurals that own something; other words before a lone ' begin a quote."""
    text = _CONTRACTED.sub(r"'\1", text).replace(" ' n ' ", " 'n' ")
    return _POSSESSIVE.sub(
        lambda match: match[0] if match[1].lower() in _NEVER_POSSESSIVE else f"{match[1]}' ", text
    )


def _paired(text: str) -> str:
    """No spaces inside brackets and quotation marks."""
    for pattern in _PAIRS:
        text = pattern.sub(lambda pair: pair[0][0] + pair[0][1:-1].strip() + pair[0][-1], text)
    return text
