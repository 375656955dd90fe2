"""The audit of a prediction task by the package seqleak, next to our own search for copies.

Source: the package seqleak (Tomar, Apache-2.0, doi 10.5281/zenodo.23605245). It is only called, and
its verdicts (PASS, WARN, FAIL) are those of its own thresholds.
"""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.labelled import LabelledSet, LabelledTask
from dnamdlm.data.tasks.leaks import Leaks
from dnamdlm.errors import ConfigError
from dnamdlm.tokens.vocabulary import Vocabulary

_PACKAGE = "seqleak"
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)
# the homology check needs other programs, and what it finds depends on which are installed.
_SKIPPED = ("overlap.homology",)
_PARTS = (("train", "train"), ("valid", "dev"), ("test", "test"))


@dataclass(frozen=True)
class SeqleakAudit:
    """What seqleak says of a task.

    Attributes:
        exact: a test row has a copy, or a reverse-complement copy, in train or valid (N,).
        containment: largest share of its 21-mers that one of their rows holds (N,), nan unknown.
        near_share: share that makes a near copy.
        verdict: PASS, WARN or FAIL, the worst of all checks.
        checks: name of a check -> its status, its value and its reason.
        version: of the package.
    """

    exact: NDArray[np.bool_]
    containment: NDArray[np.float64]
    near_share: float
    verdict: str
    checks: Mapping[str, Mapping[str, Any]]
    version: str

    @property
    def near(self) -> NDArray[np.bool_]:
        """Test rows that are near copies (N,)."""
        return np.nan_to_num(self.containment) >= self.near_share

    def compared(self, leaks: Leaks) -> dict[str, Any]:
        """The audit as JSON values, with the rows on which it agrees with ours.

        Args:
            leaks: our own search on the same rows.
        """
        own_exact = leaks.exact | leaks.reverse
        return {
            "package": f"{_PACKAGE} {self.version}",
            "verdict": self.verdict,
            "copies": {
                "exact_or_reverse": _agreement(own_exact, self.exact),
                "near": _agreement(leaks.near, self.near),
                "any": _agreement(leaks.any, self.exact | self.near),
            },
            "checks": {name: dict(check) for name, check in self.checks.items()},
        }


def check_seqleak() -> Any:
    """The audit of the package.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return importlib.import_module(f"{_PACKAGE}.audit")
    except ImportError as error:
        raise ConfigError(
            f"audit=seqleak needs the package seqleak ({error.name} is not installed); install it "
            "with pip install 'dnamdlm[audit]', or leave audit out"
        ) from error


def audit_task(
    task: LabelledTask, vocabulary: Vocabulary, *, share: float, seed: int = 0
) -> SeqleakAudit:
    """Give a task to seqleak; files are written to a temporary folder.

    Args:
        task: of DNA; of several labels or numbers of a row the first is what seqleak predicts by.
        vocabulary: of its sequences.
        share: share of 21-mers that makes a near copy in `SeqleakAudit.near`.
        seed: of its intervals.

    Raises:
        ConfigError: if the package is not installed, or the task is not one of DNA.
    """
    package = check_seqleak()
    if vocabulary.complement is None:
        raise ConfigError("audit=seqleak reads tasks of DNA, and this one is text; leave it out")
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, list[str]] = {}
        for ours, theirs in _PARTS:
            part: LabelledSet | None = getattr(task, ours)
            if part is not None:
                path = Path(folder) / f"{theirs}.csv"
                _write(path, part, _labels(task, part), vocabulary)
                files[theirs] = [str(path)]
        opened = package.load_task(
            **files,
            task_name=task.name,
            task_type="regression" if task.kind == "regression" else "classification",
        )
        report, items = package.run_audit(
            opened, skip=list(_SKIPPED), homology="off", seed=seed, quiet=True
        )
    tested = items[items["split"] == "test"]
    return SeqleakAudit(
        tested["exact_dup"].to_numpy(bool),
        tested["containment"].to_numpy(np.float64),
        share,
        report["verdict"]["status"],
        {
            name: {
                "status": check["status"],
                "value": _finite(check.get("value")),
                "reason": check.get("reason", ""),
            }
            for name, check in report["checks"].items()
        },
        importlib.metadata.version(_PACKAGE),
    )


def _write(path: Path, part: LabelledSet, labels: Sequence[str], vocabulary: Vocabulary) -> None:
    letters = _LETTERS[part.sequences.codes(vocabulary)].tobytes().decode("ascii")
    offsets = part.sequences.offsets
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file)
        writer.writerow(("sequence", "label"))
        for row, label in enumerate(labels):
            writer.writerow((letters[offsets[row] : offsets[row + 1]], label))


def _labels(task: LabelledTask, part: LabelledSet) -> list[str]:
    if task.kind == "classes":
        return [str(int(target)) for target in part.targets]
    return [f"{value:.9g}" for value in part.targets[:, 0].tolist()]


def _agreement(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> dict[str, int]:
    return {
        "both": int((ours & theirs).sum()),
        "ours_alone": int((ours & ~theirs).sum()),
        "seqleak_alone": int((~ours & theirs).sum()),
    }


def _finite(value: Any) -> float | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value)
