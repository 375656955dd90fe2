"""A regression of noisy sequences: E[y | xt], as a value of steering without lookahead.

The twin of the classifier for measured numbers. A row has K standardised numbers, nan where one is
not known. The loss is half the squared error, the mean over the known numbers of a row: -log of a
normal density of deviation 1, up to a constant. Its minimum over functions of (xt, t) is the mean
of y given what is visible.

Shapes: B sequences, L positions, V vocabulary, K numbers.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from dnamdlm.backbones.backbone import ClassBackbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.tokens.vocabulary import Vocabulary


class NoisyRegressor(NoisyPredictor):
    """The mean of the last hidden states over bases and masks, then a linear map to numbers.

    Example:
        >>> import torch
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.schedules import LogLinear
        >>> from dnamdlm.diffusion.times import Stratified
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> regressor = NoisyRegressor(
        ...     DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), num_numbers=2
        ... )
        >>> regressor.outputs(torch.tensor([[7, 3, 9, 3, 10]])).shape
        torch.Size([1, 2])
    """

    kind = "regression"

    def __init__(
        self,
        backbone: ClassBackbone,
        vocabulary: Vocabulary,
        schedule: Schedule,
        times: TimeSampler,
        *,
        num_numbers: int = 1,
        uniform_share: float | int = 0.0,
    ) -> None:
        """Join the parts.

        Args:
            backbone: network whose hidden states are pooled; its output layer is removed.
            vocabulary: meaning of the ids.
            schedule: share of masks at each time.
            times: how t is drawn in training.
            num_numbers: K, of the data.
            uniform_share: as in `NoisyClassifier`.

        Raises:
            ConfigError: if there is no number, the network has classes or numbers or sees only the
                past, or times are drawn with a density other than 1.
        """
        if num_numbers < 1:
            raise ConfigError(f"lm.num_numbers={num_numbers} must be at least 1")
        super().__init__(
            backbone, vocabulary, schedule, times,
            num_outputs=num_numbers, uniform_share=uniform_share,
        )  # fmt: skip
        self.num_numbers = num_numbers

    def scored(
        self, batch: Batch, t: Tensor, noise: RowNoise, draw: int
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Half the squared error of the known numbers, and 1 minus that error; nan if none is."""
        label = self._numbers(batch)
        predicted = self.outputs(self.noisy(batch, t, noise, draw), t, batch.attended)
        known = ~label.isnan()
        # where, not multiply: a gradient through nan is nan.
        errors = (predicted - label.nan_to_num()).square().where(known, 0.0).sum(dim=-1)
        errors = errors / known.sum(dim=-1)
        return errors / 2, 1 - errors

    def known_rows(self, batch: Batch) -> Bool[Tensor, " B"]:
        """Rows of which a number is known."""
        return ~self._numbers(batch).isnan().all(dim=-1)

    @staticmethod
    def _numbers(batch: Batch) -> Float[Tensor, "B K"]:
        if batch.label is None or not batch.label.is_floating_point():
            raise DataError(
                "these data have no numbers for a regression; train on data=table with data.numbers"
            )
        return batch.label
