"""A classifier of noisy sequences: log p(y | xt), for guidance.

It is trained on sequences that are masked as by a diffusion model. It is not a language model: it
neither scores nor generates sequences. Its losses are nats per label.

Shapes: B sequences, L positions, V vocabulary, C classes, D channels.
Source: Schiff et al. 2024 (arXiv:2412.10193), section 4.2.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from dnamdlm.backbones.backbone import ClassBackbone
from dnamdlm.backbones.layers import OutputHead
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.masking import mask_tokens
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.times import TimeSampler, WarpedTimeSampler
from dnamdlm.diffusion.uniform_noise import check_share, noise_probs, replace_tokens
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.conditioning import conditioning_value
from dnamdlm.lm.language_model import LossTerms
from dnamdlm.lm.model_parts import hidden_size_of
from dnamdlm.lm.network_model import NetworkModel
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.vocabulary import Vocabulary


class NoisyClassifier(NetworkModel):
    """The mean of the last hidden states over bases and masks, then a linear map to classes.

    Example:
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.diffusion.schedules import LogLinear
        >>> from dnamdlm.diffusion.times import Stratified
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> classifier = NoisyClassifier(
        ...     DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified(), num_classes=3
        ... )
        >>> classifier.log_probs(torch.tensor([[7, 3, 9, 3, 10]])).exp().shape
        torch.Size([1, 3])
    """

    pooled_tokens: Tensor
    uniform_share: float = 0.0

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
        if getattr(backbone, "num_classes", 0):
            raise ConfigError(
                f"backbone.num_classes={backbone.num_classes} would give the classifier its "
                "own answer; use backbone.num_classes=0"
            )
        if getattr(backbone, "causal", False):
            raise ConfigError(
                "this backbone sees only the past, and a classifier needs both sides; use "
                "backbone=dit"
            )
        if isinstance(times, WarpedTimeSampler):
            raise ConfigError(
                f"times={type(times).__name__} does not suit a classifier; use times=stratified or "
                "times=uniform"
            )
        super().__init__(backbone, vocabulary)
        self.schedule = schedule
        self.times = times
        self.num_classes = num_classes
        check_share(uniform_share)
        self.uniform_share = float(uniform_share)
        _drop_output_layer(backbone)
        self.head = OutputHead(hidden_size_of(backbone), num_classes)
        pooled = self.real_tokens.clone()
        pooled[vocabulary.mask_id] = True
        self.register_buffer("pooled_tokens", pooled, persistent=False)

    @property
    def soft_like(self) -> tuple[int, torch.dtype]:
        """Width of a distribution over tokens, and the type of the weights."""
        return self.backbone.vocab_size, self.head.weight.dtype

    def log_probs(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        *,
        soft: Float[Tensor, "B L V"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Give log p(y | xt) in float32 or wider.

        Args:
            xt: ids with masks; those that are neither a base nor a mask are seen but not pooled.
            time: t in [0, 1] per row; needed only by a network with time conditioning.
            present: False at padding; None means no padding.
            soft: None, or a distribution over ids that replaces `xt` as the input, in which the
                result is differentiable; one-hot at `xt` changes nothing.

        Raises:
            ValueError: if the network is conditioned on time and `time` is missing.
        """
        conditioning = conditioning_value(self.schedule, time) if self.sees_time else None
        states = self.backbone.hidden(xt if soft is None else soft, conditioning, present)
        weights = self.pooled_tokens[xt].unsqueeze(-1).to(states.dtype)
        pooled = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return self.head(pooled).log_softmax(dim=-1)

    def hidden(self, batch: Batch) -> Float[Tensor, "B L D"]:
        """Last hidden states of clean sequences."""
        time = torch.zeros(len(batch), device=batch.tokens.device)
        conditioning = conditioning_value(self.schedule, time) if self.sees_time else None
        with computing_on(batch.tokens.device):
            return self.backbone.hidden(batch.tokens, conditioning, batch.attended)

    def forward(self, batch: Batch) -> LossTerms:
        """The same as `loss_terms`, for wrappers that call modules."""
        return self.loss_terms(batch)

    def loss_terms(self, batch: Batch) -> LossTerms:
        """Cross-entropy of the label at one random time per row.

        Every position has the loss of its row, so that a mean over positions is nats per label;
        `valid` is True everywhere.

        Raises:
            DataError: if the data have no labels.
        """
        noise = RowNoise(batch.key)
        t = self.times(noise.uniform(Stream.TIMES, 0), batch.row, batch.global_size)
        nats, _ = self._scored(batch, t, noise, draw=0)
        everywhere = torch.ones_like(batch.valid)
        return LossTerms(nats[:, None].expand(-1, batch.length), everywhere)

    @torch.no_grad()
    def score(
        self, batch: Batch, *, draws: int = 1
    ) -> tuple[Float64[Tensor, " B"], Float64[Tensor, " B"]]:
        """Nats per label, and how often the most likely class is the label, averaged over times.

        Args:
            batch: windows with labels.
            draws: times per row, from equal strata.

        Raises:
            DataError: if the data have no labels.
        """
        noise = RowNoise(batch.key)
        nats = torch.zeros(len(batch), dtype=torch.float64, device=batch.tokens.device)
        right = torch.zeros_like(nats)
        for draw in range(draws):
            t = (noise.uniform(Stream.TIMES, draw) + draw) / draws
            of_draw, hit = self._scored(batch, t, noise, draw)
            nats += of_draw / draws
            right += hit.double() / draws
        return nats, right

    def _scored(
        self, batch: Batch, t: Tensor, noise: RowNoise, draw: int
    ) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
        """-log p of the label at time t, and whether it was the most likely one."""
        if batch.label is None:
            raise DataError("these data have no labels for a classifier; name them in data.labels")
        hidden = 1 - self.schedule.alpha(t)
        uniforms = noise.uniform(Stream.MASKS, draw, batch.length)
        if self.uniform_share == 0:
            xt = mask_tokens(batch.tokens, hidden, batch.valid, uniforms, mask_id=self.mask_id)
        else:
            law = noise_probs(self.real_tokens, self.mask_id, self.uniform_share)
            picks = noise.uniform(Stream.REPLACEMENTS, draw, batch.length)
            xt = replace_tokens(batch.tokens, hidden, batch.valid, uniforms, picks, noise=law)
        log_probs = self.log_probs(xt, t, batch.attended)
        label = batch.label.unsqueeze(-1)
        return -log_probs.gather(-1, label).squeeze(-1), log_probs.argmax(dim=-1) == batch.label


def _drop_output_layer(backbone: ClassBackbone) -> None:
    """Remove the output layers, whose weights would not be trained; hidden states need none."""
    assert isinstance(backbone, nn.Module)
    for module in list(backbone.modules()):
        if isinstance(getattr(module, "head", None), nn.Module):
            module.head = nn.Identity()
