"""A masked model whose likelihood is taken with a chosen estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from jaxtyping import Int
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import GeneratedTokens, LanguageModel, LossTerms, TokenLikelihood
from dnamdlm.lm.masked import ESTIMATORS, Estimator, MaskedDiffusionLM
from dnamdlm.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class EstimatedLM:
    """The language model itself, except that `log_likelihood` uses `estimator`."""

    lm: MaskedDiffusionLM
    estimator: Estimator

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids."""
        return self.lm.vocabulary

    def loss_terms(self, batch: Batch) -> LossTerms:
        """As the model does it."""
        return self.lm.loss_terms(batch)

    def log_likelihood(self, batch: Batch, *, draws: int) -> TokenLikelihood:
        """Likelihood by the chosen estimator."""
        return self.lm.log_likelihood(batch, draws=draws, estimator=self.estimator)

    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        batch_size: int = 64,
    ) -> GeneratedTokens:
        """As the model does it."""
        return self.lm.generate(keys, length, initial=initial, batch_size=batch_size)


def with_estimator(lm: LanguageModel, estimator: str) -> LanguageModel:
    """The model with the estimator that a user names; `auto` leaves every model as it is.

    Raises:
        ConfigError: if the estimator is unknown, or the model does not have it.
    """
    if estimator not in ESTIMATORS:
        raise ConfigError(
            f"estimator={estimator} is unknown; choose one of {', '.join(ESTIMATORS)}"
        )
    if estimator == "auto":
        return lm
    if not isinstance(lm, MaskedDiffusionLM):
        raise ConfigError(
            f"estimator={estimator} is for masked diffusion models, and the likelihood of a "
            f"{type(lm).__name__} is exact without one; use estimator=auto"
        )
    named = cast(Estimator, estimator)
    lm.check_estimator(named)
    return EstimatedLM(lm, named)
