"""Scored variants in parts: what they depend on, what a part holds, how parts are joined."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import ceil, isnan
from pathlib import Path
from typing import IO, Any

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.runner.part_runner import Outcome
from dnamdlm.assembly.runner.part_settings import surroundings_of
from dnamdlm.assembly.score.score_settings import ScoreEntry
from dnamdlm.data.files import replacing, write_bytes
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.output_streams import stream_of
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.data.parts.part_folders import HASHED
from dnamdlm.data.variants.tabix import tabix_index
from dnamdlm.data.variants.variant_sources import VariantSource
from dnamdlm.data.variants.variant_tables import ScoredVariant, VariantRows, write_rows
from dnamdlm.data.variants.vcf import Variant
from dnamdlm.errors import DataError

_log = logging.getLogger(__name__)
_SCORED, _REASON = "with a score", "reason "
# passes of the network over a window, about: ALT and REF, hidden and visible.
_PASSES = {"llr": 1, "elbo": 3, "embedding": 2}


@dataclass(frozen=True)
class PartsOfFile:
    """The rows of a file, `together` at a time; each iteration reads the file.

    Attributes:
        file: where they stand.
        num_rows: how many were counted.
        together: rows of a part; the last may have fewer.
    """

    file: VariantSource
    num_rows: int
    together: int

    def __len__(self) -> int:
        """Number of parts."""
        return ceil(self.num_rows / self.together)

    def __iter__(self) -> Iterator[list[Variant]]:
        """The parts in order.

        Raises:
            DataError: if the file has not the rows that were counted.
        """
        rows, number = self.file.rows(), 0
        while chosen := list(islice(rows, self.together)):
            number += len(chosen)
            yield chosen
        if number != self.num_rows:
            raise DataError(f"{self.file.path}: the file changed while it was read; try again")


def identity_of(
    settings: ScoreEntry,
    loaded: LoadedModel,
    variants: VariantSource,
    store: GenomeStore,
    *,
    length: int,
    at_once: int,
) -> dict[str, Any]:
    """What the table depends on, by the name of the setting.

    Args:
        settings: of the command.
        loaded: the model.
        variants: what is scored.
        store: the genome.
        length: bases of a window.
        at_once: pairs of windows in a call.
    """
    scoring = settings.scoring
    return {
        "model": f"{HASHED}{loaded.digest}",
        "weights": settings.weights,
        "variants": f"{HASHED}{variants.digest()}",
        "data.fasta": f"{HASHED}{store.sha256}",
        "data.circular": sorted(store.circular),
        "scores": list(scoring.scores),
        "length": length,
        "draws": scoring.draws,
        "control": scoring.control,
        "strands": scoring.strands,
        "match_names": scoring.match_names,
        "region": scoring.region,
        "within": settings.within,
        "label_column": settings.label_column,
        "group_column": settings.group_column,
        "batch_size": at_once,
        "seed": scoring.seed,
        **({} if scoring.label is None else {"label": scoring.label}),
        **({} if scoring.condition is None else {"condition": list(scoring.condition)}),
        "ops": settings.ops,
        **surroundings_of(loaded.device),
    }


def passes_of(settings: ScoreEntry) -> int:
    """Passes of the network over a window that a variant takes, about."""
    number = sum(
        _PASSES[name] * (settings.draws if name == "elbo" else 1) for name in settings.scores
    )
    return number * (2 if settings.strands == "both" else 1)


def stretch_of(table: VariantRows, rows: Sequence[ScoredVariant]) -> Stretch:
    """Scored rows as lines, with how many have a score, and the reasons of alleles."""
    counts = Counter({_SCORED: sum(map(_has_score, rows))})
    reasons = chain.from_iterable(row.reasons for row in rows)
    counts.update(f"{_REASON}{reason}" for reason in reasons if reason)
    content = "".join(map(table.line, rows)).encode("utf-8")
    return Stretch(content, len(rows), counts)


def _has_score(row: ScoredVariant) -> bool:
    return any(not isnan(value) for values in row.scores.values() for value in values)


def join_scores(head: Mapping[str, Any], contents: Iterable[IO[bytes]], target: Path) -> None:
    """Write the table from all its parts, and the index of a bgzip VCF file next to it.

    Raises:
        DataError: if it cannot be written.
    """
    with replacing(target) as partial:
        write_rows(partial, head["ending"], head["text"], contents)
    if head["ending"] == ".vcf.gz" and stream_of(target) is None:
        _write_index(target)


def _write_index(target: Path) -> None:
    """Write the index of a file, or remove that of the file which it replaced."""
    path = target.with_name(f"{target.name}.tbi")
    index = tabix_index(target)
    if index is not None:
        write_bytes(path, index)
        return
    path.unlink(missing_ok=True)
    _log.info("%s has no index, since its rows are not in the order of their positions", target)


def score_facts(rows: int, counts: Mapping[str, int]) -> tuple[str, str]:
    """What a table holds, and the reasons of alleles without a score as a line of its own."""
    reasons = {
        name.removeprefix(_REASON): number
        for name, number in counts.items()
        if name.startswith(_REASON)
    }
    listed = ", ".join(f"{code} {number:,}" for code, number in sorted(reasons.items()))
    scored = counts.get(_SCORED, 0)
    return (
        f"{rows:,} row{'s' * (rows != 1)} in and out, {scored:,} with a score",
        f"\n  alleles with a reason: {listed}" if reasons else "",
    )


def sentence_of(outcome: Outcome) -> str:
    """What was done, for people."""
    if outcome.shard_sentence:
        return outcome.shard_sentence
    said, reasons = score_facts(outcome.rows, outcome.counts)
    return f"{said}, {outcome.seconds:,.1f} s ({outcome.rate:,.0f} variants/s){reasons}"
