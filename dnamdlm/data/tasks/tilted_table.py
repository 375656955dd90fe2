"""A table of samples with rewards to fine-tune on: the group `data=tilted`.

Sequences x that a pre-trained model drew, with weights w(x) = exp(r(x) / a), stand for the tilted
distribution p(x) exp(r(x) / a) / Z. Training on them with these weights is weighted denoising
cross-entropy: what it minimises is, up to a constant, the divergence of the model from the tilted
distribution, and any objective with a bound may serve. Rewards may as well be measurements.

Where the samples are of another model u than the pre-trained one, a column gives the difference
log p - log u of each, of the path that it was drawn by, and w = exp(r / a) p / u.

Source: Zhu et al. 2025 (arXiv:2508.10684), weighted denoising cross-entropy, MDNS; Tang et al. 2025
(arXiv:2509.25171), TR2-D2, with the pre-trained model as reference.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.measured_table import MeasuredTable
from dnamdlm.data.tasks.opened_table import OpenTable, RecordWeights
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary

_log = logging.getLogger(__name__)

_FEW = 50


@dataclass(frozen=True)
class TiltedTable:
    """Settings of a table of samples: which file, which reward, how strongly it tilts.

    Attributes:
        table: CSV, TSV or parquet, such as the table of `dnamdlm design select=draw`.
        reward: column of rewards; each row needs one.
        temperature: a of exp(reward / a), in the unit of the reward, above 0.
        length: bases of a row of a batch; shorter sequences are padded.
        log_ratio: column of log p(x) - log u(x) in nats, for samples of another model u than the
            pre-trained one; None: they are its own.
        sequence_column: None takes sequence, seq, text or dna.
        valid_fraction: share of the distinct sequences that is held out for validation.
        split_seed: of that draw.
        cache_dir: folder of prepared sequences; None takes the default.

    Raises:
        ConfigError: if a setting is out of range.
    """

    table: str
    reward: str
    temperature: float
    length: int
    log_ratio: str | None = None
    sequence_column: str | None = None
    valid_fraction: float = 0.1
    split_seed: int = 0
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < float("inf"):
            raise ConfigError(
                f"data.temperature={self.temperature} must be above 0; it divides the reward"
            )
        self.measured()

    @property
    def vocabulary(self) -> Vocabulary:
        """Nucleotides."""
        return NUCLEOTIDE_VOCABULARY

    def measured(self) -> MeasuredTable:
        """The table with its columns of numbers; checked as `data=table` is."""
        columns = [self.reward] if self.log_ratio is None else [self.reward, self.log_ratio]
        return MeasuredTable(
            self.table,
            columns,
            self.length,
            sequence_column=self.sequence_column,
            valid_fraction=self.valid_fraction,
            test_fraction=0.0,
            split_seed=self.split_seed,
            cache_dir=self.cache_dir,
        )

    def open(self) -> OpenTable:
        """Read the table, prepare its sequences, split them and weigh them.

        Raises:
            DataError: if the file, a column or a row cannot be used.
        """
        settings = self.measured()
        asked = {self.reward: "data.reward", self.log_ratio: "data.log_ratio"}
        prepared = settings.prepared({name: key for name, key in asked.items() if name})
        missing = np.isnan(prepared.values).any(axis=1)
        if missing.any():
            raise DataError(
                f"data.reward: row {int(missing.argmax()) + 1} of {self.table} has no reward; give "
                "each sample one, or leave it out of the table"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            log_weights = prepared.values[:, 0] / self.temperature
            log_weights = log_weights + prepared.values[:, 1:].sum(axis=1)
        if not np.isfinite(log_weights).all():
            raise ConfigError(
                f"data.temperature={self.temperature:g} makes reward / temperature infinite for "
                f"row {int((~np.isfinite(log_weights)).argmax()) + 1} of {self.table}; give a "
                "higher one"
            )
        weights = np.empty_like(log_weights)
        for part in (prepared.in_train, ~prepared.in_train):
            weights[part] = mean_one(log_weights[part])
        opened = OpenTable(
            settings.genome_settings(),
            prepared.store,
            prepared.splits,
            weights=RecordWeights(prepared.offsets, weights),
        )
        size = opened.effective_size
        _log.info(
            "the weights of %s samples are worth %.1f independent draws",
            f"{int(prepared.in_train.sum()):,}", size,
        )  # fmt: skip
        if size < _FEW:
            _log.warning(
                "data.temperature=%g leaves the weight to few samples (worth %.1f draws), which a "
                "model learns by heart; draw more samples, or use a higher temperature",
                self.temperature, size,
            )  # fmt: skip
        return opened


def mean_one(log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(log w) divided by its mean: self-normalised weights, float64 (N,).

    The divisor is an estimate of Z from the same samples, so that an expectation under the weights
    has a bias of order 1 / N.

    >>> mean_one(np.log([1.0, 2.0, 6.0])).round(3).tolist()
    [0.333, 0.667, 2.0]
    """
    if not len(log_weights):
        return log_weights
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.mean()
