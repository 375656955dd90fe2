"""Steered samples compared with the exactly computed target, on measured affinities of all 8-mers.

    python -m benchmarks.quality.steering --table tf_pbm_8mers.tsv.gz [--factor CRX]
        [--populations 800] [--smoke]

p is the order-2 Markov model of the embedded yeast genome with its exact conditionals as denoiser,
and the reward is the E-score of a transcription factor, measured for every 8-mer (Barrera et al.
2016). So p(x) exp(r(x) / a) / Z is a table of 65,536 numbers. Samples are counted in 64 groups of
8-mers of equal probability under the target, in order of reward; p-values are of the chi-square
test with 63 degrees of freedom. Total variation over these groups is compared with that of as many
independent draws from the target itself. "Weighted" is the mean reward of the samples, each counted
with the estimate of Z of its population.
"""

import argparse
import csv
import gzip
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import chi2

from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.diffusion import (
    FirstHitting,
    LogLinear,
    RowNoise,
    Steering,
    Tilt,
    linear_grid,
    reverse_process,
    row_keys,
)
from dnamdlm.diffusion.chains import HIDDEN, chain_conditionals
from dnamdlm.diffusion.tilt import Proposal

LENGTH, BASES, MASK, ORDER, GROUPS = 8, 4, 4, 2, 64
TEMPERATURES = (0.2, 0.1, 0.05)
WAYS: tuple[tuple[Proposal, int], ...] = (
    ("bootstrap", 32),
    ("first_order", 32),
    ("first_order", 256),
)


def rewards_of(path: Path, factor: str) -> torch.Tensor:
    """E-score of each 8-mer, by its number in base 4."""
    values = torch.full((BASES**LENGTH,), torch.nan, dtype=torch.float64)
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            score = float(row[f"Escore_{factor}_REF_R1"])
            for word in (row["kmer"], row["revcomp"]):
                values[int(word.translate(str.maketrans("ACGT", "0123")), 4)] = score
    if not bool(values.isfinite().all()):
        raise SystemExit(f"{path} lacks {int((~values.isfinite()).sum())} 8-mers")
    return values


def markov_tables(fasta: str) -> list[torch.Tensor]:
    """Log-probabilities of orders 0 to 2 from counts of words in a genome."""
    store_of_genome = open_genome(fasta)
    tables = []
    texts = [
        store_of_genome.stretch(name, 0, length) & 7
        for name, length in store_of_genome.lengths.items()
    ]
    for order in range(ORDER + 1):
        counts = np.ones(BASES ** (order + 1))
        for codes in texts:
            windows = np.lib.stride_tricks.sliding_window_view(codes, order + 1)
            windows = windows[(windows < BASES).all(axis=1)].astype(np.int64)
            numbers = windows @ BASES ** np.arange(order, -1, -1)
            counts += np.bincount(numbers, minlength=len(counts))
        table = torch.from_numpy(counts).view(-1, BASES)
        tables.append((table / table.sum(dim=1, keepdim=True)).log())
    return tables


def numbers_of(ids: torch.Tensor) -> torch.Tensor:
    """Number in base 4 of each 8-mer."""
    return ids @ BASES ** torch.arange(LENGTH - 1, -1, -1)


def log_probs_of_all(tables: list[torch.Tensor]) -> torch.Tensor:
    """Log p of every 8-mer."""
    every = torch.cartesian_prod(*[torch.arange(BASES)] * LENGTH)
    total = torch.zeros(len(every), dtype=torch.float64)
    for i in range(LENGTH):
        order = min(i, ORDER)
        place = BASES ** torch.arange(order - 1, -1, -1)
        total += tables[order][(every[:, i - order : i] * place).sum(dim=1), every[:, i]]
    return total


def denoiser_of(tables: list[torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The exact conditionals; the mask has probability 0."""

    def denoise(xt: torch.Tensor, _time: object, _rows: object) -> torch.Tensor:
        found = chain_conditionals(torch.where(xt == MASK, HIDDEN, xt), tables)
        visible = torch.nn.functional.one_hot(xt.clamp(max=BASES - 1), BASES).double().log()
        found = torch.where((xt == MASK)[..., None], found, visible)
        return torch.nn.functional.pad(found, (0, 1), value=-torch.inf)

    return denoise


def steered(
    tables: list[torch.Tensor], tilt: Tilt, *, populations: int, seed: int = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The 8-mer that was drawn from each population, log Z-hat and the effective size."""
    drawn, log_z, sizes = [], [], []
    for index in torch.arange(populations).split(max(1, 65_536 // tilt.size)):
        steering = Steering(tilt, row_keys(seed, index), mask_id=MASK, remembers=True)
        made = reverse_process(
            denoiser_of(tables),
            torch.full((len(steering.keys), LENGTH), MASK),
            rule=FirstHitting(),
            schedule=LogLinear(),
            times=linear_grid(1),
            mask_id=MASK,
            noise=RowNoise(steering.keys),
            steering=steering,
        )
        outcome = steering.finished(made.tokens)
        drawn.append(numbers_of(made.tokens[outcome.rows]))
        log_z.append(outcome.log_z)
        sizes.append(outcome.effective_size)
    return torch.cat(drawn), torch.cat(log_z), torch.cat(sizes)


def groups_of(target: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    """Group of each 8-mer: equal shares of the target, in order of reward."""
    order = rewards.argsort(stable=True)
    before = target[order].cumsum(0) - target[order] / 2
    group = torch.empty_like(order)
    group[order] = (before * GROUPS).long().clamp(max=GROUPS - 1)
    return group


def row_of(
    tables: list[torch.Tensor], rewards: torch.Tensor, temperature: float, tilt: Tilt, number: int
) -> tuple[Cell, ...]:
    """One line of the table."""
    start = time.perf_counter()
    log_joint = log_probs_of_all(tables) + rewards / temperature
    exact_log_z = log_joint.logsumexp(0).item()
    target = (log_joint - exact_log_z).exp()
    drawn, log_z, sizes = steered(tables, tilt, populations=number)
    group = groups_of(target, rewards)
    expected = torch.zeros(GROUPS, dtype=torch.float64).index_add(0, group, target) * number
    counts = torch.bincount(group[drawn], minlength=GROUPS).double()
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    rng = np.random.default_rng(0)
    shares = (expected / expected.sum()).numpy()
    others = rng.multinomial(number, shares, size=1000)
    distances = np.abs(others / number - shares).sum(axis=1) / 2
    distance = (counts / number - torch.from_numpy(shares)).abs().sum().item() / 2
    ratio = (log_z - exact_log_z).exp()
    error = (ratio.std() / math.sqrt(number)).item()
    mean = (target @ rewards).item()
    spread = math.sqrt((target @ (rewards - mean) ** 2).item() / number)
    return (
        temperature, tilt.proposal, tilt.size, (rewards @ log_probs_of_all(tables).exp()).item(),
        mean, rewards[drawn].mean().item(), spread,
        (log_z.softmax(dim=0) @ rewards[drawn]).item(), distance,
        float(np.quantile(distances, 0.95)), chi_square, float(chi2.sf(chi_square, GROUPS - 1)),
        ratio.mean().item(), error, sizes.mean().item(), time.perf_counter() - start,
    )  # fmt: skip


def main() -> None:
    """Draw, print and store."""
    parser = argparse.ArgumentParser(description="Steered samples and the exact target.")
    parser.add_argument("--table", required=True, type=Path)
    parser.add_argument("--factor", default="CRX")
    parser.add_argument("--populations", type=int, default=800)
    parser.add_argument("--smoke", action="store_true", help="print a short table, store nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = markov_tables("embedded:yeast")
    rewards = rewards_of(arguments.table, arguments.factor)
    number = 50 if arguments.smoke else arguments.populations
    rows = []
    for temperature in TEMPERATURES:
        for proposal, size in WAYS:
            tilt = Tilt(
                size,
                lambda ids, a=temperature: rewards[numbers_of(ids)] / a,
                proposal=proposal,
            )
            rows.append(row_of(tables, rewards, temperature, tilt, number))
    columns = (
        "temperature", "proposal", "population", "mean reward of p", "of the target",
        "of the samples", "standard error", "weighted", "total variation",
        "95 % of exact draws below",
        "chi-square (63)", "p-value", "mean of Z-hat / Z", "standard error of it",
        "effective size", "seconds",
    )  # fmt: skip
    title = f"Steered 8-mers and the exact target: {arguments.factor}, {number} populations"
    table = ResultTable(
        "quality-steering",
        title,
        columns,
        rows,
        ("one draw per population, first hitting, value=draws with 4 guesses, E-score as reward",),
    )
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
