"""The nine tasks of GLUE as they are published: folders of tab-separated files.

The labels of the published test files are withheld, so the part `dev` is the test set here, and the
validation rows are drawn from `train`.

Source: Wang et al. 2019, "GLUE" (arXiv:1804.07461); metrics as in its table 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.delimited import read_delimited
from dnamdlm.data.tasks.labelled import (
    NUMBERS_ALLOWED,
    Kind,
    LabelledSet,
    LabelledTask,
    check_task,
    class_targets,
    measured_number,
)
from dnamdlm.data.tasks.sentences import Sentences, TextEncoder, chosen
from dnamdlm.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

_ENTAILED = ("entailment", "not_entailment")
_THREE = ("contradiction", "entailment", "neutral")
_TWO = ("0", "1")
_RAGGED = ("QQP", "STS-B")


@dataclass(frozen=True)
class GlueTask:
    """The format of the files of a task.

    Attributes:
        folder: its name as published.
        columns: of the sentences.
        label: column of the label.
        classes: labels in the order of their targets; empty for a regression.
        metric: what models are selected by and what is reported first.
        header: columns of files without a header line.
        dev: stem of the file to test on.
    """

    folder: str
    columns: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    metric: str = "accuracy"
    header: tuple[str, ...] | None = None
    dev: str = "dev"


_PAIR = ("sentence1", "sentence2")
GLUE: dict[str, GlueTask] = {
    "cola": GlueTask(
        "CoLA", ("sentence",), "label", _TWO, "mcc", ("source", "label", "mark", "sentence")
    ),
    "sst2": GlueTask("SST-2", ("sentence",), "label", _TWO),
    "mrpc": GlueTask("MRPC", ("#1 String", "#2 String"), "Quality", _TWO, "f1"),
    "stsb": GlueTask("STS-B", _PAIR, "score", (), "pearson"),
    "qqp": GlueTask("QQP", ("question1", "question2"), "is_duplicate", _TWO, "f1"),
    "mnli": GlueTask("MNLI", _PAIR, "gold_label", _THREE, dev="dev_matched"),
    "mnli_mismatched": GlueTask("MNLI", _PAIR, "gold_label", _THREE, dev="dev_mismatched"),
    "qnli": GlueTask("QNLI", ("question", "sentence"), "label", _ENTAILED),
    "rte": GlueTask("RTE", _PAIR, "label", _ENTAILED),
    "wnli": GlueTask("WNLI", _PAIR, "label", _TWO),
}
"""The tasks by their names for `task=`; MNLI has two test sets."""


@dataclass(frozen=True)
class Glue:
    """GLUE, `folder/TASK/{train,dev}.tsv`, for a model of text.

    Attributes:
        folder: holds one folder per task, such as `CoLA` and `SST-2`.
    """

    folder: str

    def open_text(self, task: str | None, encoder: TextEncoder) -> LabelledTask:
        """Read one task.

        Raises:
            ConfigError: if no task is named.
            DataError: for an unknown task, or files that are missing or not as published.
        """
        if task is None:
            raise ConfigError("task is not set; give it as task=NAME")
        if task not in GLUE:
            raise DataError(f"task={task} is unknown; choose one of {', '.join(GLUE)}")
        form = GLUE[task]
        kind: Kind = "classes" if form.classes else "regression"
        train, test = (
            _read(Path(self.folder) / form.folder / f"{stem}.tsv", form, encoder)
            for stem in ("train", form.dev)
        )
        names = form.classes or (form.label,)
        return check_task(
            LabelledTask(
                task, kind, names, train, test, metric=form.metric, text_columns=form.columns
            )
        )


def _read(path: Path, form: GlueTask, encoder: TextEncoder) -> LabelledSet:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; data.folder must hold GLUE as published, one folder per task "
            f"such as {form.folder}/{path.name}, from https://gluebenchmark.com/tasks"
        )
    # some lines of QQP and STS-B were published with fields missing or in excess.
    tolerant = form.folder in _RAGGED
    table = read_delimited(path, header=form.header, skip_ragged=tolerant)
    if table.left_out:
        logger.warning(
            "%s: %d lines with fields missing or in excess are left out", path, table.left_out
        )
    *sentences, labels = chosen(table.columns, (*form.columns, form.label), path)
    texts: list[Sentences] = list(zip(*sentences, strict=True))
    names = [f"row_{row + 1}" for row in range(len(labels))]
    targets = (
        class_targets(form.classes, labels, str(path)) if form.classes else _scores(labels, path)
    )
    return LabelledSet(encoder.encode(names, texts, str(path)), targets, texts=tuple(texts))


def _scores(labels: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Numbers of a regression, shape (N, 1)."""
    scores = np.zeros((len(labels), 1))
    for row, text in enumerate(labels):
        number = measured_number(text)
        if number is None:
            raise DataError(
                f"{path}: row {row + 1} has the label {text!r}, where {NUMBERS_ALLOWED} is "
                "needed; download the file again"
            )
        scores[row] = number
    return scores
