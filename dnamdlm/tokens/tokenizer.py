"""The interface between text and token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dnamdlm.tokens.vocabulary import Vocabulary


class Tokenizer(Protocol):
    """Text to ids and back; `decode(encode(text))` is `text` in the tokenizer's normal form."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the ids."""
        ...

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids of `text`, shape (L,).

        Raises:
            DataError: if the text cannot be represented.
        """
        ...

    def decode(self, ids: Sequence[int] | NDArray[np.integer]) -> str:
        """Text of a sequence of ids."""
        ...
