"""What a path is that was given in place of another: a run, a part of one, prepared data, a file.

A message can then name what it is and where the right one lies, rather than what is missing in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from dnamdlm.data.json_files import read_json_file

RUN_FILES = (
    "config.yaml", "run.json", "metrics.csv", "overlap.json", "held_out.json", "report.html",
    "results.json", "results.tsv", ".lock", ".lock.soft", ".owner",
)  # fmt: skip
"""Files of a run folder that only the commands which make and continue the run may write."""
RUN_FOLDERS = ("checkpoints", "splits", "bad_batches", "report_data", "evaluation")
"""Folders of a run folder, likewise."""

Wanted = Literal["model", "head", "run", "corpus", "tokenizer"]
"""What a setting names: a language model, a fine-tuned run, a run of either kind, data of text."""

_MANIFEST, _MODEL = "manifest.json", "model.json"
# a checkpoint is the deepest of what lies in a run folder: run/checkpoints/step_1/file.
_DEPTH = 4
# a sweep of a sweep is as deep as anybody goes.
_SWEEP_DEPTH = 2
_MOST_ENTRIES = 1000


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, fine-tuned or not."""
    is_described = (folder / "config.yaml").is_file() and (folder / "checkpoints").is_dir()
    return is_described or (folder / "run.json").is_file()


def is_fine_tuned(folder: Path) -> bool:
    """Whether a folder is that of a run of `dnamdlm.finetune`."""
    return is_run(folder) and ((folder / "splits").is_dir() or (folder / "results.json").is_file())


def is_prepared(folder: Path) -> bool:
    """Whether a folder has the manifest of a checkpoint, a prepared genome or a prepared corpus."""
    return bool({"format", "format_version"} & _manifest(folder).keys())


def owner_of(path: Path) -> Path | None:
    """The run that a path is a part of, if there is one, named as the path was."""
    place = path.resolve()
    for folder in list(place.parents)[:_DEPTH]:
        first, *deeper = place.relative_to(folder).parts
        is_own = first in RUN_FOLDERS or (not deeper and first in RUN_FILES)
        if is_own and is_run(folder):
            return _as_given(path, place, folder)
    return None


def what_it_is(setting: str, path: Path, wanted: Wanted) -> str | None:
    """`SETTING=PATH is ...; do ...` for a path of the wrong kind; None for what is not known.

    Args:
        setting: name of the setting, as the user typed it.
        path: its value, which exists.
        wanted: what it should name.
    """
    found = _kind_and_remedy(setting, path, wanted)
    return None if found is None else f"{setting}={path} is {found[0]}; {found[1]}"


def _kind_and_remedy(setting: str, path: Path, wanted: Wanted) -> tuple[str, str] | None:
    if (owner := owner_of(path)) is not None:
        is_folder = path.name == "checkpoints"
        what = "the folder of all checkpoints of" if is_folder else "a part of"
        return f"{what} the run {owner}", _give(setting, owner, wanted)
    if path.is_file():
        return _of_file(setting, path, wanted)
    if is_run(path):
        return _of_run(setting, path, wanted)
    return _of_folder(setting, path, wanted)


def _of_file(setting: str, path: Path, wanted: Wanted) -> tuple[str, str]:
    folder = path.parent
    if (folder / _MODEL).is_file() and is_prepared(folder):
        return f"a file of the checkpoint {folder}", f"give {setting}={folder}"
    return "a file", f"give {_NAMES[wanted]} as {setting}=DIR"


def _of_folder(setting: str, path: Path, wanted: Wanted) -> tuple[str, str] | None:
    if (path / _MODEL).is_file():
        return "a checkpoint", f"give {_NAMES[wanted]}"
    if (found := _of_manifest(setting, path, wanted)) is not None:
        return found
    runs = list(_runs_in(path)) if wanted in ("model", "head", "run") else []
    if not runs:
        return None
    count = "a run" if len(runs) == 1 else f"{len(runs)} runs"
    return f"a folder that holds {count}", f"give one run, such as {setting}={runs[0]}"


def _give(setting: str, owner: Path, wanted: Wanted) -> str:
    """What to do with a run in place of its part."""
    found = _of_run(setting, owner, wanted)
    return f"give {setting}={owner}" if found is None else f"the run is {found[0]}, {found[1]}"


def _of_run(setting: str, run_dir: Path, wanted: Wanted) -> tuple[str, str] | None:
    is_head = is_fine_tuned(run_dir)
    if wanted == "run" or (wanted == "head" and is_head) or (wanted == "model" and not is_head):
        return None
    if wanted == "head":
        new = "python -m dnamdlm.finetune config=NAME"
        return (
            "a training run, which has no fine-tuned head",
            f"fine-tune it first with {new} model={run_dir} run_dir=NEW, then give {setting}=NEW",
        )
    if wanted != "model":
        return "a run", f"give {_NAMES[wanted]}"
    if setting == "guide":
        return "a fine-tuned run", "give the run folder of a classifier (lm=classifier)"
    base = _json(run_dir / "results.json").get("model")
    given = f"{setting}={base}" if isinstance(base, str) else f"the model as {setting}=DIR"
    use = f"use it with python -m dnamdlm.predict model={run_dir}"
    return "a fine-tuned run", f"{use}, or give {given}, from which it was trained"


def _of_manifest(setting: str, path: Path, wanted: Wanted) -> tuple[str, str] | None:
    manifest = _manifest(path)
    if manifest.get("format") == "dnamdlm.corpus":
        if wanted == "corpus":
            return None
        use = f"use it as data.corpus={path}"
        return "a prepared corpus of text", f"{use}, and give {_NAMES[wanted]} as {setting}=DIR"
    if {"format_version", "policy", "records"} <= manifest.keys():
        return "a prepared genome of the cache", f"give {_NAMES[wanted]} as {setting}=DIR"
    return None


_NAMES = {
    "model": "a run folder, a checkpoint folder or published weights",
    "head": "a run folder of dnamdlm.finetune",
    "run": "a run folder",
    "corpus": "a folder that data_prep.text prepared",
    "tokenizer": "the folder of a tokenizer",
}


def _runs_in(folder: Path, depth: int = _SWEEP_DEPTH) -> Iterator[Path]:
    """Runs in a folder, such as that of a sweep."""
    try:
        found = sorted(folder.iterdir())[:_MOST_ENTRIES]
    except OSError:
        return
    for path in found:
        if not path.is_dir() or path.name.startswith("."):
            continue
        if is_run(path):
            yield path
        elif depth > 1:
            yield from _runs_in(path, depth - 1)


def _as_given(path: Path, place: Path, folder: Path) -> Path:
    """A folder above a path, written as the path was."""
    levels = len(place.relative_to(folder).parts)
    shown = path
    for _ in range(levels):
        if shown.name in ("", ".."):
            return folder
        shown = shown.parent
    return shown if shown.resolve() == folder else folder


def _manifest(folder: Path) -> dict[str, Any]:
    return _json(folder / _MANIFEST)


def _json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping; anything else is empty."""
    try:
        content = read_json_file(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
