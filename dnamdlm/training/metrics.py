"""The CSV file of a run: one row per logged step, never two rows for the same step."""

from __future__ import annotations

import csv
import io
from pathlib import Path

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


class MetricsFile:
    """Appends rows to `metrics.csv`; on resume, rows after the resumed step are dropped.

    Args:
        path: the CSV file.
        resumed_step: optimizer steps already done; 0 starts a new file.
    """

    def __init__(self, path: Path, resumed_step: int) -> None:
        self.path = path
        rows = [row for row in read_rows(path) if int(row["step"]) <= resumed_step]
        self.seconds_before = float(rows[-1]["seconds"]) if rows else 0.0
        content = io.StringIO()
        writer = csv.DictWriter(content, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(content.getvalue(), encoding="ascii")
        partial.replace(path)

    def append(self, row: dict[str, float]) -> None:
        """Add one row; columns that were not measured stay empty."""
        with self.path.open("a", encoding="ascii", newline="") as stream:
            csv.DictWriter(stream, COLUMNS, lineterminator="\n").writerow(
                {name: _text(row[name]) if name in row else "" for name in COLUMNS}
            )


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


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
