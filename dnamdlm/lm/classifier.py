"""A classifier of noisy sequences: log p(y | xt), for guidance and as a value of steering.

It is trained on sequences that are masked as by a diffusion model. It is not a language model: it
neither scores nor generates sequences. Its losses are nats per label.

Shapes: B sequences, L positions, V vocabulary, C classes.
Source: Schiff et al. 2024 (arXiv:2412.10193), section 4.2.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.backbones.backbone import ClassBackbone
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.tokens.vocabulary import Vocabulary


class NoisyClassifier(NoisyPredictor):
    """The mean of the last hidden states over bases and masks, then a linear map to classes.

    Example:
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.schedules import LogLinear
        >>> from dnamdlm.diffusion.times import Stratified
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> import torch
        >>> classifier = NoisyClassifier(
        ...     DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), num_classes=3
        ... )
        >>> classifier.log_probs(torch.tensor([[7, 3, 9, 3, 10]])).exp().shape
        torch.Size([1, 3])
    """

    kind = "classifier"

    def __init__(
        self,
        backbone: ClassBackbone,
        vocabulary: Vocabulary,
        schedule: Schedule,
        times: TimeSampler,
        *,
        num_classes: int,
        uniform_share: float | int = 0.0,
    ) -> None:
        """Join the parts.

        Args:
            backbone: network whose hidden states are pooled; its output layer is removed.
            vocabulary: meaning of the ids.
            schedule: share of masks at each time.
            times: how t is drawn in training.
            num_classes: classes of the data.
            uniform_share: probability that noise is a real token and not the mask, for the
                guidance of a model with this noise, see `UniformDiffusionLM`.

        Raises:
            ConfigError: if there are fewer than two classes, the network has classes or sees
                only the past, or times are drawn with a density other than 1.
        """
        if num_classes < 2:
            raise ConfigError(f"lm.num_classes={num_classes} must be at least 2")
        super().__init__(
            backbone, vocabulary, schedule, times,
            num_outputs=num_classes, uniform_share=uniform_share,
        )  # fmt: skip
        self.num_classes = num_classes

    def log_probs(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        *,
        soft: Float[Tensor, "B L V"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Give log p(y | xt) in float32 or wider; arguments as in `outputs`."""
        return self.outputs(xt, time, present, soft=soft).log_softmax(dim=-1)

    def scored(
        self, batch: Batch, t: Tensor, noise: RowNoise, draw: int
    ) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
        """-log p of the label at time t, and whether it was the most likely one."""
        if batch.label is None:
            raise DataError("these data have no labels for a classifier; name them in data.labels")
        log_probs = self.log_probs(self.noisy(batch, t, noise, draw), t, batch.attended)
        label = batch.label.unsqueeze(-1)
        return -log_probs.gather(-1, label).squeeze(-1), log_probs.argmax(dim=-1) == batch.label
