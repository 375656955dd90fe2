"""What a token id means: symbols, special ids, the ids a model may predict, and the complement.

Two vocabularies with the same fingerprint are interchangeable; a checkpoint or a token shard made
with another fingerprint is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.errors import ConfigError


@dataclass(frozen=True)
class Vocabulary:
    """An ordered set of symbols with the roles that diffusion needs.

    Attributes:
        symbols: one printable symbol per id, all different.
        mask_id: id of the mask token, the absorbing state of the diffusion.
        pad_id: id of padding, which differs from the mask.
        real_ids: ids that occur in data and that a model may predict, in increasing order.
        complement: id of the complementary symbol for each id, an involution; None for text.

    Raises:
        ConfigError: if the roles contradict each other.

    Example: the two letters of a binary sequence.
        >>> from dnamdlm.tokens import Vocabulary
        >>> binary = Vocabulary(("0", "1", ".", "_"), mask_id=2, pad_id=3, real_ids=(0, 1))
        >>> len(binary)
        4
        >>> binary.real_tokens()
        array([ True,  True, False, False])
    """

    symbols: tuple[str, ...]
    mask_id: int
    pad_id: int
    real_ids: tuple[int, ...]
    complement: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        size = len(self.symbols)
        if len(set(self.symbols)) != size:
            raise ConfigError("vocabulary.symbols contains a symbol twice; every id needs its own")
        for name, value in (("mask_id", self.mask_id), ("pad_id", self.pad_id)):
            if not 0 <= value < size:
                raise ConfigError(f"vocabulary.{name}={value} lies outside [0, {size})")
        if self.mask_id == self.pad_id:
            raise ConfigError(
                f"vocabulary.mask_id and vocabulary.pad_id are both {self.mask_id}; padding must "
                "not look like a masked token"
            )
        if not self.real_ids or list(self.real_ids) != sorted(set(self.real_ids)):
            raise ConfigError("vocabulary.real_ids must be a non-empty increasing list of ids")
        if self.real_ids[0] < 0 or self.real_ids[-1] >= size:
            raise ConfigError(f"vocabulary.real_ids must lie in [0, {size})")
        if self.mask_id in self.real_ids or self.pad_id in self.real_ids:
            raise ConfigError("vocabulary.real_ids must contain neither the mask nor the pad id")
        if self.complement is not None:
            self._check_complement(self.complement)

    def _check_complement(self, complement: tuple[int, ...]) -> None:
        size = len(self.symbols)
        if len(complement) != size or any(not 0 <= other < size for other in complement):
            raise ConfigError(f"vocabulary.complement must give one of {size} ids for each id")
        if any(complement[complement[token]] != token for token in range(size)):
            raise ConfigError(
                "vocabulary.complement is not an involution; complementing twice must give back "
                "every id"
            )
        if complement[self.mask_id] != self.mask_id or complement[self.pad_id] != self.pad_id:
            raise ConfigError("vocabulary.complement must keep the mask and the pad id")

    def __len__(self) -> int:
        return len(self.symbols)

    def real_tokens(self) -> NDArray[np.bool_]:
        """Which ids a model may predict, shape (V,)."""
        flags = np.zeros(len(self.symbols), dtype=np.bool_)
        flags[list(self.real_ids)] = True
        return flags

    def fingerprint(self) -> str:
        """SHA-256 (64 hexadecimal digits) of everything that gives an id its meaning."""
        content = json.dumps(
            [self.symbols, self.mask_id, self.pad_id, self.real_ids, self.complement],
            ensure_ascii=True,
            separators=(",", ":"),
        )
        return hashlib.sha256(content.encode("ascii")).hexdigest()
