"""Real elements against their dinucleotide shuffles: how often a score prefers the real one.

    python -m benchmarks.quality.shuffled_elements --model RUN --elements FILE.tsv.gz
        [--classes A B] [--length 200] [--pairs 400] [--draws 16] [--seed 0] [--every]
        [--out DIR] [--smoke]

The task is that of DART-Eval 1 (Patel et al. 2024), with elements of your own. Each element is
paired with one random sequence that has the same first base and the same count of every
dinucleotide (an Euler path, all of them equally likely), so that composition, CpG and every Markov
chain of order 1 give both the same score. Paired accuracy is the share of pairs in which the real
one scores higher, ties counting half.

| score | |
| --- | --- |
| model | minus the likelihood bound, in nats |
| random weights | the same network, not trained |
| Markov | log p of the chain that is best on the validation split of the model, and of order 1 |
| words | a logistic regression on counts of 6-mers, fitted on the other half of the pairs |
| GC, constant | what must give one half |

All scores are judged on the same half of the pairs. An element of which half of the 24-mers stand
in one interval of the training split of the model has been seen, by the network and by the chain,
and is left out unless `--every` is given. The file is a table with the columns sequence and class;
elements with other letters than A, C, G and T are left out, longer ones are cut to their middle.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results_table import RESULTS, ResultTable, finish, shown, store
from benchmarks.started import start
from benchmarks.trained import genome_of, ids_of, model_note, sha256_note
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.tasks.leaks import find_leaks
from dnamdlm.data.tasks.sequence_inputs import SequenceSet, encode_dna
from dnamdlm.errors import DataError
from dnamdlm.evaluation.rankings import clustered_estimates
from dnamdlm.evaluation.resampling import Estimate
from dnamdlm.evaluation.samples.shuffles import shuffle_dinucleotides
from dnamdlm.evaluation.tasks.probes import fit_probe, kmer_frequencies
from dnamdlm.lm.chain_fit import fit_markov_chain
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.words.context_model import ContextModel

_LETTERS = np.frombuffer(b"ACGT", np.uint8)
_MAX_ORDER = 12
_KMER = 6
_VALID_SHARE = 0.2


@dataclass(frozen=True)
class Pairs:
    """N elements and a shuffle of each.

    Attributes:
        names: class of each element (N,).
        real: codes of the elements.
        shuffled: codes of the shuffles, of the same lengths.
        left_out: elements with other letters.
    """

    names: NDArray[np.str_]
    real: list[NDArray[np.uint8]]
    shuffled: list[NDArray[np.uint8]]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.real)

    def texts(self, *, real: bool) -> list[str]:
        """The letters of one side."""
        return [text_of(codes) for codes in (self.real if real else self.shuffled)]


def read_elements(
    path: Path, classes: Sequence[str] | None, *, length: int | None
) -> tuple[NDArray[np.str_], list[NDArray[np.uint8]], int]:
    """Class and codes of each element, and how many have other letters and are left out.

    Args:
        path: TSV or CSV with the columns `sequence` and, where classes are asked for, `class`.
        classes: only these; None is all.
        length: bases from the middle of longer elements; None is all of them.

    Raises:
        DataError: if the column is missing, or no element is left.
    """
    opened = gzip.open if path.name.endswith(".gz") else open
    separator = "," if ".csv" in path.name else "\t"
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=separator))
    if rows and "sequence" not in rows[0]:
        raise DataError(f"{path} has no column sequence; it has {', '.join(rows[0])}")
    named = [(row.get("class") or "all", row["sequence"].upper()) for row in rows]
    asked = [item for item in named if classes is None or item[0] in classes]
    kept = [item for item in asked if set(item[1]) <= set("ACGT") and len(item[1]) > 2]
    if not kept:
        known = ", ".join(sorted({name for name, _ in named}))
        raise DataError(f"{path} has no element of A, C, G and T; its classes: {known or 'none'}")
    names = np.array([name for name, _ in kept])
    return names, [codes_of(middle(text, length)) for _, text in kept], len(asked) - len(kept)


def drawn_pairs(
    names: NDArray[np.str_],
    elements: Sequence[NDArray[np.uint8]],
    *,
    pairs: int,
    seed: int,
    left_out: int = 0,
) -> Pairs:
    """At most `pairs` random elements of each class, with a shuffle of each."""
    rng = np.random.default_rng(seed)
    rows = [
        row
        for name in np.unique(names)
        for row in np.sort(rng.permutation(np.flatnonzero(names == name))[:pairs])
    ]
    real = [elements[row] for row in rows]
    shuffled = [shuffle_dinucleotides(codes, rng) for codes in real]
    return Pairs(names[rows], real, shuffled, left_out)


def middle(text: str, length: int | None) -> str:
    """At most `length` letters around the middle.

    >>> middle("ACGTA", 3), middle("AC", 3)
    ('CGT', 'AC')
    """
    if length is None or len(text) <= length:
        return text
    start = (len(text) - length) // 2
    return text[start : start + length]


def codes_of(text: str) -> NDArray[np.uint8]:
    """Codes 0 to 3 of letters A, C, G, T."""
    return np.searchsorted(_LETTERS, np.frombuffer(text.encode("ascii"), np.uint8)).astype(np.uint8)


def text_of(codes: NDArray[np.uint8]) -> str:
    """The letters of codes 0 to 3."""
    return _LETTERS[codes].tobytes().decode("ascii")


def paired_accuracy(real: NDArray[np.float64], shuffled: NDArray[np.float64]) -> float:
    """Share of pairs whose real element scores higher; ties count half.

    >>> paired_accuracy(np.array([2.0, 1.0]), np.array([1.0, 1.0]))
    0.75
    """
    return float(((real > shuffled) + 0.5 * (real == shuffled)).mean())


def chain_scores(chain: ContextModel, sequences: Sequence[NDArray[np.uint8]]) -> NDArray:
    """Log p of each sequence, rounded so that sums of the same terms are the same number."""
    return np.array([-chain.position_nats(codes).sum() for codes in sequences]).round(9)


def word_scores(
    pairs: Pairs, judged: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits of "real" of a regression on 6-mers that was fitted on the pairs not judged."""
    features = [
        kmer_frequencies(
            encode_dna([""] * len(pairs), pairs.texts(real=real), "elements"),
            NUCLEOTIDE_VOCABULARY, _KMER,
        )
        for real in (True, False)
    ]  # fmt: skip
    own = np.random.default_rng(seed).permutation(np.flatnonzero(~judged))
    held = own[: max(1, round(_VALID_SHARE * len(own)))]
    fitted = own[len(held) :]

    def rows(chosen: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
        labels = np.repeat([1, 0], len(chosen))
        return np.concatenate([part[chosen].toarray() for part in features]), labels

    probe = fit_probe(
        "logistic", "classes", rows(fitted), rows(held), num_outputs=2, metric="auroc"
    )
    real, shuffled = (probe.outputs(part.toarray())[:, 1] for part in features)
    return real, shuffled


def seen_in_training(
    elements: Sequence[NDArray[np.uint8]], genome: OpenGenome
) -> NDArray[np.bool_]:
    """Elements of which half of the 24-mers stand in one interval of the training split."""
    parts = [genome.store.fetch(interval) & 7 for interval in genome.splits.train]
    learned = SequenceSet.of(["" for _ in parts], [ids_of(part) for part in parts])
    tested = SequenceSet.of(["" for _ in elements], [ids_of(codes) for codes in elements])
    return find_leaks(learned, tested, NUCLEOTIDE_VOCABULARY).any


def all_scores(
    pairs: Pairs, loaded: LoadedModel, judged: NDArray[np.bool_], *, draws: int, seed: int
) -> dict[str, tuple[NDArray, NDArray]]:
    """Name of a score -> of the real elements and of the shuffles, each (N,)."""
    untrained = LoadedModel(
        loaded.config.build(seed=seed).eval(), loaded.config, 0, "", loaded.folder, None
    )
    found: dict[str, tuple[NDArray, NDArray]] = {}
    for name, model in (("model", loaded), ("random weights", untrained)):
        opened = Model(model)
        found[name] = tuple(  # pyright: ignore[reportArgumentType]
            opened.log_likelihood(pairs.texts(real=real), draws=draws, seed=seed)
            for real in (True, False)
        )
    opened_genome = genome_of(loaded)
    splits = opened_genome.splits
    fit = fit_markov_chain(
        opened_genome.store, splits.train, splits.valid, tuple(range(_MAX_ORDER + 1))
    )
    for chain, label in ((fit.best, f"Markov order {fit.best_order}"),
                         (fit.model.truncated(1), "Markov order 1")):  # fmt: skip
        found[label] = (chain_scores(chain, pairs.real), chain_scores(chain, pairs.shuffled))
    found["words of 6"] = word_scores(pairs, judged, seed)
    gc = [np.array([np.isin(codes, (1, 2)).sum() for codes in side], float)
          for side in (pairs.real, pairs.shuffled)]  # fmt: skip
    found["GC"] = (gc[0], gc[1])
    found["constant"] = (np.zeros(len(pairs)), np.zeros(len(pairs)))
    return found


def accuracies(
    scores: Mapping[str, tuple[NDArray, NDArray]],
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    seed: int,
    repeats: int = 1000,
) -> dict[str, dict[str, Estimate]]:
    """Score -> group of pairs -> paired accuracy, with an interval from resampled pairs."""
    found: dict[str, dict[str, Estimate]] = {}
    for name, (real, shuffled) in scores.items():
        found[name] = {}
        for group, chosen in groups.items():
            ours, theirs = real[chosen], shuffled[chosen]
            figure = {
                "a": lambda rows, _, ours=ours, theirs=theirs: paired_accuracy(
                    ours[rows], theirs[rows]
                )
            }
            found[name][group] = clustered_estimates(
                figure, np.arange(len(ours)), np.random.default_rng(seed), repeats=repeats
            )["a"]
    return found


def main() -> None:
    """Read, shuffle, score, compare, print and store."""
    parser = argparse.ArgumentParser(description="Real elements against their shuffles.")
    parser.add_argument("--model", required=True, help="run of a model of one genome")
    parser.add_argument("--elements", required=True, type=Path, help="table of sequence and class")
    parser.add_argument("--classes", nargs="+", default=None, help="only these")
    parser.add_argument("--length", type=int, default=None, help="bases from the middle")
    parser.add_argument("--pairs", type=int, default=400, help="at most so many of each class")
    parser.add_argument("--draws", type=int, default=16, help="noise draws of the bound")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="also elements seen in training")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    arguments = parser.parse_args()
    loaded = load_model(arguments.model)
    names, elements, left_out = read_elements(
        arguments.elements, arguments.classes, length=arguments.length
    )
    is_seen = seen_in_training(elements, genome_of(loaded))
    used = np.flatnonzero(~is_seen | arguments.every)
    if not len(used):
        raise DataError(
            f"all {len(elements)} elements stand in the training split of {arguments.model}; "
            "give --every to judge them all the same"
        )
    pairs = drawn_pairs(
        names[used], [elements[row] for row in used], pairs=arguments.pairs, seed=arguments.seed,
        left_out=left_out,
    )  # fmt: skip
    is_judged = np.random.default_rng(arguments.seed).permutation(len(pairs)) % 2 == 0
    groups = {"all": is_judged} | {
        str(name): is_judged & (pairs.names == name) for name in np.unique(pairs.names)
    }
    scores = all_scores(pairs, loaded, is_judged, draws=arguments.draws, seed=arguments.seed)
    found = accuracies(scores, groups, seed=arguments.seed)
    table = ResultTable(
        theme=f"quality-shuffled-{arguments.elements.name.split('.')[0].replace('_', '-')}",
        title=f"Real elements against dinucleotide shuffles: {arguments.elements.name}",
        columns=("score", *(f"{name} ({int(rows.sum())} pairs)" for name, rows in groups.items())),
        rows=[(name, *(shown(value) for value in own.values())) for name, own in found.items()],
        notes=(
            "paired accuracy with 95 % intervals, pairs being resampled; Markov order 1, GC and "
            "constant must give one half",
            f"{len(pairs)} pairs, of which half are judged; {int(is_seen.sum())} of "
            f"{len(elements)} elements were seen in training"
            f"{'' if arguments.every else ' and are left out'}; {pairs.left_out} with other "
            f"letters left out; {arguments.draws} draws, seed {arguments.seed}",
            sha256_note(arguments.elements),
            model_note(loaded),
        ),
    )  # fmt: skip
    if arguments.smoke:
        finish(table, smoke=True)
    else:
        store(table, folder=arguments.out)


if __name__ == "__main__":
    start(main)
