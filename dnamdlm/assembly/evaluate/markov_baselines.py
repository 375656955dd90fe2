"""The Markov models of a training split, which a network is compared with."""

from __future__ import annotations

import logging
from typing import Any

from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.lm.chain_fit import fit_markov_chain
from dnamdlm.lm.markov import Smoothing
from dnamdlm.lm.markov_fit import fit_markov
from dnamdlm.words.context_model import MarkovFit
from dnamdlm.words.markov_chain import DENSE_ORDER, chain_orders
from dnamdlm.words.sorted_words import MAX_BASES

logger = logging.getLogger(__name__)


def fit_baselines(
    genome: OpenGenome, max_order: int, *, is_wanted: bool = True
) -> dict[Smoothing, MarkovFit[Any]] | None:
    """Markov models of the training split; None where there is no validation split to choose by.

    Args:
        genome: store and splits.
        max_order: of the interpolated models, 0 to 24; additive ones go to 10 at most.
        is_wanted: False if the order is only a default, which a large training split lowers to 10.

    Raises:
        DataError: if the training split is too large for the order.
    """
    splits = genome.splits
    if not splits.valid or not splits.train:
        logger.info("there is no train or valid split; the Markov baselines are left out")
        return None
    num_bases = sum(map(len, splits.train))
    if max_order > DENSE_ORDER and not is_wanted and num_bases > MAX_BASES:
        logger.info(
            "Markov models go to order %d, since higher ones are counted for a training split of "
            "at most %d bases, and this one has %d", DENSE_ORDER, MAX_BASES, num_bases,
        )  # fmt: skip
        max_order = DENSE_ORDER
    if max_order <= DENSE_ORDER:
        return dict(fit_markov(genome.store, splits.train, splits.valid, max_order=max_order))
    additive = fit_markov(
        genome.store, splits.train, splits.valid, max_order=DENSE_ORDER, smoothings=("additive",)
    )
    orders = chain_orders(max_order)
    chain = fit_markov_chain(genome.store, splits.train, splits.valid, orders)
    return {**additive, "interpolated": chain}
