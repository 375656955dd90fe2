"""Steered 8-mers and the exact target over several seeds, and the bias of a finite population.

    python -m benchmarks.quality.steering_seeds --table tf_pbm_8mers.tsv.gz --draws FOLDER
        [--seeds 10] [--populations 800] [--temperatures 0.2 0.1] [--smoke]

One chi-square test of `steering.py` is one draw of a p-value. Here each seed is a sample of its
own, and the counts of all seeds are tested together; the smallest p-value of the seeds is shown
times their number (Bonferroni). A population of K members draws one of them by its weight divided
by the sum of all, so the distribution of one draw differs from the target by a term of order 1 / K.
The second table enumerates it: four sequences, every composition of a population of K independent
members, as many as make the distribution of the draw exact. The leading term is

    q_K(x) - q(x) ~ (q(x) / K) (E_q[w] - w(x)) / E_p[w],   w = exp(r / a),

for members that are drawn from p (delta method; Liu 2001, Monte Carlo Strategies, section 2.5.3).
Draws are kept in FOLDER, so that a run that was interrupted continues.
"""

import argparse
import itertools
import math
from pathlib import Path

import numpy as np
import torch
from scipy.stats import chi2

from benchmarks.quality.steering import (
    GROUPS,
    TEMPERATURES,
    groups_of,
    log_probs_of_all,
    markov_tables,
    numbers_of,
    rewards_of,
    steered,
)
from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.diffusion import Tilt
from dnamdlm.diffusion.tilt import Proposal

WAYS: tuple[tuple[Proposal, int], ...] = (("first_order", 32), ("first_order", 256))
SIZES = (1, 2, 4, 8, 16, 32)
TINY_P = np.array([0.4, 0.3, 0.2, 0.1])
TINY_WEIGHTS = np.array([1.0, 0.2, 2.0, 8.0])


def law_of_one_draw(p: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Distribution of one draw by the weights of `size` independent members from p, enumerated.

    Args:
        p: probabilities of the sequences, (n,).
        weights: exp(r / a) of each, (n,).
        size: members, K; all compositions of K into n parts are visited.

    >>> law_of_one_draw(np.array([0.5, 0.5]), np.array([1.0, 3.0]), 1).tolist()
    [0.5, 0.5]
    >>> law_of_one_draw(np.array([0.5, 0.5]), np.array([1.0, 3.0]), 2).tolist()
    [0.375, 0.625]
    """
    found = np.zeros(len(p))
    for bars in itertools.combinations(range(size + len(p) - 1), len(p) - 1):
        counts = np.diff([-1, *bars, size + len(p) - 1]) - 1
        log_probability = math.lgamma(size + 1) - sum(math.lgamma(n + 1) for n in counts)
        log_probability += float(counts @ np.log(p))
        shares = counts * weights
        found += math.exp(log_probability) * shares / shares.sum()
    return found


def bias_rows() -> list[tuple[Cell, ...]]:
    """Per size: distance of the enumerated distribution from the target, and the leading term."""
    target = TINY_P * TINY_WEIGHTS / (TINY_P @ TINY_WEIGHTS)
    leading = target * (target @ TINY_WEIGHTS - TINY_WEIGHTS) / (TINY_P @ TINY_WEIGHTS)
    rows: list[tuple[Cell, ...]] = []
    for size in SIZES:
        gap = law_of_one_draw(TINY_P, TINY_WEIGHTS, size) - target
        distance = float(np.abs(gap).sum() / 2)
        rows.append((size, distance, distance * size, float(np.abs(leading).sum() / 2 / size)))
    return rows


def drawn_once(
    folder: Path, tables: list[torch.Tensor], rewards: torch.Tensor, *, factor: str,
    temperature: float, proposal: Proposal, size: int, seed: int, populations: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The 8-mers of one seed and their log Z-hat, from the folder if they were drawn before."""
    file = folder / f"{factor}_{temperature:g}_{proposal}_{size}_{populations}_{seed}.npz"
    if not file.exists():
        tilt = Tilt(size, lambda ids: rewards[numbers_of(ids)] / temperature, proposal=proposal)
        drawn, log_z, _ = steered(tables, tilt, populations=populations, seed=seed)
        np.savez(file, drawn=drawn.numpy(), log_z=log_z.numpy())
    kept = np.load(file)
    return torch.from_numpy(kept["drawn"]), torch.from_numpy(kept["log_z"])


def row_of(
    drawn: list[torch.Tensor], log_z: list[torch.Tensor], log_joint: torch.Tensor,
    rewards: torch.Tensor,
) -> tuple[Cell, ...]:  # fmt: skip
    """Figures of all seeds together."""
    exact_log_z = log_joint.logsumexp(0).item()
    target = (log_joint - exact_log_z).exp()
    group = groups_of(target, rewards)
    shares = torch.zeros(GROUPS, dtype=torch.float64).index_add(0, group, target)
    counts = torch.stack([torch.bincount(group[one], minlength=GROUPS) for one in drawn]).double()
    each = ((counts - shares * len(drawn[0])) ** 2 / (shares * len(drawn[0]))).sum(1).numpy()
    least = float(chi2.sf(each, GROUPS - 1).min())
    everyone = torch.cat(drawn)
    expected = shares * len(everyone)
    pooled = float(((counts.sum(0) - expected) ** 2 / expected).sum())
    mean = float(target @ rewards)
    spread = math.sqrt(float(target @ (rewards - mean) ** 2) / len(everyone))
    ratio = (torch.cat(log_z) - exact_log_z).exp()
    weighted = float((ratio * (rewards[everyone] - mean)).mean())
    spread_weighted = float((ratio * (rewards[everyone] - mean)).std()) / math.sqrt(len(everyone))
    return (
        len(drawn), len(everyone), pooled, float(chi2.sf(pooled, GROUPS - 1)),
        min(1.0, least * len(drawn)), float(chi2.sf(each.sum(), (GROUPS - 1) * len(drawn))),
        mean, (float(rewards[everyone].mean()) - mean) / spread, weighted / spread_weighted,
        float(ratio.mean()), float(ratio.std()) / math.sqrt(len(everyone)),
    )  # fmt: skip


def main() -> None:
    """Draw what is missing, print and store."""
    parser = argparse.ArgumentParser(description="Steered samples over several seeds.")
    parser.add_argument("--table", required=True, type=Path)
    parser.add_argument("--draws", required=True, type=Path)
    parser.add_argument("--factor", default="CRX")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--populations", type=int, default=800)
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--smoke", action="store_true", help="print a short table, store nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.draws.mkdir(parents=True, exist_ok=True)
    tables = markov_tables("embedded:yeast")
    rewards = rewards_of(arguments.table, arguments.factor)
    populations, seeds = (20, 2) if arguments.smoke else (arguments.populations, arguments.seeds)
    rows: list[tuple[Cell, ...]] = []
    for temperature, (proposal, size) in itertools.product(arguments.temperatures, WAYS):
        # seed 1 is that of `steering.py`.
        made = [
            drawn_once(
                arguments.draws, tables, rewards, factor=arguments.factor, temperature=temperature,
                proposal=proposal, size=size, seed=seed, populations=populations,
            )
            for seed in range(2, 2 + seeds)
        ]  # fmt: skip
        drawn, log_z = map(list, zip(*made, strict=True))
        log_joint = log_probs_of_all(tables) + rewards / temperature
        rows.append((temperature, proposal, size, *row_of(drawn, log_z, log_joint, rewards)))
    columns = (
        "temperature", "proposal", "population", "seeds", "draws", "chi-square (63) of all draws",
        "p-value", "least p-value of a seed, times seeds", "p-value of the summed chi-squares",
        "mean reward of the target", "samples less target (standard errors)",
        "weighted less target (standard errors)", "mean of Z-hat / Z", "standard error of it",
    )  # fmt: skip
    bias = "; ".join(
        f"K={size}: {distance:.5f} (times K {scaled:.4f}, leading term {leading:.5f})"
        for size, distance, scaled, leading in bias_rows()
    )
    notes = (
        "one draw per population, first hitting, value=draws with 4 guesses, E-score as reward; "
        "seeds 2 and up, none of which is in the table of one seed",
        "weighted: each sample counts with the estimate of Z of its population, without bias",
        "total variation between the distribution of one draw and the target, enumerated for four "
        f"sequences (p = {TINY_P.tolist()}, weights {TINY_WEIGHTS.tolist()}): {bias}",
    )
    title = f"Steered 8-mers over {seeds} seeds: {arguments.factor}"
    table = ResultTable("quality-steering-seeds", title, columns, rows, notes)
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
