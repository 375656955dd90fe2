"""Subword tokenizers from plain files: bert-base-uncased, GPT-2, and any `tokenizer.json`.

A folder contains `tokenizer.json`, or `vocab.json` and `merges.txt` (byte-level BPE, as GPT-2), or
`vocab.txt` (uncased WordPiece, as BERT). Truncation and padding set in a file are switched off. A
vocabulary without a mask gets a new id for it, and one without padding (GPT-2) another, so that the
two never coincide. Padding, the mask and [unused...] ids are not real: they are neither masked nor
generated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.vocabulary import Vocabulary

FILES = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt")
"""Files of a tokenizer: the first, or the second and third, or the last."""

_MASKS = ("[MASK]", "<mask>", "<|mask|>")
_PADS = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>")
_BEGINS = ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>")
_ENDS = ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>")
_UNUSED = re.compile(r"\[unused\d+\]|<unused:\d+>")


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder contains the files of a tokenizer."""
    found = {name for name in FILES if (folder / name).is_file()}
    return bool(found & {"tokenizer.json", "vocab.txt"}) or {"vocab.json", "merges.txt"} <= found


class SubwordTokenizer:
    """A tokenizer of the `tokenizers` library with the roles that diffusion needs.

    Args:
        folder: folder of its files.
        name: name of the tokenizer; None takes that of the folder.

    Raises:
        ConfigError: if the package `tokenizers` is missing.
        DataError: if the files are missing or damaged.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.name = folder.name if name is None else name
        self._tokenizer: Any = _read(folder)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        # text that looks like a special token is ordinary text.
        self._tokenizer.encode_special_tokens = True
        known: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        mask = _first(_MASKS, known) or _MASKS[0]
        pad = _first(_PADS, known) or _PADS[0]
        self._tokenizer.add_special_tokens([mask])
        self._tokenizer.add_special_tokens([pad])
        known = self._tokenizer.get_vocab(with_added_tokens=True)
        self.begin_id: int | None = known.get(_first(_BEGINS, known) or "")
        self.end_id: int | None = known.get(_first(_ENDS, known) or "")
        symbols = [f"<unused:{id_}>" for id_ in range(max(known.values()) + 1)]
        for symbol, id_ in known.items():
            symbols[id_] = symbol
        no_data = {known[mask], known[pad]}
        self._vocabulary = Vocabulary(
            symbols=tuple(symbols),
            mask_id=known[mask],
            pad_id=known[pad],
            real_ids=tuple(
                id_
                for id_, symbol in enumerate(symbols)
                if id_ not in no_data and not _UNUSED.fullmatch(symbol)
            ),
        )
        self._is_real = self._vocabulary.real_tokens()

    @property
    def vocabulary(self) -> Vocabulary:
        """All ids of the files, with a mask and padding added if missing."""
        return self._vocabulary

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids of a text, without marks around it."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Ids of several texts.

        Raises:
            DataError: if a text cannot be represented.
        """
        try:
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            raise DataError(
                "a text has half of a surrogate pair, which UTF-8 cannot encode; remove it"
            ) from error
        rows = [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
        for ids in rows:
            if not self._is_real[ids].all():
                odd = self._vocabulary.symbols[int(ids[~self._is_real[ids]][0])]
                raise DataError(f"tokenizer {self.name} turns text into {odd}, not a real token")
        return rows

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """Text of ids without padding; marks and masks are written as their symbols."""
        kept = [int(id_) for id_ in ids if id_ != self._vocabulary.pad_id]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False))

    def files(self) -> Mapping[str, bytes]:
        """One `tokenizer.json`."""
        return {FILES[0]: self._tokenizer.to_str().encode("utf-8")}


def _read(folder: Path) -> Any:
    try:
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers
    except ImportError as error:
        raise ConfigError(
            f"the tokenizer of {folder} needs the package tokenizers, which is not installed; "
            "install it with pip install 'dnamdlm[text]', or use tokenizer=bytes"
        ) from error
    if not has_tokenizer(folder):
        raise DataError(
            f"{folder} has no tokenizer; it needs tokenizer.json, vocab.json with merges.txt, or "
            "vocab.txt"
        )
    with OneSentence(folder):
        if (folder / FILES[0]).is_file():
            return tokenizers.Tokenizer.from_file(str(folder / FILES[0]))
        if (folder / "vocab.json").is_file():
            paths = (str(folder / "vocab.json"), str(folder / "merges.txt"))
            tokenizer = tokenizers.Tokenizer(models.BPE(*models.BPE.read_file(*paths)))
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
            tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
            return tokenizer
        vocabulary = models.WordPiece.read_file(str(folder / "vocab.txt"))
        model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
        tokenizer = tokenizers.Tokenizer(model)
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)  # pyright: ignore[reportAttributeAccessIssue]
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
        tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # pyright: ignore[reportAttributeAccessIssue]
        return tokenizer
    return None


class OneSentence:
    """Names the source if its files cannot be read; the library raises bare `Exception`s."""

    def __init__(self, source: object) -> None:
        self.source = source

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if kind is Exception or isinstance(error, OSError | UnicodeDecodeError):
            raise DataError(
                f"the tokenizer of {self.source} cannot be read ({error}); download its files again"
            ) from error


def _first(names: Sequence[str], known: Mapping[str, int]) -> str | None:
    return next((name for name in names if name in known), None)
