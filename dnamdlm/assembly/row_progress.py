"""How far a command is that writes one table: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import sys
import time

_EVERY_SECONDS = {True: 0.5, False: 30.0}

logger = logging.getLogger(__name__)


class RowProgress:
    """Counts rows, and tells rate and time left."""

    def __init__(self, total: int, what: str) -> None:
        """Begin.

        Args:
            total: rows to come.
            what: a plural, such as `variants`.
        """
        self.total, self.what = total, what
        self.done = 0
        self.on_terminal = sys.stderr.isatty()
        self.began = self.told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def add(self, number: int) -> None:
        """Count rows that are done."""
        self.done += number
        now = time.monotonic()
        if now - self.told < _EVERY_SECONDS[self.on_terminal] and self.done < self.total:
            return
        self.told = now
        rate = self.done / max(now - self.began, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        text = f"{self.done:,}/{self.total:,} {self.what}, {rate:,.0f}/s, {left:,.0f} s left"
        if self.on_terminal:
            end = "\n" if self.done >= self.total else ""
            sys.stderr.write(f"\r  {text}   {end}")
            sys.stderr.flush()
        else:
            logger.info("%s", text)
