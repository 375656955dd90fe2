"""Mutation tests: `make mutants`, or `python -m tests.mutants.run_mutants --workers 2`.

`mutants.toml` lists one-line faults of the mathematics and of the data path, each with the tests
that must notice it. This script copies the sources to a temporary folder, runs all named tests
there once, then applies one fault at a time and runs its tests, with one thread and without the
reference data. A fault that no named test notices has survived, and the script fails. It also fails
if a row does not fit the sources, or if the tests fail without a fault.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.toml")
FOLDERS = ("dnamdlm", "data_prep", "benchmarks", "configs", "tests")
KEYS = {"fault", "file", "old", "new", "tests"}
OPTIONAL_KEYS = {"on_import", "equivalent"}
# far above what the tests of one row take, and still an end for a fault that loops forever
SECONDS = 900
# exit codes of pytest
ALL_PASSED, SOME_FAILED, INTERRUPTED = 0, 1, 2


@dataclass(frozen=True)
class Mutant:
    """One row of the list.

    Attributes:
        fault: what the change breaks, in words.
        file: the source file, from the top of the checkout.
        old: a fragment of one line that stands in the file exactly once.
        new: what replaces it.
        tests: files or node ids of pytest, of which at least one test must fail.
        on_import: the tests must fail because the changed module refuses to be imported.
        equivalent: why no test can notice the change; such a row is listed and not run.
    """

    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    on_import: bool = False
    equivalent: str | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}"

    def applied(self, source: str) -> str:
        """The source with the fault."""
        return source.replace(self.old, self.new)

    def misfit(self, root: Path) -> str | None:
        """Why the row does not fit the sources below `root`; None if it does."""
        path = root / self.file
        if not path.is_file():
            return f"{self}: there is no such file"
        source = path.read_text(encoding="utf-8")
        if (count := source.count(self.old)) != 1:
            return f"{self}: {self.old!r} occurs {count} times, and once is needed"
        if "\n" in self.old + self.new or self.old == self.new:
            return f"{self}: old and new must be different fragments of one line"
        try:
            compile(self.applied(source), str(path), "exec")
        except SyntaxError as error:
            return f"{self}: the changed file does not compile ({error})"
        if not self.tests and self.equivalent is None:
            return f"{self}: no tests are named"
        absent = [test for test in self.tests if not (root / test.partition("::")[0]).is_file()]
        return f"{self}: there is no {', '.join(absent)}" if absent else None


def read_list(path: Path = LIST) -> list[Mutant]:
    """The rows of a list of mutants.

    Raises:
        ValueError: for a row with a missing or an unknown key.
    """
    mutants = []
    for row in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]:
        if row.keys() - OPTIONAL_KEYS != KEYS:
            raise ValueError(f"{path.name}: a row has the keys {sorted(row)}, not {sorted(KEYS)}")
        mutants.append(Mutant(**row | {"tests": tuple(row["tests"])}))
    return mutants


def misfits(mutants: list[Mutant], root: Path = ROOT) -> list[str]:
    """One sentence for each row that does not fit the sources, or that stands twice."""
    places = Counter((mutant.file, mutant.old, mutant.new) for mutant in mutants)
    twice = [f"{file}: {old!r} -> {new!r} is listed twice" for (file, old, new), count
             in places.items() if count > 1]  # fmt: skip
    return [reason for mutant in mutants if (reason := mutant.misfit(root))] + twice


def run_tests(
    copy: Path, tests: list[str], *options: str, seconds: float | None = None
) -> tuple[int, str]:
    """Exit code and output of pytest in a copy of the sources, at most `seconds` long."""
    environment = os.environ | {
        "CI": "true",  # hypothesis draws the same examples each time
        "DNAMDLM_CACHE_DIR": str(copy / "cache"),
        "DNAMDLM_SHARED": str(copy / "no-reference-data"),
        "HF_HUB_OFFLINE": "1",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(copy),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-m", "not slow and not faults", *options, *tests]
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def verdict_on(mutant: Mutant, copy: Path) -> tuple[str, str]:
    """Whether the tests notice the fault, and their output."""
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    _write(path, mutant.applied(source))
    try:
        code, output = run_tests(copy, list(mutant.tests), seconds=SECONDS)
    except subprocess.TimeoutExpired:
        return "BROKEN", f"the tests did not end within {SECONDS} s; choose a fault that ends"
    finally:
        _write(path, source)
    noticed = INTERRUPTED if mutant.on_import else SOME_FAILED
    return {ALL_PASSED: "SURVIVED", noticed: "killed"}.get(code, "BROKEN"), output


def _write(path: Path, source: str) -> None:
    """Change a file and forget its bytecode, which may be as old and as long as the new one."""
    path.write_text(source, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def copy_sources(target: Path) -> Path:
    """Copy what the tests need from the checkout."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("*_cache"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, target)
    return target


def run_all(mutants: list[Mutant], workers: int, folder: Path) -> Counter[str]:
    """Apply every mutant, print one line for each, and count the verdicts."""
    first = copy_sources(folder / "0")
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    print(f"running the tests of {len(tests)} names without a fault")
    code, output = run_tests(first, tests, "-n", str(workers))
    if code != ALL_PASSED:
        print(output, "\nthe tests fail without a fault; fix them first")
        return Counter(BROKEN=1)
    copies: queue.Queue[Path] = queue.Queue()
    copies.put(first)
    for number in range(1, workers):
        copies.put(shutil.copytree(first, folder / str(number)))

    def run_one(mutant: Mutant) -> tuple[str, str, float]:
        copy, started = copies.get(), time.monotonic()
        try:
            return *verdict_on(mutant, copy), time.monotonic() - started
        finally:
            copies.put(copy)

    verdicts: Counter[str] = Counter()
    with ThreadPoolExecutor(workers) as pool:
        jobs = {pool.submit(run_one, mutant): mutant for mutant in mutants}
        for job in as_completed(jobs):
            verdict, output, seconds = job.result()
            verdicts[verdict] += 1
            mutant = jobs[job]
            print(f"{verdicts.total():4d}/{len(mutants)} {verdict:8} {seconds:5.1f} s  {mutant}")
            if verdict != "killed":
                print(f"       {mutant.old!r} -> {mutant.new!r}, {', '.join(mutant.tests)}")
            if verdict == "BROKEN":
                print(output)
    return verdicts


def main() -> int:
    """Read the list, run it and say what survived; 0 if every mutant was killed."""
    sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser(description="Run the mutation tests.")
    parser.add_argument("--workers", type=int, default=2, help="processes at once (2)")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT",
        help="rows whose file or fault contains one of these texts",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only check that the rows fit")
    arguments = parser.parse_args()
    started = time.monotonic()
    every = read_list()
    if reasons := misfits(every):
        print(f"{len(reasons)} rows of {LIST.name} do not fit:", *reasons, sep="\n  ")
        return 1
    chosen = [mutant for mutant in every if any(text in str(mutant) for text in arguments.only)]
    to_run = [mutant for mutant in chosen if mutant.equivalent is None]
    for mutant in chosen:
        if mutant.equivalent is not None:
            print(f"not run: {mutant}; equivalent: {mutant.equivalent}")
    if not to_run:
        print(f"no row to run contains {' or '.join(arguments.only)}")
        return 1
    if arguments.check:
        print(f"{len(chosen)} rows fit")
        return 0
    with tempfile.TemporaryDirectory(prefix="dnamdlm-mutants-") as folder:
        verdicts = run_all(to_run, arguments.workers, Path(folder))
    print(
        f"{len(to_run)} mutants: {verdicts['killed']} killed, {verdicts['SURVIVED']} survived, "
        f"{verdicts['BROKEN']} broken; {len(chosen) - len(to_run)} equivalent and not run; "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if verdicts["killed"] == len(to_run) else 1


if __name__ == "__main__":
    sys.exit(main())
