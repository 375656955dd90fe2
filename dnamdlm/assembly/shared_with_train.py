"""What a model card says where rows or windows of a test are in the training data as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnamdlm.data.json_files import read_json_file

# as finetune and train name them; their modules load far more than this one needs.
_RESULTS, _OVERLAP = "results.json", "overlap.json"


def shared_rows_of(split: Path) -> dict[str, int]:
    """Test rows of a fine-tuning run that its training rows give away.

    Args:
        split: folder of a split, `run_dir/splits/NAME`.

    Returns:
        `rows` of the test and `shared` of them; empty if none is, or the run has no results yet.
    """
    try:
        found = read_json_file(split.absolute().parents[1] / _RESULTS)["leaks"]
        rows, shared = int(found["rows"]), int(found["any"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {"rows": rows, "shared": shared} if shared else {}


def rows_sentence(shared: Mapping[str, int]) -> str:
    """A line of the card.

    >>> rows_sentence({"rows": 747, "shared": 345})  # doctest: +ELLIPSIS
    '345 of the 747 test rows have an exact, reverse-complement or near copy in the training ...'
    """
    return (
        f"{shared['shared']:,} of the {shared['rows']:,} test rows have an exact, "
        "reverse-complement or near copy in the training rows; figures of all test rows are too "
        "good, and those without these rows are the ones to compare"
    )


def windows_sentences(run_dir: Path | None) -> Iterator[str]:
    """Lines of the card for a run on genomes that stored a report of the overlap of its splits."""
    if run_dir is None or not (run_dir / _OVERLAP).is_file():
        return
    try:
        report = read_json_file(run_dir / _OVERLAP)
        reports = report.get("genomes", {"": report})
        pairs = [(name, pair) for name, part in reports.items() for pair in part["pairs"]]
        lines = [_windows_sentence(name, pair) for name, pair in pairs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    yield from filter(None, lines)


def _windows_sentence(name: str, pair: Mapping[str, Any]) -> str | None:
    counts = {
        "bases": pair["shared_bases"],
        "exact": pair["copies"],
        "reverse": pair["reverse_copies"],
        "near": pair["near_windows"],
    }
    if pair["split"] != "train" or not any(counts.values()):
        return None
    where = f" of {name}" if name else ""
    return (
        f"The {pair['held_out']} split{where} shares {counts['bases']:,} bases with the training "
        f"split; of its {pair['windows']:,} windows {counts['exact']:,} are exact copies, "
        f"{counts['reverse']:,} reverse-complement copies and {counts['near']:,} near copies"
    )
