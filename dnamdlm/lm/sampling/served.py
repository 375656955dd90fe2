"""Which models serve which samplers, guidance and edits; others are refused in one sentence."""

from __future__ import annotations

from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling.class_guidance import Guidance
from dnamdlm.lm.sampling.noise_levels import check_level
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    BlockSampler,
    LeftToRightSampler,
    RenoiseSampler,
    RuleSampler,
    Sampler,
    SemiAutoregressiveSampler,
)
from dnamdlm.lm.uniform import UniformDiffusionLM


def without_share(lm: LanguageModel) -> LanguageModel:
    """A model of uniform noise whose share is 0 as the model of masks that it is."""
    if isinstance(lm, UniformDiffusionLM) and lm.uniform_share == 0:
        return lm.as_masked()
    return lm


def check_served(lm: LanguageModel, sampler: Sampler) -> None:
    """Refuse a sampler that the model cannot serve.

    Raises:
        ConfigError: naming a sampler that it can serve.
    """
    lm = without_share(lm)
    kind = type(lm).__name__
    if isinstance(lm, UniformDiffusionLM):
        if not isinstance(sampler, AncestralSampler | RenoiseSampler):
            raise ConfigError(
                f"sampler={sampler.name} needs masks that are revealed and stay, and this model "
                f"(lm.uniform_share={lm.uniform_share:g}) replaces tokens; use sampler=ancestral "
                "or sampler=renoise"
            )
    elif isinstance(sampler, RenoiseSampler):
        raise ConfigError(
            f"sampler=renoise needs noise that replaces tokens, and this model is a {kind}; use "
            "sampler=remask, or a model of lm=uniform or lm=hybrid"
        )
    elif isinstance(lm, CausalLM):
        if not isinstance(sampler, LeftToRightSampler):
            raise ConfigError(
                f"sampler={sampler.name} fills masks, but this model ({kind}) only continues to "
                "the right; use sampler=left_to_right"
            )
    elif not isinstance(lm, MaskedDiffusionLM | BlockDiffusionLM):
        raise ConfigError(
            f"sampler={sampler.name} needs a trained network, but this model is a {kind}; use a "
            "model trained with masked diffusion"
        )
    elif isinstance(sampler, LeftToRightSampler):
        raise ConfigError(
            "sampler=left_to_right needs an autoregressive model, but this one fills masks; use "
            "sampler=ancestral, or sampler=semi_ar for windows from left to right"
        )
    elif isinstance(lm, BlockDiffusionLM):
        if not isinstance(sampler, RuleSampler):
            raise ConfigError(
                f"sampler={sampler.name} goes from left to right by itself, as a model of lm=block "
                "does already; use sampler=ancestral or another one for the steps within a block"
            )
    elif not isinstance(sampler, RuleSampler | SemiAutoregressiveSampler | BlockSampler):
        raise ConfigError(
            f"sampler={sampler.name} has no methods rule(choice) and times(), by which a masked "
            "diffusion model is sampled; add them, or give a StepRule"
        )


def check_edited(lm: LanguageModel, noise_level: float | None) -> None:
    """Refuse a level outside (0, 1], or a model that cannot edit, with a `ConfigError`."""
    if noise_level is None:
        return
    check_level(noise_level)
    if not isinstance(lm, MaskedDiffusionLM | UniformDiffusionLM):
        raise ConfigError(
            "editing needs a model that sees both sides of every base, and this model is a "
            f"{type(lm).__name__}; use a model of lm=mdlm, lm=uniform or lm=hybrid"
        )


def check_pointed(lm: LanguageModel, sampler: Sampler, *, is_steered: bool) -> None:
    """Refuse to copy with a model or in a way that has no templates.

    Args:
        lm: the model.
        sampler: how it is sampled from.
        is_steered: whether sequences come from populations.

    Raises:
        ConfigError: naming what has no templates.
    """
    if getattr(lm, "pointer_channel", None) is None:
        raise ConfigError(
            "pointer needs a model that was trained with copying=pointer, and this one was not; "
            "leave pointer out"
        )
    if not isinstance(getattr(lm, "backbone", None), DiT):
        raise ConfigError(
            "pointer gives the network a template of the given strand, and this model reads "
            "another strand or both; use strands=one or leave pointer out"
        )
    if isinstance(sampler, SemiAutoregressiveSampler):
        raise ConfigError(
            "pointer copies into one window, and sampler=semi_ar makes many; use "
            "sampler=ancestral or leave pointer out"
        )
    if is_steered:
        raise ConfigError(
            "pointer draws each sequence by itself, and a reward or corrected=true draws it from a "
            "population; leave one of them out"
        )


def check_guided(lm: LanguageModel, guidance: Guidance | None) -> None:
    """Refuse guidance that the model cannot follow, with a `ConfigError`."""
    if guidance is None:
        return
    lm = without_share(lm)
    if not isinstance(lm, MaskedDiffusionLM | BlockDiffusionLM | UniformDiffusionLM):
        raise ConfigError(
            f"only diffusion models can be guided, and this model is a {type(lm).__name__}; "
            "leave label and guide out"
        )
    lm.check_guidance(guidance)
