"""Samples of a class-conditional model, judged by a classifier that never saw the generator's rows.

    python -m benchmarks.quality.class_samples --table FILE.tsv.gz --runs DIR [--start 0]
        [--length 200] [--limit 1500] [--steps 1300] [--samples 100] [--guidance 1 2]
        [--seeds 1] [--out DIR] [--set KEY=VALUE ...] [--smoke]

The rows of each class are divided: half of them train a masked diffusion model that is given the
class (the recipe `quick` without experts, one strand), three tenths a logistic regression on words
and on words by place, which judges, and the rest is what real sequences of a class come to. Copies
of earlier parts are left out of later ones. The share of sequences that the judge gives the class
that was asked for stands for:

| column | |
| --- | --- |
| real | rows that neither the generator nor the judge saw |
| shuffled | the same with their dinucleotides kept, by Euler paths |
| Markov | a chain of the class, of the strand, with the order that reads the judge's rows best |
| g = 1, 2 | the model given the class, without guidance and with it |
| no class | the same model, the class left open |

The last rows give the mean over classes with a 95 % interval over sequences, its standard deviation
over seeds, and the share of samples that are near copies of the generator's rows. A seed decides on
the division of the rows, the training and the samples. A run in `--runs` that was begun is resumed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

import dnamdlm
from benchmarks.class_rows import (
    ClassRows,
    copies,
    in_parts,
    markov_samples,
    markov_tables,
    read_class_rows,
)
from benchmarks.quality.shuffled_elements import codes_of, text_of
from benchmarks.results_table import RESULTS, Cell, ResultTable, finish, mean_interval, store
from benchmarks.started import start
from benchmarks.trained import model_note, sha256_note
from dnamdlm.assembly.api import Model
from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.resampling import Estimate, estimate
from dnamdlm.evaluation.samples.shuffles import shuffle_dinucleotides
from dnamdlm.evaluation.tasks.probes import Features, Probe, fit_probe, kmer_frequencies
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

_WORD, _PLACED_WORD, _PLACES = 5, 3, 8
_ORDERS = range(7)
_VALID_SHARE = 0.25
Samples = Mapping[str, Sequence[str]]
"""Class that was asked for -> sequences."""


def features_of(texts: Sequence[str]) -> Features:
    """Shares of 5-mers of each sequence, and of 3-mers of each eighth of it."""
    length = len(texts[0])
    bounds = [round(part * length / _PLACES) for part in range(_PLACES + 1)]
    pieces = [(_WORD, list(texts))] + [
        (_PLACED_WORD, [text[first:last] for text in texts]) for first, last in pairwise(bounds)
    ]
    return sparse.hstack(
        [
            kmer_frequencies(encode_dna([""] * len(own), own, "x"), NUCLEOTIDE_VOCABULARY, k)
            for k, own in pieces
        ]
    ).tocsr()


def fit_judge(rows: ClassRows, seed: int) -> Probe:
    """A logistic regression, its strength chosen on a quarter of the rows."""
    labels = np.searchsorted(rows.names, rows.classes)
    order = np.random.default_rng(seed).permutation(len(rows))
    held = order[: round(_VALID_SHARE * len(rows))]
    fitted = order[len(held) :]
    features = features_of(rows.texts)
    return fit_probe(
        "logistic", "classes", (features[fitted], labels[fitted]), (features[held], labels[held]),
        num_outputs=len(rows.names), metric="accuracy",
    )  # fmt: skip


def recognised(judge: Probe, names: Sequence[str], samples: Samples) -> dict[str, NDArray]:
    """Class -> whether each of its sequences is given that class by the judge."""
    return {
        name: judge.outputs(features_of(own)).argmax(1) == names.index(name)
        for name, own in samples.items()
    }


def mean_share(found: Mapping[str, NDArray], seed: int = 0) -> Estimate:
    """Mean over classes of the shares, with an interval; sequences are resampled over classes."""
    columns = []
    for number, own in enumerate(found.values()):
        block = np.zeros((len(own), 2 * len(found)))
        block[:, 2 * number], block[:, 2 * number + 1] = own, 1
        columns.append(block)
    return estimate(
        np.concatenate(columns),
        lambda sums: (sums[..., 0::2] / np.maximum(sums[..., 1::2], 1)).mean(-1),
        np.random.default_rng(seed),
    )


def trained(rows: ClassRows, run: Path, *, steps: int, seed: int, given: Sequence[str]) -> None:
    """Train the model of classes, or resume it; what it learns from is written beside the run."""
    data = run.with_name(f"{run.name}_data")
    data.mkdir(parents=True, exist_ok=True)
    held = np.random.default_rng(seed).random(len(rows)) < 0.1
    length = len(rows.texts[0])
    fasta, labels, bed = (data / name for name in ("rows.fa", "labels.tsv", "splits.bed"))
    fasta.write_text("".join(f">r{n}\n{text}\n" for n, text in enumerate(rows.texts)))
    labels.write_text("".join(f"r{n}\t{name}\n" for n, name in enumerate(rows.classes)))
    bed.write_text(
        "".join(f"r{n}\t0\t{length}\t{'valid' if h else 'train'}\n" for n, h in enumerate(held))
    )
    command = [
        sys.executable, "-m", "dnamdlm.train", "config=quick", "experts=none",
        f"data.fasta={fasta}", f"data.labels={labels}", f"data.bed={bed}", f"data.length={length}",
        "data.reverse_complement=false", "data.jitter=false",
        f"backbone.num_classes={len(rows.names)}", f"trainer.max_steps={steps}", f"seed={seed}",
        f"run_dir={run}", *given,
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode:
        raise ConfigError(f"the training in {run} failed; its message stands above")


def drawn(
    model: Model, names: Sequence[str], *, count: int, length: int, guidance: float | None,
    seed: int,
) -> dict[str, list[str]]:  # fmt: skip
    """Samples of each class; guidance None leaves the class open."""
    return {
        name: model.sample(
            count, length, seed=seed + number,
            **({} if guidance is None else {"label": name, "guidance": guidance}),
        )
        for number, name in enumerate(names)
    }  # fmt: skip


def reference_samples(
    parts: Mapping[str, ClassRows], count: int, length: int, seed: int
) -> tuple[dict[str, dict[str, list[str]]], dict[str, int]]:
    """Column -> class -> sequences without a network, and the order of the chain of each class."""
    rng = np.random.default_rng(seed)
    names, orders = parts["generator"].names, {}
    found: dict[str, dict[str, list[str]]] = {"real": {}, "shuffled": {}, "Markov": {}}
    for name in names:
        real, own = parts["real"].of(name), parts["generator"].of(name)
        found["real"][name] = real
        found["shuffled"][name] = [
            text_of(shuffle_dinucleotides(codes_of(text), rng)) for text in real
        ]
        orders[name], table = markov_tables(own, parts["judge"].of(name), _ORDERS)
        starts = [own[row] for row in rng.integers(0, len(own), count)]
        found["Markov"][name] = markov_samples(table, starts, length, rng)
    return found, orders


def main() -> None:
    """Read, train, draw, judge, print and store."""
    parser = argparse.ArgumentParser(description="Samples of classes, judged.")
    parser.add_argument("--table", required=True, type=Path, help="of sequence and class")
    parser.add_argument("--runs", required=True, type=Path, help="folder of the training")
    parser.add_argument("--start", type=int, default=0, help="first base of each sequence")
    parser.add_argument("--length", type=int, default=200, help="bases of each sequence")
    parser.add_argument("--limit", type=int, default=1500, help="at most so many rows of a class")
    parser.add_argument("--steps", type=int, default=1300, help="of training")
    parser.add_argument("--samples", type=int, default=100, help="of each class and guidance")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--set", nargs="*", default=[], help="other settings of train")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error(f"seeds={arguments.seeds} is no number of seeds; choose 1 or more")
    stem = arguments.table.name.split(".")[0]
    outcomes = [judged(arguments, stem, seed) for seed in range(arguments.seeds)]
    first = outcomes[0]
    table = ResultTable(
        theme=f"quality-class-samples-{stem.replace('_', '-')}",
        title=f"Samples of {len(first.rows)} classes, judged: {arguments.table.name}",
        columns=("class", "rows", *first.found),
        rows=table_rows(outcomes),
        notes=(
            "share of sequences that the judge gives the class that was asked for, chance "
            f"{1 / len(first.rows):.3f}; left out: {first.left_out}, and copies",
            f"{arguments.samples} samples of each class, {arguments.steps} steps of training; "
            f"seeds 0 to {arguments.seeds - 1}, each with a division of the rows, a model and a "
            "judge of its own: means over seeds, also of the ends of intervals; rows, of the first",
            *(f"seed {seed}: orders of the chains: {own.orders}"
              for seed, own in enumerate(outcomes)),
            sha256_note(arguments.table),
            *(f"seed {seed}: {own.model}" for seed, own in enumerate(outcomes)),
        ),
    )  # fmt: skip
    if arguments.smoke:
        finish(table, smoke=True)
    else:
        store(table, folder=arguments.out)


@dataclass(frozen=True)
class Outcome:
    """What one seed gave.

    Attributes:
        rows: class -> rows of the generator.
        left_out: reason -> rows that are in no part.
        found: column -> class -> whether the judge gives each sequence that class.
        near: column -> share of near copies of the generator's rows.
        orders: class -> order of its chain.
        model: note about the generator.
    """

    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    found: Mapping[str, Mapping[str, NDArray]]
    near: Mapping[str, float]
    orders: Mapping[str, int]
    model: str


def judged(arguments: argparse.Namespace, stem: str, seed: int) -> Outcome:
    """Divide the rows, train, draw and judge, all by one seed."""
    length = arguments.length
    rows = read_class_rows(
        arguments.table, start=arguments.start, length=length, limit=arguments.limit, seed=seed
    )
    parts = in_parts(rows, seed)
    run = arguments.runs / (f"{stem}-seed_{seed}" if seed else stem)
    trained(parts["generator"], run, steps=arguments.steps, seed=seed, given=arguments.set)
    model = dnamdlm.load(run)
    if not isinstance(model, Model):
        raise ConfigError(f"{run} holds no language model; choose another folder")
    columns, orders = reference_samples(parts, arguments.samples, length, seed)
    for guidance in [*arguments.guidance, None]:
        name = "no class" if guidance is None else f"g = {guidance:g}"
        columns[name] = drawn(
            model, rows.names, count=arguments.samples, length=length, guidance=guidance, seed=seed
        )
    judge, names = fit_judge(parts["judge"], seed), list(parts["generator"].names)
    learned = parts["generator"].texts
    return Outcome(
        rows={name: len(parts["generator"].of(name)) for name in names},
        left_out=dict(rows.left_out),
        found={column: recognised(judge, names, own) for column, own in columns.items()},
        near={
            column: float(copies(learned, [text for of in own.values() for text in of]).mean())
            for column, own in columns.items()
        },
        orders=orders,
        model=model_note(model.loaded),
    )


def table_rows(outcomes: Sequence[Outcome]) -> list[tuple[Cell, ...]]:
    """One row per class, their mean and its deviation over seeds, and the share of near copies."""
    first = outcomes[0]
    rows: list[tuple[Cell, ...]] = [
        (name, count, *(
            f"{statistics.mean(float(own.found[column][name].mean()) for own in outcomes):.2f}"
            for column in first.found
        ))
        for name, count in first.rows.items()
    ]  # fmt: skip
    means = {column: [mean_share(own.found[column]) for own in outcomes] for column in first.found}
    shown = [
        f"{statistics.mean(m.value for m in own):.3f} ("
        + mean_interval([(m.low, m.high) for m in own]) + ")"
        for own in means.values()
    ]  # fmt: skip
    rows.append(("mean", sum(first.rows.values()), *shown))
    if len(outcomes) > 1:
        deviations = (statistics.stdev(m.value for m in own) for own in means.values())
        rows.append(("standard deviation over seeds", None, *(f"{one:.3f}" for one in deviations)))
    near = (statistics.mean(own.near[column] for own in outcomes) for column in first.found)
    rows.append(("near copies of the generator's rows", None, *(f"{share:.3f}" for share in near)))
    return rows


if __name__ == "__main__":
    start(main)
