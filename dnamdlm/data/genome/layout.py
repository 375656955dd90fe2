"""Whether a FASTA file is laid out evenly: one kind of line end, and lines of one length.

Random access by an index needs an even layout; the reader here does not, but an uneven file may
have lost or gained something, which its user should know.
"""

from __future__ import annotations

import numpy as np

# below that `bytes.count` is the faster one.
_LONG_BYTES = 1 << 10


def count_lines(segment: bytes, end: int | None = None) -> int:
    """Number of line ends before `end`; many times as fast as `bytes.count` on long segments."""
    if len(segment) < _LONG_BYTES:
        return segment.count(b"\n", 0, end)
    return int(np.count_nonzero(np.frombuffer(segment, dtype=np.uint8)[:end] == ord("\n")))


class LineLayout:
    """Watches the sequence lines of one record after the other.

    A record is even if all its lines but the last have the length of the first, and the last is
    not longer. Blank lines after the last base do not count.

    Attributes:
        uneven: line number where each uneven record shows it first, by record.
    """

    def __init__(self) -> None:
        self.uneven: dict[str, int] = {}
        self.begin("")

    def begin(self, name: str) -> None:
        """A new record."""
        self._name = name
        self._width = 0  # of the first line; 0 until its end is seen
        self._column = 0  # letters of the line that has not ended
        self._must_end = False  # a short or blank line has ended

    def add(self, segment: bytes, line: int) -> None:
        """More sequence of the record, which begins in line number `line`."""
        if self._name in self.uneven:
            return
        first_end = segment.find(b"\n")
        if not self._width and not self._must_end and first_end >= 0:
            self._width = self._column + first_end
        head_end = segment.rfind(b"\n", 0, len(segment) - 1) + 1
        num_lines = self._even_lines(segment, head_end)
        if num_lines:
            self._column = 0
            segment, line = segment[head_end:], line + num_lines
        *ended, rest = segment.split(b"\n")
        for number, letters in enumerate(ended, start=line):
            self._add_letters(letters, number)
            length, self._column = self._column, 0
            self._must_end = self._must_end or length < self._width or not length
        self._add_letters(rest, line + len(ended))

    def _even_lines(self, segment: bytes, end: int) -> int:
        """Number of lines before `end` if all are as long as the first of the record, else 0."""
        if not self._width or self._must_end or self._column > self._width:
            return 0
        first, step = self._width - self._column, self._width + 1
        places = segment[first:end:step]
        num_lines = count_lines(segment, end)
        is_even = places.count(b"\n") == len(places) == num_lines
        return num_lines if is_even and first + (num_lines - 1) * step + 1 == end else 0

    def _add_letters(self, letters: bytes, line: int) -> None:
        self._column += len(letters)
        is_longer = 0 < self._width < self._column
        if letters and (self._must_end or is_longer):
            self.uneven.setdefault(self._name, line)
