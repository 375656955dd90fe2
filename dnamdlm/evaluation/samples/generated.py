"""Generated sequences beside floors of equal size: k-mer divergence, GC, longest exact match.

The floors say how to read a figure: another sample of held-out sequence (as good as it gets),
samples of the best Markov models, and held-out sequence shuffled with its dinucleotides or only its
bases kept. All samples have as many sequences, of one length; the reference is the rest of the
held-out split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.splits import Splits
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.novelty import Match, longest_matches
from dnamdlm.evaluation.samples.sequence_statistics import (
    MAX_K,
    divergence_with_error,
    gc_fractions,
    shuffle_bases,
    shuffle_dinucleotides,
)
from dnamdlm.lm.markov import Smoothing
from dnamdlm.lm.markov_fit import MarkovFit
from dnamdlm.words.codes import CODE_MASK
from dnamdlm.words.kmers import kmer_counts, words_of_length

_MAX_REFERENCE_BASES = 1 << 25
_SPECTRA = (3, 4, 5, 6)
_GC_EDGES = np.linspace(0.0, 1.0, 51)


def evaluate_generated(
    sequences: Mapping[str, np.ndarray],
    store: GenomeStore,
    splits: Splits,
    markov: Mapping[Smoothing, MarkovFit],
    *,
    rng: np.random.Generator,
    heldout: str = "test",
    max_sequences: int = 1000,
) -> dict[str, Any]:
    """The section "generated" of an evaluation file, as JSON values.

    Args:
        sequences: name -> store codes, as `read_fasta` gives them; A, C, G and T only.
        store: genome store of the training run.
        splits: its splits; matches are looked for in `splits.train`.
        markov: fitted families, see `fit_markov`.
        rng: source of all randomness.
        heldout: the split that is compared with.
        max_sequences: use the first so many sequences.

    Raises:
        DataError: if there is no sequence, one has other letters, or the split is too small.
    """
    names = list(sequences)[:max_sequences]
    generated = [_plain(name, sequences[name]) for name in names]
    if not generated:
        raise DataError("no generated sequence to evaluate; run dnamdlm.sample first")
    length = int(np.median([len(sequence) for sequence in generated]))
    pool = _windows_without_n(store, splits[heldout], length)
    size = min(len(generated), len(pool) // 2)
    if not size:
        raise DataError(
            f"the {heldout} split has {len(pool)} windows of {length} bp without N, 2 are needed; "
            "generate shorter sequences or hold out more"
        )
    names, generated = names[:size], generated[:size]
    chosen = rng.permutation(len(pool))[: size + max(size, _MAX_REFERENCE_BASES // length)]
    windows = [store.codes[pool[index] : pool[index] + length] & CODE_MASK for index in chosen]
    real, reference = windows[:size], windows[size:]
    samples = {"generated": ("Generated", generated), "real": ("Held-out, another sample", real)}
    for fit in markov.values():
        model = fit.best
        samples[model.name] = (model.label, list(model.sample(rng, size, length)))
    shuffled = {
        "shuffled_2": (
            "Held-out, dinucleotides shuffled",
            [shuffle_dinucleotides(window, rng) for window in real],
        ),
        "shuffled_1": ("Held-out, bases shuffled", [shuffle_bases(window, rng) for window in real]),
    }
    return {
        "num_given": len(sequences),
        "num_sequences": size,
        "length": length,
        "heldout": heldout,
        "num_reference_windows": len(reference),
        "divergence": [
            _divergence_row(name, label, sample, reference, rng)
            for name, (label, sample) in {**samples, **shuffled}.items()
        ],
        "spectra": _spectra(generated, reference),
        "gc": _gc(samples),
        "longest_match": _match_rows(samples, names, store, splits.train),
    }


def _plain(name: str, codes: np.ndarray) -> np.ndarray:
    plain = codes & CODE_MASK
    if not len(plain) or plain.max() > 3:
        raise DataError(
            f"generated sequence {name!r} is empty or has letters other than A, C, G and T; "
            "give sequences written by dnamdlm.sample"
        )
    return plain


def _windows_without_n(
    store: GenomeStore, intervals: Sequence[Interval], length: int
) -> np.ndarray:
    """Offsets of windows side by side in the intervals, those with an N left out."""
    spans = [store.span(interval) for interval in intervals]
    starts = np.concatenate(
        [np.arange(low, high - length + 1, length) for low, high in spans] or [np.zeros(0, int)]
    ).astype(np.int64)
    return starts[store.count_n(starts, starts + length) == 0]


def _divergence_row(
    name: str,
    label: str,
    sample: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> dict[str, Any]:
    rates = divergence_with_error(sample, reference, rng)
    return {
        "name": name,
        "label": label,
        "js_bits": [
            {
                "k": k,
                "value": rate.value,
                "standard_error": rate.standard_error if np.isfinite(rate.standard_error) else None,
            }
            for k, rate in enumerate(rates, start=1)
        ],
    }


def _spectra(
    generated: Sequence[np.ndarray], reference: Sequence[np.ndarray]
) -> dict[str, dict[str, list[Any]]]:
    """Relative frequencies of all words, both strands, three significant digits."""
    ours, theirs = (kmer_counts(sample, MAX_K) for sample in (generated, reference))
    return {
        str(k): {
            "words": words_of_length(k),
            "generated": _shares(ours[k - 1]),
            "heldout": _shares(theirs[k - 1]),
        }
        for k in _SPECTRA
    }


def _shares(counts: np.ndarray) -> list[float]:
    return [float(f"{share:.3g}") for share in counts / counts.sum()]


def _gc(samples: Mapping[str, tuple[str, Sequence[np.ndarray]]]) -> dict[str, Any]:
    rows = []
    for name, (label, sample) in samples.items():
        fractions = gc_fractions(sample)
        rows.append(
            {
                "name": name,
                "label": label,
                "mean": float(fractions.mean()),
                "standard_deviation": float(fractions.std()),
                "counts": np.histogram(fractions, bins=_GC_EDGES)[0].tolist(),
            }
        )
    return {"edges": [round(edge, 6) for edge in _GC_EDGES.tolist()], "rows": rows}


def _match_rows(
    samples: Mapping[str, tuple[str, Sequence[np.ndarray]]],
    names: Sequence[str],
    store: GenomeStore,
    train: Sequence[Interval],
) -> dict[str, Any]:
    everything = [sequence for _, sample in samples.values() for sequence in sample]
    matches = longest_matches(everything, store, train)
    rows, first = [], 0
    for name, (label, sample) in samples.items():
        lengths = [match.length for match in matches[first : first + len(sample)]]
        first += len(sample)
        rows.append(
            {
                "name": name,
                "label": label,
                "median": float(np.median(lengths)),
                "percentile_95": float(np.percentile(lengths, 95)),
                "max": max(lengths),
                "lengths": lengths,
            }
        )
    own = matches[: len(names)]
    longest = max(range(len(names)), key=lambda index: own[index].length)
    return {"rows": rows, "longest_generated": _match_json(names[longest], own[longest])}


def _match_json(name: str, match: Match) -> dict[str, Any]:
    return {
        "sequence": name,
        "length": match.length,
        "chrom": match.chrom,
        "start": match.start,
        "strand": match.strand,
    }
