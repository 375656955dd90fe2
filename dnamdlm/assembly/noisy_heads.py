"""Heads trained on noisy sequences: rewards of clean sequences, and values of masked ones.

Given a partly masked sequence xt at time t, a regression predicts E[y | xt] and a classifier
log p(y | xt). Divided by the temperature they are values of steering: without guesses, and without
a call of the reward until a sequence is complete. Any value leaves the draws right. That of a
classifier with temperature 1 is exact where the classifier is, since E[p(y | x) | xt] = p(y | xt);
that of a regression is a lower bound of log E[exp(y / a) | xt], by Jensen's inequality.

Shapes: N sequences, L positions, V ids of the network.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.diffusion.lookahead import Lookahead, StateValue
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.errors import ConfigError
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.suggestions import did_you_mean


class NoisyHead:
    """One class or number that a classifier or a regression of noisy sequences predicts.

    Attributes:
        lm: the classifier or the regression.
        name: of the class or number.
    """

    def __init__(self, loaded: LoadedModel, output: str | None, setting: str) -> None:
        """Find the class or number.

        Args:
            loaded: the run of a training with lm=classifier or lm=regressor.
            output: its name; None where there is one.
            setting: for messages.

        Raises:
            ConfigError: for another model, or an unknown output.
        """
        place = loaded.run_dir or loaded.folder
        if not isinstance(loaded.lm, NoisyPredictor):
            raise ConfigError(
                f"{setting}={place} is a {type(loaded.lm).__name__} and predicts no reward; give "
                "the run folder of a training with lm=regressor or lm=classifier"
            )
        scales: tuple[NumberScale, ...] = loaded.scales
        names = loaded.labels or tuple(scale.name for scale in scales)
        if output is None and len(names) != 1:
            raise ConfigError(
                f"{setting}={place} predicts {', '.join(names[:10])}; say which one is wanted as "
                f"{setting}_class=NAME"
            )
        if output is not None and output not in names:
            raise ConfigError(
                f"{setting}_class={output} is not predicted by {place}"
                f"{did_you_mean(output, names)}; it knows {', '.join(names[:10])}"
            )
        self.lm, self.loaded = loaded.lm, loaded
        self.index = 0 if output is None else names.index(output)
        self.name = names[self.index]
        self.scale = None if isinstance(loaded.lm, NoisyClassifier) else scales[self.index]

    def numbers(
        self,
        xt: Int[Tensor, "N L"],
        time: Float[Tensor, " N"],
        *,
        soft: Float[Tensor, "N L V"] | None = None,
    ) -> Float64[Tensor, " N"]:
        """Log p(class | xt), or E[number | xt] as it is after the transform of the data.

        Args:
            xt: ids with masks, without padding.
            time: in the schedule of this model.
            soft: as in `NoisyPredictor.outputs`.
        """
        found = self.lm.outputs(xt, time, soft=soft).double()
        if self.scale is None:
            return found.log_softmax(dim=-1)[:, self.index]
        return found[:, self.index] * self.scale.scale + self.scale.mean


class NoisyValue:
    """A value of steering: what a head predicts from a partly masked sequence, over a.

    Attributes:
        sequences: rows that it read so far.
    """

    def __init__(self, head: NoisyHead, model: LoadedModel, temperature: float) -> None:
        """Join head and model.

        Args:
            head: what predicts.
            model: whose sequences are steered.
            temperature: a, in the unit of the reward.

        Raises:
            ConfigError: if the head reads other token ids, or other noise.
        """
        place = head.loaded.run_dir or head.loaded.folder
        if head.lm.vocabulary.fingerprint() != model.lm.vocabulary.fingerprint():
            raise ConfigError(
                f"value={place} reads other token ids than the model; train it with the same tokens"
            )
        if head.lm.uniform_share:
            raise ConfigError(
                f"value={place} was trained with lm.uniform_share={head.lm.uniform_share:g}, and a "
                "population steers models that fill masks; train it with lm.uniform_share=0"
            )
        self.head, self.model, self.temperature = head, model, temperature
        self.sequences = 0

    def __call__(self, xt: Int[Tensor, "N L"], time: Float64[Tensor, " N"]) -> Tensor:
        """V of each row, float64 (N,)."""
        self.sequences += len(xt)
        # when the head was trained on the same share of masks.
        schedule: Schedule = self.model.language_model.schedule  # pyright: ignore
        alpha = schedule.alpha(time.double())
        own = self.head.lm.schedule.time_of(alpha).clamp(0, 1)
        with torch.no_grad():
            return self.head.numbers(xt.to(self.head.loaded.device), own) / self.temperature


def value_of(
    value: str,
    output: str | None,
    model: LoadedModel,
    temperature: float,
    *,
    trust: tuple[str, ...] = (),
) -> Lookahead | StateValue:
    """What the setting `value` names.

    Args:
        value: `draws`, `likely`, or a run folder of a head trained on noisy sequences.
        output: class or number of the head.
        model: whose sequences are steered.
        temperature: of the reward.
        trust: packages besides dnamdlm whose classes the head may name.

    Raises:
        CheckpointError: if the folder holds no model.
        ConfigError: if the head does not suit the model.
    """
    if value == "draws" or value == "likely":  # noqa: PLR1714
        return value
    loaded = load_model(value, device=str(model.device), setting="value", trust=trust)
    return NoisyValue(NoisyHead(loaded, output, "value"), model, temperature)
