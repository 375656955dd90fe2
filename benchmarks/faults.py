"""Faults, and what becomes of them here and elsewhere; writes `benchmarks/faults.md`.

    python -m benchmarks.faults [--flips 300] [--fetches 1000000]

Tables: files of sequence, fetches by several workers, files of weights, training that is resumed in
the middle of a pass or with another rate, tables of labels, and a full disk. Packages that are not
installed are left out and named. What the suite `make faults` breaks beyond this cannot be run
elsewhere in the same way.
"""

import argparse
import os
import pickle
import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import fault_readers, fetches
from benchmarks.fault_outcomes import changed_rates, full_disks
from benchmarks.fault_tables import tables_read, weights_of_nan
from benchmarks.results_table import environment_of_run
from benchmarks.resumption import Recorder, resumption_rows
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import read_tensors, tensors_writer, verify_folder, write_folder
from dnamdlm.lm.published.import_mdlm import read_mdlm_checkpoint

TARGET = Path(__file__).with_name("faults.md")
DAMAGE_ERRORS = (
    OSError, ValueError, LookupError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError,
    SafetensorError,
)  # fmt: skip
WEIGHTS = "model.safetensors"
Row = tuple[str, ...]
# a note, the columns, and the rows of a table.
Section = tuple[str, Row, list[Row]]


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def read_ours(path: Path) -> dict[str, Tensor]:
    """Verify a folder, then read it."""
    verify_folder(path.parent)
    return read_tensors(path)


def flipped_bits(folder: Path, number: int) -> list[Row]:
    """Of `number` flips of one bit: how many are refused, harmless, or read as other numbers."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"layer{index}.weight": torch.randn(64, 64, generator=generator) for index in range(4)
    }
    ours = write_folder(folder / "ours", {WEIGHTS: tensors_writer(tensors)}) / WEIGHTS
    plain, archive = folder / "plain.safetensors", folder / "weights.pt"
    save_file(tensors, plain)
    torch.save(tensors, archive)
    readers: dict[str, tuple[Path, Callable[[Path], dict[str, Tensor]]]] = {
        "dnamdlm checkpoint": (ours, read_ours),
        "safetensors": (plain, load_file),
        "torch.load, weights_only": (archive, lambda path: torch.load(path, weights_only=True)),
    }
    rows: list[Row] = []
    for name, (path, read) in readers.items():
        content, choice = path.read_bytes(), random.Random(1)
        refused = harmless = 0
        for _ in range(number):
            bit = choice.randrange(8 * len(content))
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                found = read(path)
            except (*DAMAGE_ERRORS, CheckpointError):
                refused += 1
                continue
            harmless += found.keys() == tensors.keys() and all(
                torch.equal(found[key], tensor) for key, tensor in tensors.items()
            )
        path.write_bytes(content)
        rows.append((name, f"{refused}", f"{harmless}", f"{number - refused - harmless}"))
    return rows


def foreign_code(folder: Path) -> list[Row]:
    """Whether opening a stranger's file runs what it holds."""
    path, marker = folder / "foreign.ckpt", folder / "ran"
    torch.save({"state_dict": {}, "hyper_parameters": Trap(marker)}, path)
    readers: dict[str, Callable[[Path], object]] = {
        "dnamdlm, import of MDLM weights": read_mdlm_checkpoint,
        "torch.load, as it is by default": torch.load,
        "Lightning, load_from_checkpoint": Recorder.load_from_checkpoint,
    }
    rows: list[Row] = []
    for name, read in readers.items():
        try:
            read(path)
            outcome = "opened"
        except (*DAMAGE_ERRORS, CheckpointError) as error:
            outcome = f"refused ({type(error).__name__})"
        rows.append((name, outcome, "**yes**" if marker.exists() else "no"))
        if marker.exists():
            marker.rmdir()
    return rows


def worker_fetches(folder: Path, number: int) -> list[Row]:
    """Fetches by forked and spawned processes and threads; see `benchmarks.fetches`."""
    fasta = next((Path(__file__).parents[1] / "dnamdlm/data/genome/embedded").glob("*.fa.gz"))
    found = fetches.count_all(fasta, folder / "cache", number)
    found |= fetches.count_beside(fasta, folder, number // 12)
    return [
        (name, f"{right + wrong + failed:,}", f"{wrong:,}", f"{failed:,}")
        for name, (right, wrong, failed) in found.items()
    ]


def lines_of(columns: Row, rows: list[Row]) -> list[str]:
    """A table in Markdown."""
    lines = [columns, ("---",) * len(columns), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def sections_of_files(folder: Path, flips: int, fetches: int) -> dict[str, Section]:
    """Readers of sequences and weights: files, fetches, flipped bits, foreign code."""
    return {
        "Files of sequence": (
            "`right`: the bases that any fair reading gives. A file without a fair reading "
            "should be refused.",
            *fault_readers.table(),
        ),
        "Fetches by four workers": (
            "The handle is opened before the workers start and shared by them, as a data set "
            "does that opens its file when it is made. The counts of pysam and pyfaidx change "
            "from run to run; handles opened by each worker were not tried.",
            ("reader, workers", "fetches", "wrong bases", "failed"),
            worker_fetches(folder, fetches),
        ),
        "One flipped bit in a file of weights": (
            f"{flips} files each, a random bit in each.",
            ("reader", "refused", "read, same numbers", "read, **other numbers**"),
            flipped_bits(folder, flips),
        ),
        "A stranger's checkpoint with code in it": (
            "A pickle that makes a folder when it is opened.",
            ("reader", "outcome", "code ran"),
            foreign_code(folder),
        ),
    }  # fmt: skip


def sections_of_runs(folder: Path) -> dict[str, Section]:
    """Training that resumes, weights that are not finite, tables, full disks."""
    return {
        "Training resumed in the middle of a pass": (
            "Two passes over 256 windows in batches of 4, compared with an unbroken run. The "
            "command here is killed with -9 in step 30 of 64 of the first pass and started "
            "again; Lightning is stopped after step 24. Both resume from the checkpoint of "
            "step 24, about which Lightning warns that the loader cannot be resumed.",
            ("trainer", "windows of the first pass seen twice", "never seen",
             "batches in the order of the unbroken run"),
            resumption_rows(folder),
        ),
        "Training resumed with another learning rate": (
            "Begun with 0.001, stopped, and resumed with 0.1 in the settings: the rate at the "
            "last step.",
            ("trainer", "rate"),
            changed_rates(folder / "rates"),
        ),
        "Weights with a number that is NaN": (
            "One of twenty numbers.", ("reader", "outcome"), weights_of_nan(folder),
        ),
        "Tables as people have them": (
            "`right`: the sequences and labels that stand there. pandas is `read_csv` with the "
            "separator of the ending and its defaults. A file without a fair reading should be "
            "refused.",
            ("table", "dnamdlm", "pandas"),
            tables_read(folder),
        ),
        "A table for which the disk has no space": (
            "Written over an earlier file through a link, where no file may exceed 4 kB.",
            ("writer", "error", "what is there afterwards"),
            full_disks(folder),
        ),
    }  # fmt: skip


def main() -> None:
    """Break everything, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--fetches", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    missing = [name for name in fault_readers.READERS if name not in fault_readers.installed()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sections = sections_of_files(folder, arguments.flips, arguments.fetches)
        sections |= sections_of_runs(folder)
    lines = ["# Faults and what becomes of them", ""]
    for title, (note, columns, rows) in sections.items():
        lines += [f"## {title}", "", *([note, ""] if note else []), *lines_of(columns, rows), ""]
    if missing:
        lines += [f"Not installed, so not run: {', '.join(missing)}.", ""]
    lines += [
        "Fuzzing of the readers: `results/fuzzing_2026-11.md`. The suite that kills, fills disks",
        "and damages checkpoints: `make faults`.",
        "",
        *(f"- {name}: {value}" for name, value in environment_of_run().items() if value),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
