"""Order-k Markov models of DNA: the baseline with which every DNA figure is compared.

p(base | the k bases before it), counted on both strands of the training intervals. A position with
fewer than k bases before it (chromosome start, after an N) uses the order that it has. Tables
have natural logarithms; a context is packed in base 4 with its oldest base first (see `contexts`).

Fitting and smoothing are in `markov_fit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.errors import DataError
from dnamdlm.lm.contexts import codes_before
from dnamdlm.lm.estimators import exact_estimator
from dnamdlm.lm.language_model import GeneratedTokens, LossTerms, TokenLikelihood
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NUCLEOTIDE_VOCABULARY
from dnamdlm.tokens.vocabulary import Vocabulary
from dnamdlm.words.codes import N_CODE
from dnamdlm.words.context_model import ContextModel, log_probs_of_tables

Smoothing = Literal["additive", "interpolated"]
BASE_STREAM = 0x4D41524B


@dataclass(frozen=True)
class MarkovModel(ContextModel):
    """Markov models of order 0 to `order` that share one set of counts.

    Attributes:
        smoothing: how rare contexts are smoothed.
        log_probs: for each order j, float64 (4^j, 4), natural logarithms.
        pseudo_counts: the m of each order.

    Example: T follows A with probability 0.7.
        >>> first = np.log(np.full((1, 4), 0.25))
        >>> second = np.log([[0.1, 0.1, 0.1, 0.7], *[[0.25] * 4] * 3])
        >>> model = MarkovModel("additive", (first, second), (1.0, 1.0))
        >>> model.name
        'markov_additive_1'
        >>> np.exp(-model.position_nats(np.array([0, 3], dtype=np.uint8))).round(2).tolist()
        [0.25, 0.7]
    """

    smoothing: Smoothing
    log_probs: tuple[np.ndarray, ...]
    pseudo_counts: tuple[float, ...]

    @property
    def context_lengths(self) -> tuple[int, ...]:
        """All orders up to the longest context."""
        return tuple(range(len(self.log_probs)))

    @property
    def name(self) -> str:
        """Short name for tables, for instance 'markov_interpolated_8'."""
        return f"markov_{self.smoothing}_{self.order}"

    @property
    def label(self) -> str:
        """Name for people, for instance 'Markov order 8, interpolated'."""
        kind = "" if self.smoothing == "additive" else f", {self.smoothing}"
        return f"Markov order {self.order}{kind}"

    def truncated(self, order: int) -> MarkovModel:
        """The model of a lower order; tables are shared, not copied."""
        if not 0 <= order <= self.order:
            raise ValueError(f"order must lie in 0..{self.order}, got {order}")
        return MarkovModel(
            self.smoothing, self.log_probs[: order + 1], self.pseudo_counts[: order + 1]
        )

    def next_log_probs(
        self, contexts: NDArray[np.int64], depth: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """See `ContextModel`."""
        return log_probs_of_tables(self.log_probs, self.context_lengths, contexts, depth)

    def word_nats(
        self, words: NDArray[np.signedinteger], depth: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """See `ContextModel`."""
        nats = np.zeros(len(words))
        for order in range(self.order + 1):
            here = np.flatnonzero(depth > order if order == self.order else depth == order + 1)
            # a (j + 1)-base word is its context times 4 plus its last base: the flat table index.
            index = words[here] & (4 ** (order + 1) - 1)
            nats[here] = -self.log_probs[order].reshape(-1)[index]
        return nats


class MarkovLM:
    """A Markov model, or a chain of several orders, as a `LanguageModel` over token windows.

    Without `before` it sees one window, as a network does: the first bases have shorter contexts
    than in `interval_bits`, and the likelihood is that of a distribution over windows. With
    `before` the likelihood of a window is given the bases before it, as in `interval_bits`.

    Example:
        >>> from dnamdlm.diffusion.randomness import row_keys
        >>> uniform = MarkovModel("additive", (np.log(np.full((1, 4), 0.25)),), (1.0,))
        >>> keys = row_keys(seed=1, index=torch.arange(2))
        >>> MarkovLM(uniform).generate(keys, length=5).tokens.shape
        torch.Size([2, 5])
    """

    def __init__(self, model: ContextModel, *, before: GenomeStore | None = None) -> None:
        """Wrap a fitted model; the vocabulary is the nucleotide vocabulary.

        Args:
            model: a model or a chain.
            before: the genome whose bases before a window are context of its first bases, on the
                forward strand and never from another chromosome; only for batches with `start`.
        """
        self.model = model
        self._before = before
        self._codes_of_ids = np.full(len(NUCLEOTIDE_VOCABULARY), N_CODE, np.uint8)
        self._codes_of_ids[IDS_OF_CODES[:4]] = np.arange(4, dtype=np.uint8)

    @property
    def vocabulary(self) -> Vocabulary:
        """The nucleotide vocabulary."""
        return NUCLEOTIDE_VOCABULARY

    def loss_terms(self, batch: Batch) -> LossTerms:
        """The exact -log p; there is nothing to train by gradients."""
        exact = self.log_likelihood(batch)
        return LossTerms(exact.nats, exact.valid)

    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: str = "auto"
    ) -> TokenLikelihood:
        """Exact -log p of each valid token given the tokens before it.

        Args:
            batch: windows; a token that is not a base (N, padding, mask) interrupts the context.
            draws: not needed by an exact likelihood.
            estimator: `auto`.

        Raises:
            ConfigError: for another estimator.
            DataError: if the bases before a window are wanted, and it has no place in a genome.
        """
        del draws
        self.chosen_estimator(estimator)
        codes = self._codes(batch.tokens)
        before = np.full((len(codes), 1), N_CODE, np.uint8)
        if self._before is not None:
            if batch.start is None:
                raise DataError(
                    "these windows have no place in a genome, and the bases before them are not "
                    "known; score them without the genome before them"
                )
            starts = batch.start.cpu().numpy()
            # an N between windows, so that no context reaches into the window before.
            before = np.hstack([before, codes_before(self._before, starts, self.model.order)])
        rows = np.hstack([before, codes])
        nats = self.model.position_nats(rows.reshape(-1)).reshape(rows.shape)[:, before.shape[1] :]
        on_device = torch.from_numpy(nats.copy()).to(batch.tokens.device)
        return TokenLikelihood(torch.where(batch.valid, on_device, 0.0), batch.valid, "exact")

    def chosen_estimator(self, estimator: str) -> str:
        """`auto`; a `ConfigError` for every other estimator, since the likelihood is exact."""
        return exact_estimator(estimator, type(self).__name__)

    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        batch_size: int = 64,
    ) -> GeneratedTokens:
        """Draw each sequence from left to right; one key, one sequence, whatever the batch size.

        Bases of `initial` are kept and serve as context for what follows them, not for what
        precedes them. No network is called.
        """
        shape = (len(keys), length)
        codes = np.full(shape, N_CODE, np.uint8) if initial is None else self._codes(initial)
        uniforms = RowNoise(keys).uniform(BASE_STREAM, 0, length).cpu().numpy()
        filled = [
            self.model.fill(codes[first : first + batch_size], uniforms[first : first + batch_size])
            for first in range(0, len(keys), batch_size)
        ]
        tokens = torch.from_numpy(IDS_OF_CODES[np.concatenate(filled)]).to(keys.device)
        return GeneratedTokens(tokens=tokens, network_calls=0, row_calls=0)

    def _codes(self, tokens: Tensor) -> np.ndarray:
        return self._codes_of_ids[tokens.cpu().numpy()]
