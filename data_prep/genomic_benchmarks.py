"""Bring Genomic Benchmarks from Zenodo: `python -m data_prep.genomic_benchmarks out=DIR`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data_prep.archives import ArchiveLimits, extract_archive
from data_prep.arguments import run_script
from data_prep.checksums import record
from data_prep.download import Limits, download
from dnamdlm.data.tasks.genomic_benchmarks import SUITE
from dnamdlm.errors import ConfigError, DataError

BASE_URL = "https://zenodo.org/api/records/16605299"
MAX_BYTES = 500_000_000
MAX_UNPACKED = 2_000_000_000
_MAX_RECORD_BYTES = 10_000_000
_PARTS = ("train", "test")
USAGE = f"""
python -m data_prep.genomic_benchmarks out=DIR [tasks=NAME,NAME] [base_url=URL]

Fetches the tasks of Genomic Benchmarks (Zenodo record 16605299), compares each archive with its
published MD5, and unpacks it to DIR/NAME/(train|test)/CLASS/ID.txt. A task that is there is kept.

  out       folder of the tasks
  tasks     names separated by commas (default all): {", ".join(SUITE)}
  base_url  address of the record (default {BASE_URL})
"""


def fetch_tasks(
    out: Path,
    tasks: Sequence[str],
    *,
    base_url: str = BASE_URL,
    limits: Limits | None = None,
) -> list[Path]:
    """Download and unpack tasks that are not there yet.

    Args:
        out: folder of the tasks.
        tasks: names.
        base_url: address of the record's JSON, with the archives below it.
        limits: size, tries and times.

    Returns:
        The folder of each task.

    Raises:
        ConfigError: for an unknown task.
        DataError: if a download fails, an archive is refused, or a task in it is not complete.
    """
    for task in tasks:
        if task not in SUITE:
            raise ConfigError(f"tasks={task} is unknown; choose from {', '.join(SUITE)}")
    limits = limits or Limits(max_bytes=MAX_BYTES)
    missing = [task for task in tasks if not (out / task).is_dir()]
    if missing:
        listing = out / ".record.json"
        download(base_url, listing, Limits(_MAX_RECORD_BYTES, limits.attempts, limits.pause))
        published = _published(listing)
        listing.unlink()
        for task in missing:
            _fetch_task(out, task, base_url, limits, published)
    return [out / task for task in tasks]


def _fetch_task(
    out: Path, task: str, base_url: str, limits: Limits, published: dict[str, str]
) -> None:
    name = f"{task}_v0.zip"
    if name not in published:
        raise DataError(f"{base_url}: the record has no file {name}; check base_url")
    archive = out / name
    digest = ("md5", published[name])
    download(f"{base_url}/files/{name}/content", archive, limits, digest=digest)
    # the place is only taken by a complete task.
    with tempfile.TemporaryDirectory(prefix=f".{task}.", dir=out) as scratch:
        unpacked = Path(scratch) / "task"
        size = ArchiveLimits(max_bytes=MAX_UNPACKED, max_members=1_000_000)
        extract_archive(archive, unpacked, size)
        folder = _task_folder(unpacked, task)
        shutil.move(folder, out / task)
    record(out, task, {"url": f"{base_url}/files/{name}/content", "md5": published[name]})
    archive.unlink()


def _published(listing: Path) -> dict[str, str]:
    """File name -> MD5, from the JSON of a Zenodo record."""
    try:
        files = json.loads(listing.read_text(encoding="utf-8"))["files"]
        found = {str(file["key"]): str(file["checksum"]) for file in files}
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{listing}: this is not a record of Zenodo with a list of files; check base_url"
        ) from error
    return {
        key: checksum.removeprefix("md5:")
        for key, checksum in found.items()
        if checksum.startswith("md5:")
    }


def _task_folder(unpacked: Path, task: str) -> Path:
    """The folder with train and test in an unpacked archive, at its top or one deeper."""
    for folder in (unpacked, *sorted(path for path in unpacked.iterdir() if path.is_dir())):
        if all((folder / part).is_dir() for part in _PARTS):
            classes = SUITE[task].classes
            if all((folder / part / name).is_dir() for part in _PARTS for name in classes):
                return folder
    raise DataError(
        f"the archive of {task} has no folders train and test with the classes "
        f"{', '.join(SUITE[task].classes)}; it is not the published one"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""

    def body(settings: dict[str, str]) -> str:
        tasks = [task for task in settings["tasks"].split(",") if task]
        out = Path(settings["out"])
        fetch_tasks(out, tasks, base_url=settings["base_url"].rstrip("/"))
        return (
            f"wrote {', '.join(tasks)} to {out}; next: python -m dnamdlm.finetune "
            f"config=genomic_benchmarks data.folder={out} task={tasks[0]} model=RUN run_dir=DIR"
        )

    defaults = {"out": None, "tasks": ",".join(SUITE), "base_url": BASE_URL}
    return run_script(body, usage=USAGE, defaults=defaults, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
