"""The CSV file of a run: one row per logged step, never two rows for the same step."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.data.data_source import Unit
from dnamdlm.data.files import complete_or_absent

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricNames:
    """Names of the columns of a run, which say the unit of the data and of the loss.

    Attributes:
        unit: what a position holds, a `base` of DNA or a `token` of text.
        scored: what the loss is divided by: the unit, or `label` for a classifier.
        more: further columns that validation fills.
    """

    unit: Unit = "base"
    scored: str = "base"
    more: tuple[str, ...] = ()

    @property
    def train(self) -> str:
        """Column of the training loss, in bits."""
        return f"train_bits_per_{self.scored}"

    @property
    def valid(self) -> str:
        """Column of the validation loss, in bits."""
        return f"valid_bits_per_{self.scored}"

    @property
    def total(self) -> str:
        """Column of the positions seen so far."""
        return f"{self.unit}s"

    @property
    def rate(self) -> str:
        """Column of the positions per second."""
        return f"{self.unit}s_per_second"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the file."""
        return (
            "step",
            self.total,
            "seconds",
            "learning_rate",
            self.train,
            self.valid,
            *self.more,
            self.rate,
            "gradient_norm",
            "skipped_updates",
        )


OF_BASES = MetricNames("base", "base")
OF_TOKENS = MetricNames("token", "token")
OF_LABELS = MetricNames("base", "label", ("valid_label_accuracy",))


def metric_names(unit: Unit, *, is_classifier: bool, path: Path) -> MetricNames:
    """Names of the metrics of a run.

    Runs on text of earlier versions have columns named for bases; such a file keeps its names.

    Args:
        unit: of the data.
        is_classifier: whether the model is trained on labels.
        path: the metrics file, which need not exist.
    """
    if is_classifier:
        return OF_LABELS
    names = OF_TOKENS if unit == "token" else OF_BASES
    return OF_BASES if read_columns(path) == OF_BASES.columns else names


class MetricsFile:
    """Appends rows to `metrics.csv`; on resume, rows after the resumed step are dropped.

    Args:
        path: the CSV file.
        resumed_step: optimizer steps already done; 0 starts a new file.
        columns: names in their order; rows may hold no others.
    """

    def __init__(
        self, path: Path, resumed_step: int, columns: tuple[str, ...] = OF_BASES.columns
    ) -> None:
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

    def complete(self, values: dict[str, float]) -> dict[str, float]:
        """Fill columns of the last row that stayed empty when a run was interrupted.

        Returns:
            The whole row.
        """
        rows = read_rows(self.path)
        rows[-1] |= {name: _text(value) for name, value in values.items()}
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
                # remove what an earlier attempt may have left half written.
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


def read_columns(path: Path) -> tuple[str, ...]:
    """Names in the header of a metrics file; none where it is absent."""
    if not path.is_file():
        return ()
    with path.open(encoding="ascii", newline="") as stream:
        return tuple(next(csv.reader(stream), ()))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics file without a half-written last line; none where it is absent."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="ascii")
    whole = text[: text.rfind("\n") + 1]
    return [
        row
        for row in csv.DictReader(io.StringIO(whole))
        if row.get("step") and None not in row.values()
    ]


def lacks_value(path: Path, step: int, column: str) -> bool:
    """Whether the last row of a metrics file is that of `step` and has nothing in `column`."""
    rows = read_rows(path)
    return bool(rows) and int(rows[-1]["step"]) == step and not rows[-1].get(column)


def _text(value: float) -> str:
    # nine digits give a 32-bit number back exactly.
    return str(value) if isinstance(value, int) else f"{value:.9g}"
