"""What the card of this machine does with dnamdlm: right, fast, and with the same bits again.

    python -m benchmarks.gpu [--only PART] [--smoke]

Needs a CUDA GPU, no network, and about ten minutes. Each part runs in a process of its own with a
time limit, so that one that fails or hangs leaves the others; its rows then say why. The table is
stored as Markdown and JSON. Exit code 0 if every part passed, 1 if one failed, 2 without a GPU.
`--smoke` walks through all parts on the CPU at tiny sizes, and stores nothing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

import torch

from benchmarks.gpu_parts import PARTS
from benchmarks.results_table import Cell, ResultTable, finish

COLUMNS = ("part", "what", "figure", "unit", "remark")
LAST_LINES = 3


def run_part(name: str, *, smoke: bool) -> list[tuple[Cell, ...]]:
    """The rows of a part; the last one has the reason where it fails."""
    command = [sys.executable, "-m", "benchmarks.gpu_parts", name, *(["--smoke"] if smoke else [])]
    limit = PARTS[name].seconds
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired as over:
        said = over.stdout.decode() if isinstance(over.stdout, bytes) else over.stdout or ""
        return [*_rows(name, said), (name, "failed", None, "", f"not finished within {limit} s")]
    rows = _rows(name, done.stdout)
    if done.returncode == 0 and rows:
        return rows
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()][-LAST_LINES:]
    reason = " / ".join(said).replace("|", "/") or f"exit code {done.returncode}"
    return [*rows, (name, "failed", None, "", reason)]


def _rows(name: str, said: str) -> list[tuple[Cell, ...]]:
    """The complete rows that a part has printed."""
    lines = [line for line in said.splitlines() if line.startswith("[") and line.endswith("]")]
    return [(name, *json.loads(line)) for line in lines]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, print and store the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=sorted(PARTS), help="this part alone; nothing is stored")
    parser.add_argument("--smoke", action="store_true", help="on the CPU, at tiny sizes")
    chosen = parser.parse_args(arguments)
    if not chosen.smoke and not torch.cuda.is_available():
        print(
            f"torch {torch.__version__} finds no CUDA GPU here; run this on a machine with one, "
            "or walk through the parts on the CPU with --smoke",
            file=sys.stderr,
        )
        return 2
    rows: list[tuple[Cell, ...]] = []
    for name in [chosen.only] if chosen.only else PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += run_part(name, smoke=chosen.smoke)
    failed = sorted({str(row[0]) for row in rows if row[1] == "failed"})
    table = ResultTable(
        "gpu",
        "What this card does",
        COLUMNS,
        rows,
        (
            "parity: largest difference from float64, relative to the largest entry of each tensor",
            "ceiling: bfloat16 product of square matrices in the same process; model FLOPs: 6 per "
            "weight and use of a matrix, 27 per channel and state of a scan, 12 L D per block of "
            "attention, forward and backward",
            f"failed parts: {', '.join(failed) or 'none'}",
        ),
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    finish(table, smoke=chosen.smoke or chosen.only is not None, device=device)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
