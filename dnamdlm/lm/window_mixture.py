"""A mixture of language models over whole windows: P(x) = sum of w_k P_k(x).

The first component is a model of any kind, such as a network; the others are copiers, such as
Markov models of a high order, which are good at windows that repeat the training sequence and bad
at all others. One component explains a whole window, so that copying costs its weight once per
window and not once per base.

With B(x) an estimate of an upper bound of -log P_0(x) and Q(x) the sum of w_k P_k(x) over the
copiers, there are two forms of the bound:

* `posterior`: -log(w_0 exp(-B) + Q). It is tighter, but concave in B, so that noise of B makes its
  expectation too low, by about r (1 - r) Var(B) / 2 for a share r of the network; average B over
  many draws. With `estimator=orders:K`, exp(-B) itself has no bias, and the form is an upper bound
  in expectation whatever K.
* a `ShareRule`: the share r of the network in each window follows from the likelihoods of the
  copiers alone, and r (B - log w_0) - (1 - r) log Q + r log r + (1 - r) log(1 - r) is linear in B:
  an upper bound of -log P(x) in expectation, for any number of draws and any rule.

Shapes: K components, the network first, B windows, L positions. Nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int, Int64
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.mixed import mixed_nats, posterior_shares
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import GeneratedTokens, LanguageModel, LossTerms, TokenLikelihood
from dnamdlm.tokens.vocabulary import Vocabulary

NATS_PER_UNIT = 100.0
"""Scale of the features of a `ShareRule`, about the nats of a window."""


LogWeights = Float64[Tensor, " C"] | Float64[Tensor, "C B"]
"""Log weights of copiers: the same in all windows, or of each window."""


@dataclass(frozen=True)
class ShareRule:
    """The share of the network in each window, from the exact likelihoods of the copiers alone.

    The logit of the share is a weighted sum of the `features`; `fit_mixture` fits the weights.

    Attributes:
        coefficients: one for each feature.
        bends: whether features are added that are linear up to 10 and to 30 nats only, so that the
            logit may rise in another way where the copiers are better than the first of them.
    """

    coefficients: tuple[float, ...]
    bends: bool = False

    @property
    def num_copiers(self) -> int:
        """How many copiers the rule was fitted to."""
        return len(self.coefficients) - (6 if self.bends else 3)

    @staticmethod
    def features(
        nats: Float64[Tensor, "C B"],
        log_weights: LogWeights,
        lengths: Int64[Tensor, " B"],
        *,
        bends: bool = False,
    ) -> Float64[Tensor, "B F"]:
        """-log Q(x), -log P_k(x) of each copier, the number of bases, and 1, all per 100 nats.

        Args:
            nats: -log P_k(x) of the copiers.
            log_weights: of the copiers, for all windows or for each.
            lengths: bases that were scored.
            bends: add what all copiers gain over the first one, cut off at -10 and 10 nats, at -30
                and 30, and below 0.
        """
        mixed = -torch.logsumexp(_of_windows(log_weights) - nats, dim=0)
        columns = [mixed, *nats, lengths.to(nats.dtype), torch.full_like(mixed, NATS_PER_UNIT)]
        if bends:
            gain = (nats[0] - mixed).nan_to_num(nan=0.0)
            columns += [gain.clamp(-10, 10), gain.clamp(-30, 30), gain.clamp(min=0)]
        return torch.stack(columns, dim=-1).clamp(max=1e6) / NATS_PER_UNIT

    def shares(
        self,
        nats: Float64[Tensor, "C B"],
        log_weights: LogWeights,
        lengths: Int64[Tensor, " B"],
        *,
        of_network: Float64[Tensor, " B"] | None = None,
    ) -> Float64[Tensor, "K B"]:
        """Shares of the network and of each copier; arguments as in `features`.

        A network or copiers without weight have no share.

        Args:
            nats: as in `features`.
            log_weights: as in `features`.
            lengths: as in `features`.
            of_network: log weight of the network in each window, which is added to the logit; None
                for weights that are the same in all windows.
        """
        of_copiers = torch.logsumexp(log_weights, dim=0)
        weights = torch.tensor(self.coefficients, dtype=nats.dtype, device=nats.device)
        logit = self.features(nats, log_weights, lengths, bends=self.bends) @ weights
        network = (logit if of_network is None else logit + of_network).sigmoid()
        network = torch.where(of_copiers == -torch.inf, 1.0, network)
        network = torch.where(of_copiers >= 0.0, 0.0, network)
        columns = _of_windows(log_weights).expand_as(nats)
        impossible = (columns - nats == -torch.inf).all(dim=0)
        network = torch.where(impossible & (of_copiers < 0.0), 1.0, network)
        return torch.cat([network[None], (1.0 - network) * posterior_shares(nats, columns)])


def _of_windows(log_weights: LogWeights) -> Float64[Tensor, "C B"]:
    return log_weights[:, None] if log_weights.ndim == 1 else log_weights


def mixture_weights(pi: float | Sequence[float]) -> tuple[float, ...]:
    """Weight of the network and of each copier.

    Args:
        pi: weights of the copiers.

    Raises:
        ConfigError: if one of them, or their sum, lies outside [0, 1].

    Example:
        >>> mixture_weights((0.25, 0.5))
        (0.25, 0.25, 0.5)
    """
    copiers = tuple(pi) if isinstance(pi, Sequence) else (pi,)
    total = math.fsum(copiers)
    if not (all(0.0 <= weight <= 1.0 for weight in copiers) and total <= 1.0 + 1e-12):
        given = ", ".join(f"{weight:g}" for weight in copiers)
        raise ConfigError(
            f"pi={given} must lie in [0, 1], and so must its sum: it is the weight of the copiers "
            "in the mixture"
        )
    return (max(1.0 - total, 0.0), *copiers)


class MixtureLM:
    """A mixture of a model and copiers over whole windows, as a `LanguageModel`.

    Example: a quarter of the weight on a Markov model.
        >>> import numpy as np
        >>> from dnamdlm.lm import MarkovLM, MarkovModel
        >>> fair = MarkovModel("additive", (np.log(np.full((1, 4), 0.25)),), (1.0,))
        >>> biased = MarkovModel("additive", (np.log([[0.1, 0.4, 0.4, 0.1]]),), (1.0,))
        >>> MixtureLM(MarkovLM(fair), MarkovLM(biased), pi=0.25).weights
        (0.75, 0.25)
    """

    def __init__(
        self,
        model: LanguageModel,
        *copiers: LanguageModel,
        pi: float | Sequence[float],
        rule: ShareRule | None = None,
    ) -> None:
        """Join the components.

        Args:
            model: the network, or any other model; `generate` uses it alone by default.
            copiers: models of the same vocabulary.
            pi: weight of each copier; the model has the rest.
            rule: share of the network in the bound of a window; None is the `posterior` form.

        Raises:
            ConfigError: if there is no copier, a copier has another vocabulary, or the weights or
                the rule do not suit.
        """
        self.weights = mixture_weights(pi)
        if len(self.weights) != len(copiers) + 1 or not copiers:
            raise ConfigError(
                f"a mixture needs one weight in pi for each copier, and there are {len(copiers)} "
                f"copiers and {len(self.weights) - 1} weights"
            )
        for copier in copiers:
            if copier.vocabulary != model.vocabulary:
                raise ConfigError(
                    f"a copier of {len(copier.vocabulary)} symbols cannot be mixed with a model of "
                    f"{len(model.vocabulary)} symbols, because their vocabularies differ; use a "
                    "copier that was fitted to the tokens of the model"
                )
        if rule is not None and rule.num_copiers != len(copiers):
            raise ConfigError(
                f"the rule was fitted to {rule.num_copiers} copiers, and there are "
                f"{len(copiers)}; fit it again with fit_mixture"
            )
        self.components = (model, *copiers)
        self.rule = rule

    @property
    def vocabulary(self) -> Vocabulary:
        """The meaning of the token ids, the same for all components."""
        return self.components[0].vocabulary

    def loss_terms(self, batch: Batch) -> LossTerms:
        """-log P(x) with the posterior shares of the components, and its gradient."""
        parts = [component.loss_terms(batch) for component in self.components]
        nats = torch.stack([part.nats.double() for part in parts])
        log_weights = self._log_weights(nats)
        shares = posterior_shares(nats.detach().sum(dim=-1), log_weights)
        mixed = mixed_nats(
            nats,
            batch.valid,
            total=batch.valid.sum(dim=1),
            shares=shares,
            log_weights=log_weights,
        )
        return LossTerms(mixed, batch.valid)

    def log_likelihood(
        self, batch: Batch, *, draws: int = 1, estimator: str = "auto"
    ) -> TokenLikelihood:
        """-log P(x) of each window: exact if all components are, else an upper bound.

        Args:
            batch: windows.
            draws: noise draws per window of the first component.
            estimator: of the first component; the copiers have their own best one.

        Raises:
            ConfigError: if the first component has no such estimator, or a copier that the rule
                reads is not exact.
        """
        model, *copiers = self.components
        found = [
            model.log_likelihood(batch, draws=draws, estimator=estimator),
            *(copier.log_likelihood(batch, draws=draws) for copier in copiers),
        ]
        nats = torch.stack([part.nats.double() for part in found])
        log_weights = self._log_weights(nats)
        totals, lengths = nats.sum(dim=-1), batch.valid.sum(dim=1)
        if self.rule is None:
            shares = posterior_shares(totals, log_weights)
        else:
            if any(part.kind != "exact" for part in found[1:]):
                raise ConfigError(
                    "the rule of this mixture needs copiers with an exact likelihood, and one of "
                    "them has an upper bound; leave the rule out, or use exact copiers"
                )
            shares = self.rule.shares(totals[1:], log_weights[1:, 0], lengths)
        mixed = mixed_nats(nats, batch.valid, total=lengths, shares=shares, log_weights=log_weights)
        exact = self.rule is None and all(part.kind == "exact" for part in found)
        return TokenLikelihood(mixed, batch.valid, "exact" if exact else "upper bound")

    def chosen_estimator(self, estimator: str) -> str:
        """The estimator of the first component; a `ConfigError` if it does not have it."""
        return self.components[0].chosen_estimator(estimator)

    def generate(
        self,
        keys: Int[Tensor, " B"],
        length: int,
        *,
        initial: Int[Tensor, "B L"] | None = None,
        batch_size: int = 64,
        from_copiers: bool = False,
        **options: Any,
    ) -> GeneratedTokens:
        """One sequence per key, from the first component alone unless `from_copiers`.

        What a copier generates is copied from the training sequence.

        Args:
            keys: noise keys.
            length: tokens per sequence.
            initial: ids to start from, for the first component alone.
            batch_size: sequences held in memory at once.
            from_copiers: draw from the mixture: the component by its weight, then the sequence.
            options: further arguments of `generate` of the first component.

        Raises:
            ConfigError: if `initial` is given with `from_copiers`.
        """
        model, *copiers = self.components
        if not from_copiers:
            return model.generate(keys, length, initial=initial, batch_size=batch_size, **options)
        if initial is not None:
            raise ConfigError(
                "from_copiers=True draws whole windows and cannot complete given tokens; leave out "
                "initial or from_copiers"
            )
        place = RowNoise(keys).uniform(Stream.COMPONENTS, 0)
        bounds = torch.tensor(self.weights, dtype=place.dtype, device=place.device).cumsum(0)
        chosen = torch.bucketize(place, bounds[:-1])
        tokens = torch.full((len(keys), length), self.vocabulary.mask_id, device=keys.device)
        calls = rows = 0
        for number, component in enumerate((model, *copiers)):
            own = chosen == number
            if not bool(own.any()):
                continue
            extra = options if number == 0 else {}
            part = component.generate(keys[own], length, batch_size=batch_size, **extra)
            tokens[own] = part.tokens
            calls, rows = calls + part.network_calls, rows + part.row_calls
        return GeneratedTokens(tokens=tokens, network_calls=calls, row_calls=rows)

    def _log_weights(self, nats: Float64[Tensor, "K B L"]) -> Float64[Tensor, "K B"]:
        weights = torch.tensor(self.weights, dtype=nats.dtype, device=nats.device)
        return weights.log()[:, None].expand(nats.shape[:2])
