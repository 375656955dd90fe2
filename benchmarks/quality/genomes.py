"""The recipe `quick` on several genomes, compared with counts, in unique windows and in repeats.

    python -m benchmarks.quality.genomes NAME=FASTA [NAME=FASTA ...] [--runs FOLDER] [--smoke]

Each genome is trained with `config=quick data.fasta=FASTA` (1,300 steps of 32 windows of 256
bases), which holds out about a tenth each for validation and testing, and evaluated with
`mixture=copies`. A folder of runs is resumed, and what it has is not made again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import model_note
from dnamdlm.assembly.models import load_model

CLASSES = ("unique windows", "repeats", "all")


def evaluated(fasta: Path, run: Path, *, smoke: bool) -> dict[str, Any]:
    """The section "likelihood" of a run, which is trained and evaluated where it is not yet."""
    steps = ["trainer.max_steps=2", "trainer.valid_windows=2"] if smoke else []
    _command("train", "config=quick", f"data.fasta={fasta}", f"run_dir={run}", *steps)
    out = run / "evaluation/test.json"
    if not out.is_file():
        limit = ["limit=600"] if smoke else []
        _command("evaluate", f"model={run}", "split=test", "mixture=copies", *limit)
    return json.loads(out.read_text(encoding="utf-8"))["likelihood"]


def _command(entry: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"dnamdlm.{entry}", *arguments], check=True)


def rows_of(name: str, likelihood: Mapping[str, Any]) -> list[tuple[Cell, ...]]:
    """The network, the best Markov model of each class, the one with copies, and the mixture."""
    rows = {row["name"]: row for row in likelihood["rows"]}
    classes = rows["model"]["classes"]
    markov = [row for row in rows.values() if row["family"] == "markov"]
    best = {
        part: min(markov, key=lambda row, part=part: row["classes"][part]["bits_per_base"])
        for part in CLASSES
        if part in classes
    }
    every = classes["all"]["bases"]

    def cells(label: str, found: Mapping[str, Any]) -> tuple[Cell, ...]:
        figures: list[Cell] = []
        for part in CLASSES:
            figure = found[part]["classes"][part] if part in found else None
            figures += [None, None] if figure is None else [
                figure["bits_per_base"], figure["standard_error"]
            ]  # fmt: skip
        return (name, label, *figures)

    def whole(row: Mapping[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(best, row)

    share = classes.get("repeats", {"bases": 0})["bases"] / every
    orders = ", ".join(str(row["order"]) for row in best.values())
    copies = next(row for row in rows.values() if row["family"] == "copies")
    mixture = rows["mixture_markov"]
    return [
        cells(f"network ({every:,} bases, {share:.1%} in repeats)", whole(rows["model"])),
        cells(f"best Markov model of each column, of order {orders}", best),
        cells(copies["label"], whole(copies)),
        cells(f"network mixed with both, pi = {mixture['pi']:.3f}", whole(mixture)),
    ]


def main() -> None:
    """Train, evaluate, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("genomes", nargs="+", metavar="NAME=FASTA")
    parser.add_argument("--runs", type=Path, help="folder of the runs; none: a temporary one")
    parser.add_argument("--smoke", action="store_true", help="two steps each, print only")
    arguments = parser.parse_args()
    rows: list[tuple[Cell, ...]] = []
    models: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        runs = arguments.runs or Path(temporary)
        for text in arguments.genomes:
            name, _, fasta = text.partition("=")
            if not Path(fasta).is_file():
                parser.error(
                    f"{text!r} is not NAME=FASTA with a file; give for instance ecoli=x.fa"
                )
            likelihood = evaluated(Path(fasta).resolve(), runs / name, smoke=arguments.smoke)
            rows += rows_of(name, likelihood)
            models.append(f"{name}, {model_note(load_model(str(runs / name)))}")
    columns = [text for part in CLASSES for text in (part, "s.e.")]
    table = ResultTable(
        theme="quality-genomes",
        title="Bits per base of genomes of several kinds, recipe quick",
        columns=("genome", "model", *columns),
        rows=rows,
        notes=(
            "network and mixture: upper bounds, 4 draws; the others: exact; one seed",
            "repeats: windows with a 20-mer of the training split on either strand",
            "the best Markov model of a column is chosen on the tested windows themselves",
            *models,
        ),
    )
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
