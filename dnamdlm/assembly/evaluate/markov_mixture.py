"""The mixture of a network with the Markov models of its genome, chosen on the validation split."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.likelihood.before_windows import nats_before
from dnamdlm.evaluation.likelihood.markov_scores import score_copies, score_markov
from dnamdlm.evaluation.likelihood.mixture_scores import ChosenMixture, choose_mixture
from dnamdlm.evaluation.window_scores import BaseClasses, WindowScores
from dnamdlm.words.context_model import MarkovFit
from dnamdlm.words.copies import CopyFit
from dnamdlm.words.sorted_words import MAX_BASES

logger = logging.getLogger(__name__)

WINDOWS_TO_CHOOSE_BY = (512, 4096)
"""Fewest and most windows of a validation split that a mixture is chosen on, spread evenly."""


def check_mixture(
    mixture: Literal["markov", "copies"],
    loaded: LoadedModel,
    genomes: Mapping[str, OpenGenome],
    fingerprint: str,
) -> None:
    """Refuse a mixture with Markov models of data that the network was not trained on.

    Args:
        mixture: what is mixed.
        loaded: the network; published weights do not say what it was trained on.
        genomes: those that are evaluated, by name.
        fingerprint: of the data that are evaluated.

    Raises:
        ConfigError: if the genome or its splits differ from those of the run.
        DataError: if there is no training or validation split, or it is too large to be indexed.
    """
    if loaded.run_dir is not None or loaded.data_record:
        trained_on = loaded.data_record.get("fingerprint")
        if trained_on != fingerprint:
            raise ConfigError(
                f"mixture={mixture} counts words of the training split, and these data are not "
                f"those that {loaded.run_dir or loaded.folder} was trained on; leave out data.*, "
                "or mixture"
            )
    for name, genome in genomes.items():
        if not (genome.splits.train and genome.splits.valid):
            where = f" of {name}" if name else ""
            raise DataError(
                f"mixture={mixture} needs a training split to count words and a validation split "
                f"to choose the weights, and one of them{where} is empty; set data.train and "
                "data.valid, or leave mixture out"
            )
        num_bases = sum(map(len, genome.splits.train))
        if mixture == "copies" and num_bases > MAX_BASES:
            raise DataError(
                f"mixture=copies indexes a training split of at most {MAX_BASES:,} bases, and this "
                f"one has {num_bases:,}; use mixture=markov or a smaller training split"
            )


def windows_to_choose_by(settings: EvaluateSettings, genome: OpenGenome) -> Sweep[SplitWindows]:
    """The windows of the validation split that a mixture is chosen on."""
    fewest, most = WINDOWS_TO_CHOOSE_BY
    limit = min(max(settings.limit or most, fewest), most)
    return genome.evaluation_windows("valid", limit=limit, seed=settings.seed)


def choose_markov_mixture(
    settings: EvaluateSettings,
    network: WindowScores,
    windows: Sweep[SplitWindows],
    genome: OpenGenome,
    fit: MarkovFit[Any],
    *,
    copies: CopyFit | None,
) -> ChosenMixture:
    """Choose the weights of the network and of Markov models of several orders.

    Unless `pi` is given, the weights depend on how well the sequence before a window is predicted
    by a short and by the longest context.

    Args:
        settings: of the entry.
        network: scores of the network on `windows`.
        windows: of the validation split, see `windows_to_choose_by`.
        genome: whose windows they are.
        fit: Markov models of its training split.
        copies: the longest of them with copies, or None.
    """
    logger.info("choosing the mixture on %d windows of the validation split", len(windows))
    models = [model for model in fit.models if model.order in mixed_orders(fit.model.order)]
    classes = BaseClasses(genome.store)
    scores = score_markov(models, windows, classes)
    copiers = dict(zip((model.name for model in models), scores, strict=True))
    if copies is not None:
        copiers[copies.model.name] = score_copies(copies.model, windows, classes)
    if settings.pi != "auto":
        return choose_mixture(network, copiers, pi=float(settings.pi))
    of_before = (models[0], models[-1] if copies is None else copies.model)
    chosen = choose_mixture(network, copiers, before=nats_before(of_before, windows))
    return replace(chosen, before=of_before)


def mixed_orders(highest: int) -> set[int]:
    """Orders of Markov models that are components: 8, 12, 16, 20, 24 up to the highest, and that.

    Order 8 predicts what the network needs, which the rule uses; the longest contexts copy.
    """
    return {highest, *(order for order in (8, 12, 16, 20, 24) if order < highest)}
