"""What classifiers and regressions of noisy sequences share: the network, the noise, the pooling.

They are trained on sequences that are noised as by a diffusion model. They are no language models:
they neither score nor generate sequences.

Shapes: B sequences, L positions, V vocabulary, C outputs, D channels.
"""

from __future__ import annotations

import abc

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
from dnamdlm.errors import ConfigError
from dnamdlm.lm.conditioning import conditioning_value
from dnamdlm.lm.language_model import LossTerms
from dnamdlm.lm.model_parts import hidden_size_of
from dnamdlm.lm.network_model import NetworkModel
from dnamdlm.ops.precision import computing_on
from dnamdlm.tokens.vocabulary import Vocabulary


class NoisyPredictor(NetworkModel, abc.ABC):
    """The mean of the last hidden states over bases and masks, then a linear map to C outputs."""

    pooled_tokens: Tensor
    uniform_share: float = 0.0
    kind = "predictor"

    def __init__(
        self,
        backbone: ClassBackbone,
        vocabulary: Vocabulary,
        schedule: Schedule,
        times: TimeSampler,
        *,
        num_outputs: int,
        uniform_share: float | int = 0.0,
    ) -> None:
        """Join the parts.

        Args:
            backbone: network whose hidden states are pooled; its output layer is removed.
            vocabulary: meaning of the ids.
            schedule: share of masks at each time.
            times: how t is drawn in training.
            num_outputs: C.
            uniform_share: probability that noise is a real token and not the mask.

        Raises:
            ConfigError: if the network has classes or numbers or sees only the past, or times are
                drawn with a density other than 1.
        """
        for setting in ("num_classes", "num_numbers"):
            if found := getattr(backbone, setting, 0):
                raise ConfigError(
                    f"backbone.{setting}={found} would give the {self.kind} its own answer; use "
                    f"backbone.{setting}=0"
                )
        if getattr(backbone, "causal", False):
            raise ConfigError(
                f"this backbone sees only the past, and a {self.kind} needs both sides; use "
                "backbone=dit"
            )
        if isinstance(times, WarpedTimeSampler):
            raise ConfigError(
                f"times={type(times).__name__} does not suit a {self.kind}; use times=stratified "
                "or times=uniform"
            )
        super().__init__(backbone, vocabulary)
        self.schedule = schedule
        self.times = times
        check_share(uniform_share)
        self.uniform_share = float(uniform_share)
        _drop_output_layer(backbone)
        self.head = OutputHead(hidden_size_of(backbone), num_outputs)
        pooled = self.real_tokens.clone()
        pooled[vocabulary.mask_id] = True
        self.register_buffer("pooled_tokens", pooled, persistent=False)

    @property
    def soft_like(self) -> tuple[int, torch.dtype]:
        """Width of a distribution over tokens, and the type of the weights."""
        return self.backbone.vocab_size, self.head.weight.dtype

    def outputs(
        self,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None = None,
        present: Bool[Tensor, "B L"] | None = None,
        *,
        soft: Float[Tensor, "B L V"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Outputs of the linear map, in float32 or wider.

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
        return self.head(pooled)

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
        """Loss of the label at one random time per row.

        Every position has the loss of its row, so that a mean over positions is nats per label;
        `valid` is True in rows whose label is known.

        Raises:
            DataError: if the data have no labels.
        """
        noise = RowNoise(batch.key)
        t = self.times(noise.uniform(Stream.TIMES, 0), batch.row, batch.global_size)
        nats, _ = self.scored(batch, t, noise, draw=0)
        known = self.known_rows(batch)
        if known is None:
            return LossTerms(nats[:, None].expand(-1, batch.length), torch.ones_like(batch.valid))
        nats = torch.where(known, nats, 0.0)[:, None].expand(-1, batch.length)
        return LossTerms(nats, known[:, None].expand(-1, batch.length))

    @torch.no_grad()
    def score(
        self, batch: Batch, *, draws: int = 1
    ) -> tuple[Float64[Tensor, " B"], Float64[Tensor, " B"]]:
        """Nats per label, and how right the prediction is, averaged over times.

        Args:
            batch: windows with labels; a row whose label is not known has nan.
            draws: times per row, from equal strata.

        Raises:
            DataError: if the data have no labels.
        """
        noise = RowNoise(batch.key)
        nats = torch.zeros(len(batch), dtype=torch.float64, device=batch.tokens.device)
        right = torch.zeros_like(nats)
        for draw in range(draws):
            t = (noise.uniform(Stream.TIMES, draw) + draw) / draws
            of_draw, hit = self.scored(batch, t, noise, draw)
            nats += of_draw / draws
            right += hit.double() / draws
        return nats, right

    @abc.abstractmethod
    def scored(
        self, batch: Batch, t: Tensor, noise: RowNoise, draw: int
    ) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"] | Float[Tensor, " B"]]:
        """Loss of the label at time t in nats, and how right the prediction is.

        Raises:
            DataError: if the data have no labels.
        """

    def known_rows(self, batch: Batch) -> Bool[Tensor, " B"] | None:
        """Rows whose label is known; None where all are."""
        del batch
        return None

    def noisy(self, batch: Batch, t: Tensor, noise: RowNoise, draw: int) -> Int[Tensor, "B L"]:
        """The tokens as they are at time t."""
        hidden = 1 - self.schedule.alpha(t)
        uniforms = noise.uniform(Stream.MASKS, draw, batch.length)
        if self.uniform_share == 0:
            return mask_tokens(batch.tokens, hidden, batch.valid, uniforms, mask_id=self.mask_id)
        law = noise_probs(self.real_tokens, self.mask_id, self.uniform_share)
        picks = noise.uniform(Stream.REPLACEMENTS, draw, batch.length)
        return replace_tokens(batch.tokens, hidden, batch.valid, uniforms, picks, noise=law)


def _drop_output_layer(backbone: ClassBackbone) -> None:
    """Remove the output layers, whose weights would not be trained; hidden states need none."""
    assert isinstance(backbone, nn.Module)
    for module in list(backbone.modules()):
        if isinstance(getattr(module, "head", None), nn.Module):
            module.head = nn.Identity()
