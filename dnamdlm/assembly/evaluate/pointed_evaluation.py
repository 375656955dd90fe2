"""The likelihood of a model with pointers given the templates that windows point to."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluate.evaluated_parts import ScoredSweep
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.pointed_genomes import pointed_genome, pointer_channel_of
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.pointed_windows import PointedWindows
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.likelihood.pointer_scores import (
    ChosenPointer,
    GivenTemplates,
    PointedScores,
    choose_pointer,
    pointed_forms,
)
from dnamdlm.evaluation.window_scores import BaseClasses, WindowScores

logger = logging.getLogger(__name__)

SETTING = "pointer=true"


class PointedEvaluation:
    """The windows of the two splits that point somewhere: those to choose by, those to report.

    Attributes:
        to_choose_by: of the validation split.
        reported: of the split that is evaluated.
    """

    def __init__(
        self,
        settings: EvaluateSettings,
        loaded: LoadedModel,
        opened: OpenData,
        *,
        valid: Sweep[SplitWindows],
        own: Sweep[SplitWindows],
    ) -> None:
        """Index the training split and find where windows point to.

        Raises:
            ConfigError: if the model has no pointers, or was trained on another split.
            DataError: if the data do not suit, or no window points anywhere.
        """
        genome = pointed_genome(loaded.lm, opened, SETTING)
        self._seed = settings.seed
        self.to_choose_by = PointedWindows.of_sweep(valid, genome)
        self.reported = PointedWindows.of_sweep(own, genome)
        logger.info(
            "%d of %d windows of %s point into the training split",
            len(self.reported), len(own), settings.split,
        )  # fmt: skip

    def sweep(
        self, windows: PointedWindows, batch_size: int, classes: BaseClasses | None = None
    ) -> ScoredSweep:
        """Some of the windows with their templates, to be scored."""
        return ScoredSweep(Sweep.over(windows, seed=self._seed), batch_size, classes)

    def choose(self, network: WindowScores, given: WindowScores) -> ChosenPointer:
        """Choose the weight of the pointer on the validation split.

        Args:
            network: scores without templates.
            given: scores with templates.
        """
        return choose_pointer(network, GivenTemplates(self.to_choose_by, given))

    def scores(
        self, network: WindowScores, given: WindowScores, chosen: ChosenPointer
    ) -> PointedScores:
        """Scores of the split with the pointer; arguments as in `choose`."""
        return pointed_forms(network, GivenTemplates(self.reported, given), chosen)


def check_pointer(
    settings: EvaluateSettings, loaded: LoadedModel, genomes: Mapping[str, OpenGenome]
) -> None:
    """Refuse `pointer=true` for a model or data that it does not suit.

    Raises:
        ConfigError: if the model has no pointers, or does not read the given strand alone.
        DataError: if a split to copy from or to choose the weight by is missing.
    """
    pointer_channel_of(loaded.lm, SETTING)
    if settings.strands != "one":
        raise ConfigError(
            f"{SETTING} gives the network a template of one strand; use strands=one or leave one "
            "of them out"
        )
    for genome in genomes.values():
        if not (genome.splits.train and genome.splits.valid):
            raise DataError(
                f"{SETTING} needs the training split to copy from and a validation split to choose "
                "the weight by, and one of them is empty; set data.train and data.valid, or leave "
                "pointer out"
            )
