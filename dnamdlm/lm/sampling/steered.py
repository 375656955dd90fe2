"""Which samplers and models a population can steer exactly."""

from __future__ import annotations

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.tilt import Tilt
from dnamdlm.errors import ConfigError
from dnamdlm.lm.iupac_lm import NOT_STEERED, IupacDiffusionLM
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling.class_guidance import ClassGuidance, Guidance, NumberGuidance
from dnamdlm.lm.sampling.samplers import BlockSampler, RuleSampler, Sampler


def is_corrected(guidance: Guidance | None) -> bool:
    """Whether the totals of the guided distributions are weights of a population."""
    return isinstance(guidance, ClassGuidance | NumberGuidance) and guidance.corrected


def check_steered(
    lm: LanguageModel,
    tilt: Tilt | None,
    *,
    sampler: Sampler,
    guidance: Guidance | None,
    choice: Choice,
) -> None:
    """Refuse what cannot be drawn from the stated distribution.

    Args:
        lm: the model.
        tilt: None for no population.
        sampler: one that the model can serve.
        guidance: of the sampler.
        choice: how it draws tokens.

    Raises:
        ConfigError: naming the reason.
    """
    if tilt is None:
        if is_corrected(guidance):
            raise ConfigError(
                "corrected guidance is a matter of weights; give a population, such as "
                "population=32"
            )
        return
    if not isinstance(lm, MaskedDiffusionLM):
        raise ConfigError(
            f"a population steers models that fill masks, and this model is a {type(lm).__name__}; "
            "leave reward and population out"
        )
    if isinstance(lm, IupacDiffusionLM):
        raise ConfigError(NOT_STEERED)
    if isinstance(sampler, BlockSampler):
        inner: RuleSampler = sampler.of_block
    elif isinstance(sampler, RuleSampler):
        inner = sampler
    else:
        raise ConfigError(
            f"sampler={sampler.name} gives windows away before the sequence is complete, so that a "
            "population cannot weigh the whole; use sampler=block, first_hitting or ancestral"
        )
    rule = inner.rule(choice)
    if tilt.draws_again and not rule.draws_apart:
        cause, remedy = "proposal=first_order", "proposal=bootstrap"
        if not tilt.is_twisted:
            cause, remedy = "constraints=steer", "constraints=reject"
        raise ConfigError(
            f"{cause} draws tokens again, and {type(rule).__name__} does not say that it can be "
            f"done (draws_apart = True); use {remedy}"
        )
    if not is_corrected(guidance):
        return
    if rule.reopens:
        raise ConfigError(
            f"corrected guidance weighs each token once, and sampler={sampler.name} reopens "
            "tokens; use sampler=first_hitting, ancestral or confidence"
        )
    if choice != UNCHANGED:
        raise ConfigError(
            "corrected guidance draws from p(x|y)^g p(x)^(1-g) of the model itself; leave "
            "temperature, top_p and top_k out"
        )
