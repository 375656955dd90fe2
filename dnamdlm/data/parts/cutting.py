"""How the batches of a command are cut into parts, and the parts among shards.

A batch is what is computed together, whoever computes it. Parts are consecutive batches, and shards
are consecutive parts, so that each reads one stretch of the input. Batches and parts are numbered
from 0, shards from 1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from dnamdlm.errors import ConfigError

_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Cut:
    """Batches cut into parts by count.

    Attributes:
        num_batches: how many there are.
        per_part: batches of a part; the last part may have fewer.

    >>> cut = Cut(num_batches=10, per_part=4)
    >>> cut.num_parts, [list(cut.batches(number)) for number in range(3)]
    (3, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
    """

    num_batches: int
    per_part: int

    @property
    def num_parts(self) -> int:
        """Number of parts; none without batches."""
        return math.ceil(self.num_batches / self.per_part)

    def batches(self, part: int) -> range:
        """Numbers of the batches of a part."""
        first = part * self.per_part
        return range(first, min(first + self.per_part, self.num_batches))


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the parts.

    Attributes:
        number: from 1.
        count: how many shards there are; 1 is the whole.

    >>> [list(Shard(k, 3).parts(8)) for k in (1, 2, 3)]
    [[0, 1], [2, 3, 4], [5, 6, 7]]
    """

    number: int = 1
    count: int = 1

    def parts(self, num_parts: int) -> range:
        """Numbers of its parts; none where there are fewer parts than shards."""
        ends = [place * num_parts // self.count for place in (self.number - 1, self.number)]
        return range(*ends)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str | None) -> Shard:
    """The shard that a setting names; the whole where it names none.

    Args:
        text: `k/n`, with k from 1 to n.

    Raises:
        ConfigError: for another text.

    >>> parse_shard("3/8")
    Shard(number=3, count=8)
    """
    if text is None:
        return Shard()
    found = _SHARD.fullmatch(text)
    if found is None:
        raise ConfigError(f"shard={text} is not a shard; write the third of eight as shard=3/8")
    number, count = map(int, found.groups())
    if not 1 <= number <= count:
        allowed = f"are numbered from 1/{count} to {count}/{count}" if count else "are at least 1"
        raise ConfigError(f"shard={text} does not exist; shards {allowed}")
    return Shard(number, count)
