"""Variant scores from a composed config tree, or from Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.building.schema import check_keys, check_value
from dnamdlm.assembly.models import LoadedModel, load_model, windows_at_once
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.row_progress import RowProgress
from dnamdlm.assembly.strands import STRANDS, read_strands
from dnamdlm.data.files import check_target, replacing
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.variants.variant_tables import ENDINGS, Column, ScoredVariant, variant_sink
from dnamdlm.data.variants.variant_windows import PairOfWindows, change_of, windows_of_change
from dnamdlm.data.variants.vcf import (
    Variant,
    VariantCounts,
    VariantFile,
    check_variants,
    reasons_of,
    record_of,
)
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.record_states import StateReader
from dnamdlm.lm.states.variant_scores import (
    Pairs,
    bound_difference,
    make_pairs,
    site_log_ratio,
    state_distances,
)
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "llr": (Column("llr", "log p(ALT) - log p(REF) of the hidden base, nats"),),
    "elbo": (
        Column("delta_elbo", "Bound on log p of the window with ALT minus with REF, nats"),
        Column("delta_elbo_se", "Standard error of DELTA_ELBO over its noise draws, nats"),
    ),
    "embedding": (
        Column("cosine_distance", "1 - cosine of the mean hidden states with ALT and REF"),
        Column("l2_distance", "Euclidean distance of the mean hidden states with ALT and REF"),
    ),
}
"""Columns of each kind of score."""

_KEYS = {
    "model": str,
    "variants": str,
    "out": str,
    "scores": Sequence[str],
    "length": int | None,
    "draws": int,
    "strands": str,
    "match_names": bool,
    "max_mismatch": float,
    "batch_size": int | None,
    "weights": str,
    "device": str,
    "ops": str,
    "seed": int,
    "debug": bool,
}
_DATA_KEYS: dict[str, Any] = {"fasta": str, "cache_dir": str | None}
# rows that are read together, in batches, so that pairs of one kind fill a call.
_BATCHES_OF_ROWS = 4
_MIN_ROWS = 64


@dataclass(frozen=True)
class ScoreSettings:
    """How variants are scored.

    Attributes:
        scores: names of `COLUMNS`.
        length: bases of a window; None is that of the training.
        draws: noise draws per allele for `elbo`.
        match_names: take 20 and chr20 for the same record.
        max_mismatch: share of rows that may contradict the genome.
        batch_size: pairs of windows at once; None is what suits the device.
        seed: of the noise.
    """

    scores: tuple[str, ...] = ("llr", "elbo")
    length: int | None = None
    draws: int = 8
    match_names: bool = False
    max_mismatch: float = 0.01
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in self.scores:
            if name not in COLUMNS:
                raise ConfigError(f"scores={name} is unknown; choose any of {', '.join(COLUMNS)}")
        if not self.scores or len(set(self.scores)) < len(self.scores):
            raise ConfigError(f"scores must name each of {', '.join(COLUMNS)} at most once")
        for key in ("length", "draws", "batch_size"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"{key}={value} must be at least 1")
        if not 0 <= self.max_mismatch <= 1:
            raise ConfigError(f"max_mismatch={self.max_mismatch} must lie in 0..1")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the chosen scores, in their order."""
        return tuple(column for name in self.scores for column in COLUMNS[name])


def score(tree: Mapping[str, Any]) -> tuple[Path, str]:
    """Score a VCF file and write the table.

    Args:
        tree: the resolved config of `score`.

    Returns:
        The table, and a sentence for people.
    """
    settings, ending = _checked(tree)
    out = Path(tree["out"])
    start_ops(tree["ops"], tree["device"])
    file = VariantFile(tree["variants"])
    store = prepare_genome(tree["data"]["fasta"], cache_dir=tree["data"]["cache_dir"])
    counts = check_variants(
        file, store, match_names=settings.match_names, max_mismatch=settings.max_mismatch
    )
    loaded = load_model(tree["model"], weights=tree["weights"], device=tree["device"])
    scorer = VariantScorer(loaded, store, settings, strands=tree["strands"])
    progress = RowProgress(counts.rows, "variants")
    scored = 0
    with (
        replacing(out) as partial,
        variant_sink(partial, ending, file, settings.columns) as sink,
    ):
        for row in scorer.scored(file, counts):
            sink.add(row)
            scored += any(not math.isnan(x) for values in row.scores.values() for x in values)
            progress.add(1)
    return out, _sentence(counts, scored, scorer.reasons, progress)


def _checked(tree: Mapping[str, Any]) -> tuple[ScoreSettings, str]:
    check_keys(tree, _KEYS, ["data"])
    check_keys(tree["data"], _DATA_KEYS)
    for key, value in tree["data"].items():
        check_value(value, _DATA_KEYS[key], f"data.{key}")
    if tree["strands"] not in STRANDS:
        raise ConfigError(f"strands={tree['strands']} is unknown; choose {' or '.join(STRANDS)}")
    names = ("length", "draws", "match_names", "max_mismatch", "batch_size", "seed")
    settings = ScoreSettings(tuple(tree["scores"]), **{name: tree[name] for name in names})
    inputs = (tree["variants"], tree["data"]["fasta"])
    return settings, check_target(Path(tree["out"]), ENDINGS, inputs)


class VariantScorer:
    """Scores the rows of a file in their order, some at a time.

    Attributes:
        reasons: how many alleles were not scored, by reason, so far.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        store: GenomeStore,
        settings: ScoreSettings,
        *,
        strands: str = "one",
    ) -> None:
        """Check the model.

        Args:
            loaded: a model of DNA; with `strands="both"` it is changed in place.
            store: the genome.
            settings: how variants are scored.
            strands: `one` or `both`.

        Raises:
            ConfigError: if the model cannot score variants.
        """
        lm = loaded.lm
        if not isinstance(lm, MaskedDiffusionLM):
            raise ConfigError(
                f"variants are scored with masked diffusion models, and this is a "
                f"{type(lm).__name__}; give another model"
            )
        if lm.vocabulary.fingerprint() != NUCLEOTIDE_VOCABULARY.fingerprint():
            raise ConfigError("this model was not trained on DNA; give a model of DNA")
        read_strands(lm, strands)
        self.lm = lm
        self.store = store
        self.settings = settings
        self.length = settings.length or int(loaded.tree["data"]["length"])
        self.device = next(lm.parameters()).device
        self.at_once = settings.batch_size or windows_at_once(self.length, self.device)
        self.reader = StateReader(lm)
        self.reasons: dict[str, int] = {}

    def scored(self, file: VariantFile, counts: VariantCounts) -> Iterator[ScoredVariant]:
        """All rows of a file with their scores.

        Raises:
            DataError: if the file has not the rows that were counted.
        """
        rows, number = file.rows(), 0
        together = max(_MIN_ROWS, _BATCHES_OF_ROWS * self.at_once)
        while chosen := list(islice(rows, together)):
            number += len(chosen)
            yield from self._scored(chosen)
        if number != counts.rows:
            raise DataError(f"{file.path}: the file changed while it was read; try again")

    def _scored(self, rows: Sequence[Variant]) -> list[ScoredVariant]:
        windows: list[PairOfWindows] = []
        owners: list[tuple[int, int]] = []
        reasons: list[list[str | None]] = []
        for index, row in enumerate(rows):
            record = record_of(row.chrom, self.store.lengths, match_names=self.settings.match_names)
            found = list(reasons_of(row, self.store, record))
            for allele, reason in enumerate(found):
                if reason is not None or record is None:
                    continue
                change = change_of(row.ref, row.alts[allele])
                pair = windows_of_change(self.store, record, row.start, change, self.length)
                if pair is None:
                    found[allele] = "too_long"
                    continue
                if "llr" in self.settings.scores and not change.is_snv:
                    found[allele] = "not_snv"
                windows.append(pair)
                owners.append((index, allele))
            reasons.append(found)
        values = [
            {column.name: [math.nan] * len(row.alts) for column in self.settings.columns}
            for row in rows
        ]
        for name, numbers in self._score_windows(windows).items():
            for (index, allele), number in zip(owners, numbers, strict=True):
                values[index][name][allele] = float(number)
        for found in reasons:
            for reason in filter(None, found):
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
        return [ScoredVariant(*parts) for parts in zip(rows, values, reasons, strict=True)]

    def _score_windows(self, windows: Sequence[PairOfWindows]) -> dict[str, NDArray[np.float64]]:
        """Column name -> a number per pair; pairs of one kind and length go together."""
        found = {column.name: np.full(len(windows), np.nan) for column in self.settings.columns}
        order = sorted(
            range(len(windows)), key=lambda i: (windows[i].site < 0, len(windows[i].reference))
        )
        for first in range(0, len(order), self.at_once):
            chosen = order[first : first + self.at_once]
            pairs = make_pairs([windows[i] for i in chosen], self.lm.vocabulary, self.settings.seed)
            for name, numbers in self._score_pairs(pairs.to(self.device)).items():
                found[name][chosen] = numbers
        return found

    def _score_pairs(self, pairs: Pairs) -> dict[str, NDArray[np.float64]]:
        found: dict[str, NDArray[np.float64]] = {}
        if "llr" in self.settings.scores:
            found["llr"] = site_log_ratio(self.lm, pairs).numpy()
        if "elbo" in self.settings.scores:
            value, error = bound_difference(self.lm, pairs, draws=self.settings.draws)
            found |= {"delta_elbo": value.numpy(), "delta_elbo_se": error.numpy()}
        if "embedding" in self.settings.scores:
            cosine, euclidean = state_distances(self.reader, pairs)
            found |= {"cosine_distance": cosine.numpy(), "l2_distance": euclidean.numpy()}
        return found


def _sentence(
    counts: VariantCounts, scored: int, reasons: Mapping[str, int], progress: RowProgress
) -> str:
    rate = counts.rows / max(progress.seconds, 1e-9)
    text = (
        f"{counts.rows:,} rows in and out, {scored:,} with a score, "
        f"{progress.seconds:,.1f} s ({rate:,.0f} variants/s)"
    )
    if reasons:
        listed = ", ".join(f"{code} {number:,}" for code, number in sorted(reasons.items()))
        text += f"\n  alleles with a reason: {listed}"
    return text
