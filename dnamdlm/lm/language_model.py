"""What every language model promises to training, evaluation and sampling.

Shapes: B sequences, L positions. Losses and likelihoods are in nats per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.reverse import Generated as GeneratedTokens
from dnamdlm.tokens.vocabulary import Vocabulary

__all__ = ["GeneratedTokens", "LanguageModel", "LossTerms", "TokenLikelihood", "Trainable"]


@dataclass(frozen=True)
class LossTerms:
    """One random draw of the training loss, token by token.

    `nats` has expectation -log p (or its upper bound) and is zero wherever `valid` is False; the
    loss of a batch is the sum of `nats` divided by the count of `valid` of the global batch. An
    objective that minimises something else puts it into `minimised`, and `nats` is then only
    reported.
    """

    nats: Float[Tensor, "B L"]
    valid: Bool[Tensor, "B L"]
    minimised: Float[Tensor, "B L"] | None = None


@dataclass(frozen=True)
class TokenLikelihood:
    """-log p of given sequences, token by token, or an estimate of an upper bound of it.

    Only the sum over a sequence is a property of the model alone: single tokens of a bound depend
    on how the bound was split. `nats` is zero wherever `valid` is False.

    A bound by masks also says how well hidden tokens were predicted: `hidden_nats` is their
    cross-entropy, summed over draws, by tenth of the share of valid tokens that were hidden (the
    first is (0, 0.1], the last (0.9, 1]), and `hidden_count` is how many they were.
    """

    nats: Float[Tensor, "B L"]
    valid: Bool[Tensor, "B L"]
    kind: Literal["exact", "upper bound"]
    hidden_nats: Float64[Tensor, "B 10"] | None = None
    hidden_count: Int[Tensor, "B 10"] | None = None


@runtime_checkable
class Trainable(Protocol, metaclass=ByAttributes):
    """A model that can be trained: a language model, or a classifier of noisy sequences."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        ...

    def loss_terms(self, batch: Batch) -> LossTerms:
        """Differentiable loss; all randomness is a function of `batch.key`."""
        ...


@runtime_checkable
class LanguageModel(Trainable, Protocol):
    """A distribution over token sequences that can be trained, scored and sampled."""

    def log_likelihood(
        self, batch: Batch, *, draws: int, estimator: str = "auto"
    ) -> TokenLikelihood:
        """Likelihood without gradients.

        Args:
            batch: clean sequences.
            draws: noise draws per row; an exact likelihood does not need them.
            estimator: see `dnamdlm.lm.estimators`; `auto` is the best one of the model.

        Raises:
            ConfigError: if the model does not have this estimator.
        """
        ...

    def chosen_estimator(self, estimator: str) -> str:
        """The estimator with `auto` resolved; a `ConfigError` if the model does not have it."""
        ...

    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        batch_size: int = 64,
    ) -> GeneratedTokens:
        """One sequence per key; the same key gives the same sequence whatever the batch size.

        Args:
            keys: noise keys, see `dnamdlm.diffusion.randomness.row_keys`.
            length: tokens per sequence.
            initial: ids to start from; tokens that are not the mask come back unchanged.
            batch_size: sequences held in memory at once; does not change the result.
        """
        ...
