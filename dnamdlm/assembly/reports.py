"""The report of a run, or of judged samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jinja2

from dnamdlm.assembly.building.field_types import check_fields
from dnamdlm.assembly.building.model_config import config_of_run
from dnamdlm.data.path_kinds import what_it_is
from dnamdlm.data.targets import clash
from dnamdlm.errors import ConfigError, DataError, DnamdlmError
from dnamdlm.reporting.other_reports import (
    is_finetuning,
    write_finetune_report,
    write_samples_report,
)
from dnamdlm.reporting.run_report import write_report
from dnamdlm.reporting.text_report import write_text_report


@dataclass(frozen=True)
class ReportSettings:
    """What is reported; the meaning of each field stands in `configs/report.yaml`."""

    run_dir: str | None = None
    evaluation: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.run_dir is None) == (self.evaluation is None):
            raise ConfigError(
                "a report is about one thing; give run_dir=FOLDER of a run, or "
                "evaluation=FILE.json of judged samples"
            )


def report(settings: ReportSettings) -> Path:
    """Write `report.html` into a run folder, or the page of an evaluation file next to it.

    Raises:
        DataError: if the folder holds no run, or that of a classifier.
    """
    if settings.evaluation is not None:
        path = Path(settings.evaluation)
        page = path.with_suffix(".html")
        if clash(page, [path]) is not None:
            raise ConfigError(
                f"evaluation={path} would be replaced by its own page, {page}; "
                "rename it so that it ends in .json"
            )
        with _content_of(path):
            return write_samples_report(path)
    run_dir = Path(str(settings.run_dir))
    if is_finetuning(run_dir):
        with _content_of(run_dir / "results.json"):
            return write_finetune_report(run_dir)
    if run_dir.exists() and (found := what_it_is("run_dir", run_dir, "run")) is not None:
        raise DataError(found)
    config = config_of_run(run_dir)
    if config is None:
        raise DataError(
            f"run_dir={run_dir} holds no run; train one first with "
            f"python -m dnamdlm.train config=NAME run_dir={run_dir}"
        )
    if config.is_classifier:
        raise DataError(
            f"run_dir={run_dir} holds a classifier or a regression of noisy sequences, for which "
            f"there is no report; its figures are in {run_dir / 'metrics.csv'}"
        )
    with _content_of(run_dir):
        return _WRITERS[config.modality.name if config.has_data else "dna"](run_dir)


@contextmanager
def _content_of(path: Path) -> Iterator[None]:
    """Say of a file whose content is not what dnamdlm wrote that this is so.

    Raises:
        DataError: in place of what the page meets in it.
    """
    try:
        yield
    except DnamdlmError:
        raise
    except _DAMAGE as error:
        raise DataError(
            f"{path}: the content is not what dnamdlm wrote; run the command that made it again"
        ) from error


# what a missing key, or a value of another kind, leads to in the making of a page.
_DAMAGE = (
    KeyError, IndexError, TypeError, AttributeError, ValueError, StopIteration, ZeroDivisionError,
    jinja2.UndefinedError,
)  # fmt: skip


_WRITERS: Mapping[str, Callable[[Path], Path]] = {"dna": write_report, "text": write_text_report}
