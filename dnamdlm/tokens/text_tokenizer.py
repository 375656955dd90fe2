"""Text to ids without a library: bytes, and the 27 characters of text8.

`TextTokenizer` is the interface of every tokenizer of text. Marks are the ids before and after a
document; no text ever becomes a mark, the mask or padding, not even the text "[MASK]".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import DataError
from dnamdlm.tokens.vocabulary import Vocabulary

TEXT8_LETTERS = "abcdefghijklmnopqrstuvwxyz "
_SPECIAL = ("[CLS]", "[SEP]", "[BOS]", "[EOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
_NUM_BYTES = 256


@runtime_checkable
class TextTokenizer(Protocol):
    """A tokenizer of text; `encode` adds no marks, `decode` writes a mask as [MASK]."""

    @property
    def name(self) -> str:
        """Name by which the tokenizer is chosen."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the ids."""
        ...

    @property
    def begin_id(self) -> int | None:
        """The mark before a document, or None."""
        ...

    @property
    def end_id(self) -> int | None:
        """The mark after a document, or None."""
        ...

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids of `text`, shape (L,).

        Raises:
            DataError: if the text cannot be represented.
        """
        ...

    def encode_all(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Ids of several texts."""
        ...

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """Text of ids, without padding."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """Files, by name, from which this tokenizer can be restored."""
        ...


_PROBES = (
    "the cat sat on the mat",
    "It's 12,345.67 (or so) -- they'll see; we'd say \"no\"!?",
    "  Two  spaces,\ttabs\nand lines\r\n\n",
    "Caf\u00e9 na\u00efve \u0130stanbul \u4e2d\u6587 \U0001f600 e\u0301",  # codespell:ignore
    "[MASK] [PAD] <unk> <|endoftext|> </s>",
    "antidisestablishmentarianism qzxv 0x1F https://example.org/a_b",
)


def tokenizer_fingerprint(tokenizer: TextTokenizer) -> str:
    """SHA-256 of the vocabulary, the marks and the ids of difficult sentences.

    It does not depend on how a version of a library writes its files.
    """
    parts: list[object] = [
        tokenizer.vocabulary.fingerprint(),
        tokenizer.begin_id,
        tokenizer.end_id,
    ]
    for probe in _PROBES:
        try:
            parts.append(tokenizer.encode(probe).tolist())
        except DataError:
            parts.append(None)
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


class CharacterTokenizer:
    """The 26 lower-case letters and the space, with the ids of the mdlm code: a is 8, space 34."""

    name = "text8"
    begin_id: int | None = None
    end_id: int | None = None

    def __init__(self) -> None:
        first = len(_SPECIAL)
        self._vocabulary = Vocabulary(
            symbols=(*_SPECIAL, *TEXT8_LETTERS),
            mask_id=_SPECIAL.index("[MASK]"),
            pad_id=_SPECIAL.index("[PAD]"),
            real_ids=tuple(range(first, first + len(TEXT8_LETTERS))),
        )
        self._ids = np.full(_NUM_BYTES, -1, dtype=np.int64)
        for id_, letter in enumerate(TEXT8_LETTERS, start=first):
            self._ids[ord(letter)] = id_

    @property
    def vocabulary(self) -> Vocabulary:
        """Eight special ids and 27 letters."""
        return self._vocabulary

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids of a text of a to z and spaces.

        Raises:
            DataError: if there is any other character, with its position (from 1).
        """
        # text8 is one text of 100 million characters: one byte per character if possible.
        narrow = text.isascii()
        codes = np.frombuffer(
            text.encode("ascii" if narrow else "utf-32-le"), dtype=np.uint8 if narrow else np.uint32
        )
        ids = np.where(codes < _NUM_BYTES, self._ids[np.minimum(codes, _NUM_BYTES - 1)], -1)
        if ids.size and ids.min() < 0:
            position = int(np.argmax(ids < 0))
            raise DataError(
                f"the text has {text[position]!r} at position {position + 1}, which is not a "
                "character of text8; use a to z and spaces, or prepare it with clean=text8"
            )
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Ids of several texts."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """Text of ids, without padding."""
        symbols, pad = self._vocabulary.symbols, self._vocabulary.pad_id
        return "".join(symbols[int(id_)] for id_ in ids if id_ != pad)

    def files(self) -> Mapping[str, bytes]:
        """No files: the name is enough."""
        return {}


class ByteTokenizer:
    """The id of a byte of UTF-8 is its value; 256 ends a document, 257 is the mask, 258 padding."""

    name = "bytes"
    begin_id: int | None = None
    end_id: int | None = _NUM_BYTES

    def __init__(self) -> None:
        symbols = tuple(f"<0x{byte:02X}>" for byte in range(_NUM_BYTES))
        self._vocabulary = Vocabulary(
            symbols=(*symbols, "[END]", "[MASK]", "[PAD]"),
            mask_id=_NUM_BYTES + 1,
            pad_id=_NUM_BYTES + 2,
            real_ids=tuple(range(_NUM_BYTES + 1)),
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """256 bytes, the end of a document, the mask and padding."""
        return self._vocabulary

    def encode(self, text: str) -> NDArray[np.int64]:
        """The bytes of a text.

        Raises:
            DataError: if there is half of a surrogate pair, which UTF-8 cannot encode.
        """
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"the text has half of a surrogate pair at position {error.start + 1}, which "
                "UTF-8 cannot encode; remove it"
            ) from error
        return np.frombuffer(raw, dtype=np.uint8).astype(np.int64)

    def encode_all(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Ids of several texts."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """Text of ids; bytes that are not UTF-8 become the replacement character."""
        raw = bytearray()
        for id_ in ids:
            if id_ < _NUM_BYTES:
                raw.append(int(id_))
            elif id_ != self._vocabulary.pad_id:
                raw += self._vocabulary.symbols[int(id_)].encode("ascii")
        return raw.decode("utf-8", errors="replace")

    def files(self) -> Mapping[str, bytes]:
        """No files: the name is enough."""
        return {}


BUILT_IN: Mapping[str, type[CharacterTokenizer] | type[ByteTokenizer]] = {
    "text8": CharacterTokenizer,
    "bytes": ByteTokenizer,
}
"""Tokenizers that need no file."""
