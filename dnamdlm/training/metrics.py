"""The CSV file of a run: one row per logged step, never two rows for the same step."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.data.csv_rows import csv_rows
from dnamdlm.data.data_source import Unit
from dnamdlm.data.files import keep_aside, write_text
from dnamdlm.errors import DataError

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
OF_NUMBERS = MetricNames("base", "number", ("valid_explained_share",))


def metric_names(unit: Unit, *, kind: str, path: Path) -> MetricNames:
    """Names of the metrics of a run.

    Runs on text of earlier versions have columns named for bases; such a file keeps its names.

    Args:
        unit: of the data.
        kind: `classifier` or `regression` for a model of noisy sequences, else empty.
        path: the metrics file, which need not exist.
    """
    if kind:
        return OF_LABELS if kind == "classifier" else OF_NUMBERS
    names = OF_TOKENS if unit == "token" else OF_BASES
    return OF_BASES if read_columns(path) == OF_BASES.columns else names


class MetricsFile:
    """Appends rows to `metrics.csv`; on resume, rows after the resumed step are dropped.

    A file that cannot be read as a metrics file, or not in all its rows, is kept under another
    name, with a warning; so are rows never lost that someone has only stored in another form.

    Args:
        path: the CSV file.
        resumed_step: optimizer steps already done; 0 starts a new file.
        columns: names in their order; rows may hold no others.
        log_every: steps between rows, by which missing ones are noticed; None looks for none.

    Raises:
        DataError: if the file cannot be read or written.
    """

    def __init__(
        self,
        path: Path,
        resumed_step: int,
        columns: tuple[str, ...] = OF_BASES.columns,
        *,
        log_every: int | None = None,
    ) -> None:
        self.path = path
        self.columns = columns
        stored = _stored_rows(path, columns)
        if stored.fault is not None:
            aside = keep_aside(path)
            logger.warning("%s: %s; the file is kept as %s", path, stored.fault, aside.name)
        rows = [row for row in stored.rows if int(row["step"]) <= resumed_step]
        steps = [int(row["step"]) for row in rows]
        if log_every and (missing := _missing_steps(steps, resumed_step, log_every)):
            logger.warning(
                "%s has no rows of the steps %d to %d, which are done; figures made from it "
                "lack them",
                path, missing[0], missing[1],
            )  # fmt: skip
        self.seconds_before = float(rows[-1].get("seconds") or 0.0) if rows else 0.0
        self._waiting = ""
        self._bytes = 0
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        content = io.StringIO()
        writer = csv.DictWriter(content, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, content.getvalue())
        self._bytes = len(content.getvalue())

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


@dataclass(frozen=True)
class _StoredRows:
    """What a metrics file holds; `fault` says what in it cannot be read."""

    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    fault: str | None = None


def _stored_rows(path: Path, known: Collection[str] | None = None) -> _StoredRows:
    """Rows of a metrics file without a half-written last line; none where it is absent.

    Args:
        path: the file.
        known: the columns that it may have; None allows any.

    Raises:
        DataError: if the system does not give it.
    """
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return _StoredRows((), [])
    except UnicodeDecodeError:
        return _StoredRows((), [], "it is not plain text")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); check the file and its folder"
        ) from error
    # what a killed process was writing has no end of line.
    lines = text[: text.rfind("\n") + 1].splitlines()
    if not lines:
        is_begun = "step,".startswith(text[:5])
        return _StoredRows((), [], None if is_begun else "it holds no line of metrics")
    try:
        columns, *cells = csv_rows(lines, path)
    except DataError:
        return _StoredRows((), [], "it is no table")
    if "step" not in columns or not set(columns) <= set(columns if known is None else known):
        names = ",".join(columns)[:60]
        return _StoredRows((), [], f"its first line {names!r} does not name columns of metrics")
    rows = [dict(zip(columns, row, strict=False)) for row in cells if _is_row(row, columns)]
    fault = None
    if len(rows) < len(cells):
        number = next(i for i, row in enumerate(cells, start=2) if not _is_row(row, columns))
        fault = f"line {number} cannot be read"
    return _StoredRows(tuple(columns), rows, fault)


def _is_row(cells: Sequence[str], columns: Sequence[str]) -> bool:
    if len(cells) != len(columns) or not cells[list(columns).index("step")].isdigit():
        return False
    try:
        return all(math.isfinite(float(cell)) for cell in cells if cell)
    except ValueError:
        return False


def _missing_steps(
    steps: Sequence[int], resumed_step: int, log_every: int
) -> tuple[int, int] | None:
    """The first and last step without a row, at the end of the file or else its beginning."""
    last = resumed_step - resumed_step % log_every
    if last > (steps[-1] if steps else 0):
        return (steps[-1] + 1 if steps else 1), last
    # the interval may have been another one in earlier parts of the run.
    if len(steps) > 1 and steps[0] > max(log_every, steps[1] - steps[0]):
        return 1, steps[0] - 1
    return None


def read_columns(path: Path) -> tuple[str, ...]:
    """Names in the header of a metrics file; none where it is absent or not a metrics file."""
    return _stored_rows(path).columns


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics file that can be read; none where it is absent."""
    return _stored_rows(path).rows


def lacks_value(path: Path, step: int, column: str) -> bool:
    """Whether the last row of a metrics file is that of `step` and has nothing in `column`."""
    rows = read_rows(path)
    return bool(rows) and int(rows[-1]["step"]) == step and not rows[-1].get(column)


def _text(value: float) -> str:
    # nine digits give a 32-bit number back exactly.
    return str(value) if isinstance(value, int) else f"{value:.9g}"
