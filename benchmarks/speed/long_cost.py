"""Cost per base of long sequences from blocks with a cache, and from windows that overlap by half.

    python -m benchmarks.speed.long_cost [--only TEXT] [--smoke]

Both ways read the same context with the same network and reveal four bases a call, on one thread.
A window makes half of its positions anew and computes all of them in every call; a block computes
its own, and reads keys and values of the others. The weights are random, since they change no cost.
What is made before the context is full is not counted.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmarks.quality.long_sequences import made
from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.diffusion.reverse import Generated
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import SemiAutoregressiveSampler
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

PER_CALL = 4
BLOCK = 16


@dataclass(frozen=True)
class Case:
    """A network and what it reads at once.

    Attributes:
        channels: of the transformer.
        layers: of the transformer.
        context: bases that a call can see, those to be made included.
    """

    channels: int
    layers: int
    context: int

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.channels} channels, {self.layers} layers, context {self.context:,}"


CASES = (Case(64, 4, 256), Case(64, 4, 1024), Case(256, 6, 256), Case(256, 6, 1024))


def network_of(case: Case) -> DiT:
    """A transformer with random weights, heads of 32 channels."""
    torch.manual_seed(1)
    vocabulary = NUCLEOTIDE_VOCABULARY
    return DiT(len(vocabulary), case.channels, case.layers, max(1, case.channels // 32)).eval()


def by_blocks(case: Case, network: DiT, length: int, *, use_cache: bool) -> Iterator[Generated]:
    """Pieces of one block."""
    lm = BlockDiffusionLM(
        network, NUCLEOTIDE_VOCABULARY, objective=ExactCount(), block_length=BLOCK
    )
    start = torch.full((1, length), lm.vocabulary.mask_id)
    return lm.pieces(
        row_keys(1, torch.arange(1)), start, window=case.context, num_steps=BLOCK // PER_CALL,
        use_cache=use_cache,
    )  # fmt: skip


def by_windows(case: Case, network: DiT, length: int) -> Iterator[Generated]:
    """Pieces of half a window."""
    lm = MaskedDiffusionLM(network, NUCLEOTIDE_VOCABULARY, objective=ExactCount())
    new = case.context // 2
    return generate_pieces(
        lm, row_keys(1, torch.arange(1)), Template.of_masks(length, lm.vocabulary),
        sampler=SemiAutoregressiveSampler(num_steps=new // PER_CALL, window=case.context),
        trained_length=case.context,
    )  # fmt: skip


def seconds_per_thousand(pieces: Iterator[Generated], context: int) -> float:
    """Processor seconds per 1,000 bases of the pieces that follow the first `context` bases."""
    found = made(pieces)
    (full,) = [place for place, length in enumerate(found.lengths) if length == context]
    bases = found.lengths[-1] - context
    return 1000 * (found.seconds[-1] - found.seconds[full]) / bases


def rows_of(case: Case) -> list[tuple[Cell, ...]]:
    """The costs of a network, and how often that of blocks fits into them."""
    network, new = network_of(case), max(case.context // 2, 128)
    length = case.context + new
    cost = {
        "blocks, keys and values kept": seconds_per_thousand(
            by_blocks(case, network, length, use_cache=True), case.context
        ),
        "blocks, nothing kept": seconds_per_thousand(
            by_blocks(case, network, case.context + 2 * BLOCK, use_cache=False), case.context
        ),
        "windows that overlap by half": seconds_per_thousand(
            by_windows(case, network, length), case.context
        ),
    }
    (first, *_) = cost.values()
    return [(case.name, name, seconds, seconds / first) for name, seconds in cost.items()]


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="measure and print cases whose name has this")
    parser.add_argument("--smoke", action="store_true", help="a tiny network, print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = [Case(32, 1, 64)] if arguments.smoke else CASES
    rows: list[tuple[Cell, ...]] = []
    for case in cases:
        if arguments.only in case.name:
            rows += rows_of(case)
            print(rows[-3:], flush=True)
    finish(
        ResultTable(
            "speed-long-cost",
            "Cost per base of long sequences, by network and context",
            ("network", "made by", "processor s per 1,000 bases", "of blocks with a cache"),
            rows,
            (
                f"blocks of {BLOCK} bases; {PER_CALL} bases per call of the network in every row",
                "one sequence at once, one thread, random weights; bases after the first context",
            ),
        ),
        smoke=arguments.smoke or bool(arguments.only),
        threads=1,
    )


if __name__ == "__main__":
    main()
