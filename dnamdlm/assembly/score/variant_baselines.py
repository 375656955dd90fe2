"""Scores of an exchange of one base that need no network: the kind of exchange, CpG, Markov.

They are what a score of a model is compared with where variants have labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dnamdlm.assembly.model_data import DataChanges, genome_data
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.variants.variant_places import Places, bases
from dnamdlm.data.variants.variant_tables import Column, ScoredVariant
from dnamdlm.errors import DnamdlmError
from dnamdlm.lm.chain_fit import fit_markov_chain
from dnamdlm.words.context_model import ContextModel

REACH = 32
"""Bases on either side that a Markov chain reads."""
TRANSVERSION, NO_CPG, MARKOV = "transversion", "no_cpg_transition", "markov_llr"
_TRANSITIONS = frozenset({("A", "G"), ("G", "A"), ("C", "T"), ("T", "C")})
_LETTERS = "ACGTN"


def is_transition(ref: str, alt: str) -> bool:
    """Whether an exchange keeps a purine a purine and a pyrimidine a pyrimidine."""
    return (ref, alt) in _TRANSITIONS


def mutates_readily(before: str, ref: str, alt: str, after: str) -> bool:
    """Whether an exchange is the transition of a CpG, on either strand.

    Args:
        before: bases before it.
        ref: base of the genome.
        alt: other base.
        after: bases after it.

    >>> mutates_readily("A", "C", "T", "G"), mutates_readily("C", "G", "A", "T")
    (True, True)
    >>> mutates_readily("A", "C", "T", "A")
    False
    """
    return (ref + alt + after[:1]) == "CTG" or (before[-1:] + ref + alt) == "CGA"


def chain_cost(chain: ContextModel, before: str, ref: str, alt: str, after: str) -> float:
    """-log p with the other base less -log p with that of the genome, nats, under a Markov chain.

    Args:
        chain: reads from left to right.
        before: bases before the exchange.
        ref: base of the genome.
        alt: other base.
        after: bases after it.
    """
    pair = [
        np.array([_LETTERS.index(letter) for letter in before + allele + after], np.uint8)
        for allele in (ref, alt)
    ]
    ref_nats, alt_nats = (float(chain.position_nats(codes).sum()) for codes in pair)
    return alt_nats - ref_nats


def around_place(places: Places, chrom: str, pos: int) -> tuple[str, str] | None:
    """Up to 32 bases before and after a position, or None where the genome does not hold it.

    Args:
        places: where rows lie in the genome.
        chrom: name of the record.
        pos: of a base, from 1.
    """
    record = places.record(chrom)
    start = pos - 1 - (0 if places.region is None else places.region.start)
    if record is None or not 0 <= start < places.store.lengths[record]:
        return None
    end = min(start + 1 + REACH, places.store.lengths[record])
    return (
        bases(places.store, record, max(start - REACH, 0), start),
        bases(places.store, record, start + 1, end),
    )


@dataclass(frozen=True)
class Baselines:
    """Columns of scores without a network, for exchanges of one base.

    Attributes:
        places: where rows lie in the genome.
        chain: Markov chain of the training split, or None where that is not to be had.
    """

    places: Places
    chain: ContextModel | None

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is added to a table."""
        found = (
            Column(TRANSVERSION, "1 for a transversion, 0 for a transition"),
            Column(NO_CPG, "0 for the transition of a CpG, else 1"),
        )
        if self.chain is None:
            return found
        meaning = (
            f"log p(ALT) - log p(REF) of {2 * REACH + 1} bases under a Markov chain of order "
            f"{self.chain.order} of the training split, nats"
        )
        return (*found, Column(MARKOV, meaning))

    def added(self, row: ScoredVariant) -> ScoredVariant:
        """A row with these scores; nan for other changes than of one base."""
        values = [self._of_allele(row, allele) for allele in row.variant.alts]
        columns = {
            column.name: [found.get(column.name, math.nan) for found in values]
            for column in self.columns
        }
        return replace(row, scores={**row.scores, **columns})

    def _of_allele(self, row: ScoredVariant, alt: str) -> Mapping[str, float]:
        variant = row.variant
        if len(variant.ref) != 1 or alt not in tuple("ACGT") or variant.ref not in tuple("ACGT"):
            return {}
        around = around_place(self.places, variant.chrom, variant.start + 1)
        if around is None:
            return {}
        before, after = around
        found = {
            TRANSVERSION: float(not is_transition(variant.ref, alt)),
            NO_CPG: float(not mutates_readily(before, variant.ref, alt, after)),
        }
        if self.chain is not None:
            found[MARKOV] = -chain_cost(self.chain, before, variant.ref, alt, after)
        return found


def chain_of_training(loaded: LoadedModel, max_order: int) -> ContextModel | None:
    """The best Markov chain of the splits of a model; None if its genome is not to be had.

    Args:
        loaded: the model.
        max_order: highest order, at least 0.
    """
    try:
        opened = genome_data(loaded, DataChanges()).open()
    except DnamdlmError:
        return None
    if not isinstance(opened, OpenGenome) or not (opened.splits.train and opened.splits.valid):
        return None
    orders = tuple(range(max_order + 1))
    return fit_markov_chain(opened.store, opened.splits.train, opened.splits.valid, orders).best
