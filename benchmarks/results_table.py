"""One table of a benchmark: printed as Markdown and stored as Markdown and JSON.

A stored table says how it came about: command, commit, versions, device, threads and date. File
names are `<theme>_<hardware>_<yyyy-mm>.{md,json}`.
"""

import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dnamdlm.evaluation.resampling import Estimate

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "lightning", "pyfaidx", "pysam", "safetensors")

Cell = str | int | float | None


@dataclass(frozen=True)
class ResultTable:
    """What was measured.

    Attributes:
        theme: first part of the file name, such as `speed-training`.
        title: heading of the table.
        columns: column names, units included.
        rows: one tuple of cells per row; None is shown as `-`.
        notes: sentences below the table: what was counted, discarded or left out.
    """

    theme: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells for {len(self.columns)} columns")

    def markdown(self, environment: dict[str, Cell]) -> str:
        """The table with notes and environment."""
        lines = [f"# {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line([_shown(cell) for cell in row]) for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)]
        lines += [f"- {name}: {_shown(value)}" for name, value in environment.items()]
        return "\n".join(lines) + "\n"


def median_seconds(
    step: Callable[[], object],
    *,
    warm_up: int = 10,
    repeats: int = 5,
    wait: Callable[[], object] | None = None,
) -> float:
    """Median wall time of one call, in seconds.

    Args:
        step: what is timed.
        warm_up: calls that are made first and not counted.
        repeats: calls that are counted.
        wait: waits for the device after each call, such as `torch.cuda.synchronize`.
    """
    seconds: list[float] = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        step()
        if wait is not None:
            wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[warm_up:])


def environment_of_run(*, device: str | None = None, threads: int | None = None) -> dict[str, Cell]:
    """Command, commit, versions, device, threads and date of this process."""
    return {
        "command": " ".join(["python", *_module_or_script(), *map(portable, sys.argv[1:])]),
        "commit": _commit(),
        "versions": ", ".join([f"python {platform.python_version()}", *_versions()]),
        "device": device or processor_name(),
        "threads": threads,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def processor_name() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def store(
    table: ResultTable,
    *,
    device: str | None = None,
    threads: int | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Print the table and write it to `folder`; returns the path of the Markdown file."""
    environment = environment_of_run(device=device, threads=threads)
    text = table.markdown(environment)
    print(text)
    hardware = re.sub(r"[^a-z0-9]+", "-", str(environment["device"]).lower()).strip("-")
    if threads is not None and device is None:
        hardware = f"{hardware}-{threads}-threads"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.theme}_{hardware}_{datetime.now(UTC):%Y-%m}.md"
    path.write_text(text, encoding="utf-8")
    record = {
        "title": table.title,
        "columns": table.columns,
        "rows": table.rows,
        "notes": table.notes,
        "environment": environment,
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def finish(
    table: ResultTable, *, smoke: bool, device: str | None = None, threads: int | None = None
) -> None:
    """Store the table; of a smoke run print it without its environment, and store nothing."""
    if smoke:
        print(table.markdown({}))
    else:
        store(table, device=device, threads=threads)


def _line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def _shown(cell: Cell) -> str:
    """A cell as people read it: four digits for fractions (bits per base need one more)."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        if abs(cell) >= 1000:
            return f"{cell:,.0f}"
        return f"{cell:.5g}" if 1 <= abs(cell) < 10 else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def shown(value: Estimate, digits: int = 3) -> str:
    """A figure with its interval: `0.123 (0.100 to 0.200)`."""
    return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def mean_interval(reaches: Sequence[Sequence[float]]) -> str:
    """The mean of the lower ends and that of the upper ends of intervals.

    >>> mean_interval([[0.5, 0.6], [0.7, 0.9]])
    '0.600 to 0.750'
    """
    return " to ".join(f"{statistics.mean(ends):.3f}" for ends in zip(*reaches, strict=True))


def portable(argument: str) -> str:
    """An argument as it means something elsewhere: of an absolute path, the last name.

    What stands for several names, and what follows it, is kept.

    >>> portable("data.train=/tables/{task}/train.csv")
    'data.train={task}/train.csv'
    """
    name, equals, value = argument.rpartition("=")
    if not value.startswith("/"):
        return argument
    parts = Path(value).parts
    first = next((at for at, part in enumerate(parts) if "{" in part), len(parts) - 1)
    return f"{name}{equals}{Path(*parts[first:])}"


def _module_or_script() -> list[str]:
    """How this process was started: `-m module` or the script's path."""
    spec = sys.modules["__main__"].__spec__
    return ["-m", spec.name] if spec is not None else [sys.argv[0]]


def _versions() -> list[str]:
    """Names and versions of the packages that are installed."""
    found: list[str] = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def commit_of(checkout: Path) -> str:
    """The commit of a checkout, in short; `unknown` where it is none."""
    git = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False)
    return "unknown" if head.returncode else head.stdout.strip()


def _commit() -> str:
    """The checked-out commit, marked where tracked files differ from it."""
    folder = Path(__file__).parent
    head = commit_of(folder)
    if head == "unknown":
        return head
    git = ["git", "-C", str(folder)]
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head + (" with uncommitted changes" if changed.stdout.strip() else "")
