"""The CSV file of a run: one row per logged step, never two rows for the same step."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.data.files import complete_or_absent

logger = logging.getLogger(__name__)

COLUMNS: tuple[str, ...] = (
    "step",
    "bases",
    "seconds",
    "learning_rate",
    "train_bits_per_base",
    "valid_bits_per_base",
    "bases_per_second",
    "gradient_norm",
    "skipped_updates",
)


@dataclass(frozen=True)
class Figures:
    """What the losses of a run are called, so that no column is taken for what it is not.

    Attributes:
        train: column of the training loss, in bits.
        valid: column of the validation loss, in bits.
        more: further columns that validation fills.
    """

    train: str = "train_bits_per_base"
    valid: str = "valid_bits_per_base"
    more: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the file."""
        names = {"train_bits_per_base": (self.train,),
                 "valid_bits_per_base": (self.valid, *self.more)}  # fmt: skip
        return tuple(name for column in COLUMNS for name in names.get(column, (column,)))


OF_BASES = Figures()
OF_LABELS = Figures("train_bits_per_label", "valid_bits_per_label", ("valid_label_accuracy",))


class MetricsFile:
    """Appends rows to `metrics.csv`; on resume, rows after the resumed step are dropped.

    Args:
        path: the CSV file.
        resumed_step: optimizer steps already done; 0 starts a new file.
        columns: names in their order; rows may hold no others.
    """

    def __init__(self, path: Path, resumed_step: int, columns: tuple[str, ...] = COLUMNS) -> None:
        self.path = path
        self.columns = columns
        rows = [row for row in read_rows(path) if int(row["step"]) <= resumed_step]
        self.seconds_before = float(rows[-1]["seconds"]) if rows else 0.0
        self._waiting = ""
        self._bytes = 0
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        content = io.StringIO()
        writer = csv.DictWriter(content, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with complete_or_absent(self.path) as partial:
            partial.write_text(content.getvalue(), encoding="ascii")
        self._bytes = self.path.stat().st_size

    def complete(self, figures: dict[str, float]) -> dict[str, float]:
        """Fill columns of the last row that stayed empty when a run was interrupted.

        Returns:
            The whole row.
        """
        rows = read_rows(self.path)
        rows[-1] |= {name: _text(value) for name, value in figures.items()}
        self._rewrite(rows)
        return {name: float(text) for name, text in rows[-1].items() if text}

    def append(self, row: dict[str, float]) -> None:
        """Add one row; columns that were not measured stay empty.

        Where the disk refuses, a full one for example, the row waits for the next call.
        """
        content = io.StringIO()
        csv.DictWriter(content, self.columns, lineterminator="\n").writerow(
            {name: _text(row[name]) if name in row else "" for name in self.columns}
        )
        text = self._waiting + content.getvalue()
        try:
            with self.path.open("r+", encoding="ascii", newline="") as stream:
                # what an earlier attempt may have left half written goes first.
                stream.truncate(self._bytes)
                stream.seek(self._bytes)
                stream.write(text)
        except OSError as error:
            if not self._waiting:
                logger.error("%s cannot be written (%s); its rows wait", self.path, error.strerror)
            self._waiting = text
        else:
            self._bytes += len(text)
            self._waiting = ""


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics file, cut off at a half-written last line; none where it is absent."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="ascii")
    whole = text[: text.rfind("\n") + 1]
    return [
        row
        for row in csv.DictReader(io.StringIO(whole))
        if row.get("step") and None not in row.values()
    ]


def lacks_figures(path: Path, step: int, column: str) -> bool:
    """Whether the last row of a metrics file is that of `step` and has nothing in `column`."""
    rows = read_rows(path)
    return bool(rows) and int(rows[-1]["step"]) == step and not rows[-1].get(column)


def _text(value: float) -> str:
    # nine digits give a 32-bit number back exactly.
    return str(value) if isinstance(value, int) else f"{value:.9g}"
