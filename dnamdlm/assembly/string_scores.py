"""What a model says of strings: likelihoods, log-probabilities per position, classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.class_labels import asked_label
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.errors import ConfigError
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.classifier import NoisyClassifier


def string_likelihoods(
    loaded: LoadedModel,
    strings: Sequence[str],
    *,
    draws: int,
    seed: int,
    batch_size: int,
    label: str | int | None = None,
    condition: Sequence[str] | None = None,
) -> NDArray[np.float64]:
    """Lower bound of log p of each string in nats, shape (N,); exact for a causal model.

    Args:
        loaded: the model.
        strings: none of them empty.
        draws: noise draws per row.
        seed: of the noise.
        batch_size: rows at once.
        label: a class to condition on; None is no class.
        condition: numbers to condition on, see `number_conditions`; None is none.

    Raises:
        ConfigError: if the model has no such class or number.
    """
    lm = loaded.language_model
    asked = asked_label(loaded, label, condition)
    totals = np.zeros(len(strings))
    for batch, owner in loaded.modality.rows(strings, seed=seed, batch_size=batch_size):
        rows = batch.to(loaded.device).labelled(asked)
        with torch.inference_mode():
            likelihood = lm.log_likelihood(rows, draws=draws)
        nats = torch.where(likelihood.valid, likelihood.nats.double(), 0.0).sum(dim=-1)
        np.subtract.at(totals, owner, nats.cpu().numpy())
    return totals


def string_log_probs(
    loaded: LoadedModel, strings: Sequence[str], *, hide: str, batch_size: int
) -> list[NDArray[np.float32]]:
    """Log-probabilities of the real tokens at each position of each string, nats.

    Args:
        loaded: the model.
        strings: none of them empty.
        hide: `each` or `none`, see `dnamdlm.lm.position_probs`; a causal model has its own way.
        batch_size: rows at once.
    """
    lm = loaded.language_model
    found: list[list[NDArray[np.float32]]] = [[] for _ in strings]
    for batch, owner in loaded.modality.rows(strings, seed=0, batch_size=batch_size):
        rows = batch.to(loaded.device)
        values = (
            lm.log_probs(rows)
            if isinstance(lm, CausalLM)
            else lm.log_probs(rows, hide=hide, positions_at_once=batch_size)
        )
        for row, number in enumerate(owner):
            found[number].append(values[row][rows.present[row]].float().cpu().numpy())
    return [np.concatenate(parts) for parts in found]


def string_classes(
    loaded: LoadedModel, strings: Sequence[str], *, batch_size: int
) -> NDArray[np.float64]:
    """Give log p(class | string) for clean strings, shape (N, classes).

    Raises:
        ConfigError: if the model is not a classifier.
    """
    classifier = loaded.lm
    if not isinstance(classifier, NoisyClassifier):
        raise ConfigError(
            f"a {type(classifier).__name__} does not classify; load the run of a training with "
            "lm=classifier"
        )
    found = np.zeros((len(strings), len(loaded.labels)))
    for batch, owner in loaded.modality.rows(strings, seed=0, batch_size=batch_size):
        rows = batch.to(loaded.device)
        with torch.inference_mode():
            time = torch.zeros(len(rows), device=loaded.device)
            found[owner] = classifier.log_probs(rows.tokens, time, rows.attended).cpu()
    return found


def at_least_one(**counts: int) -> None:
    """Refuse counts below 1.

    Raises:
        ConfigError: naming the count.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={value} must be a whole number of at least 1")
