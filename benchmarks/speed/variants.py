"""Variants per second against the length of the window.

    python -m benchmarks.speed.variants --model RUN [--lengths 128 256 512 1024] [--variants 256]
        [--draws 4] [--threads N] [--smoke]

Exchanges of one base, and insertions of three, at random places of a random genome; the time of
reading files is not in it. A variant costs one window for llr, three for each draw of elbo (two for
an insertion), two for embedding, and twice that with both strands.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.results_table import Cell, ResultTable, finish, median_seconds
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.score.score_settings import Kind, ScoreSettings
from dnamdlm.assembly.score.scoring import VariantScorer
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.variants.variant_places import VariantCounts
from dnamdlm.data.variants.vcf import VariantFile

GENOME_BASES = 200_000
REPEATS = 5
KINDS: dict[str, tuple[tuple[Kind, ...], str]] = {
    "llr": (("llr",), ""),
    "elbo, one base": (("elbo",), ""),
    "elbo, insertion of 3": (("elbo",), "GAT"),
    "embedding": (("embedding",), ""),
}


def make_files(folder: Path, number: int, rng: np.random.Generator) -> tuple[GenomeStore, Path]:
    """A random genome, and a VCF file for each kind of change."""
    letters = rng.choice(list("ACGT"), GENOME_BASES)
    (folder / "g.fa").write_text(">a\n" + "".join(letters) + "\n")
    for added in ("", "GAT"):
        lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
        for place in rng.integers(0, GENOME_BASES, number):
            ref = str(letters[place])
            alt = ref + added if added else "ACGT"[("ACGT".index(ref) + 1) % 4]
            lines.append(f"a\t{place + 1}\t.\t{ref}\t{alt}\t.\t.\t.")
        (folder / f"v{added}.vcf").write_text("\n".join(lines) + "\n")
    return prepare_genome(folder / "g.fa", cache_dir=folder / "cache"), folder


def measured(
    loaded: LoadedModel,
    genome: GenomeStore,
    folder: Path,
    *,
    kind: str,
    length: int,
    options: tuple[int, int, int],
) -> float:
    """Variants per second."""
    number, draws, repeats = options
    scores, added = KINDS[kind]
    scorer = VariantScorer(loaded, genome, ScoreSettings(scores, length, draws))
    file, counts = VariantFile(folder / f"v{added}.vcf"), VariantCounts(rows=number)
    wait = torch.cuda.synchronize if scorer.device.type == "cuda" else None
    seconds = median_seconds(
        lambda: list(scorer.scored(file, counts)), warm_up=1, repeats=repeats, wait=wait
    )
    return number / seconds


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="Variants per second.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--variants", type=int, default=64)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smoke", action="store_true", help="one length, store nothing")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    loaded = load_model(arguments.model, device=arguments.device)
    network = type(loaded.lm.get_submodule("backbone")).__name__
    lengths = [64] if arguments.smoke else arguments.lengths
    options = (8, 1, 1) if arguments.smoke else (arguments.variants, arguments.draws, REPEATS)
    with tempfile.TemporaryDirectory() as name:
        genome, folder = make_files(Path(name), options[0], np.random.default_rng(0))
        rows: list[tuple[Cell, ...]] = [
            (
                kind,
                *(
                    measured(loaded, genome, folder, kind=kind, length=length, options=options)
                    for length in lengths
                ),
            )
            for kind in KINDS
        ]
    table = ResultTable(
        theme="speed-variants",
        title="Variants per second",
        columns=("score", *(f"window of {length}" for length in lengths)),
        rows=rows,
        notes=(
            f"both strands, {options[1]} draws for elbo, median of {options[2]} runs of "
            f"{options[0]} variants after one more",
            f"model: {loaded.num_parameters:,} parameters, {network}",
        ),
    )
    finish(
        table,
        smoke=arguments.smoke,
        device=torch.cuda.get_device_name() if arguments.device.startswith("cuda") else None,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
