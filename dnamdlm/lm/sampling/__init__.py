"""Generation: samplers by name or as objects, guidance, templates, long sequences in pieces.

`generation.generate_pieces` is the one function that runs every sampler with every model.
"""

from dnamdlm.lm.sampling.class_guidance import (
    ClassGuidance,
    ClassifierGuidance,
    Guidance,
    NumberGuidance,
)
from dnamdlm.lm.sampling.sampler_names import SAMPLERS, StepRuleSampler, as_sampler
from dnamdlm.lm.sampling.samplers import (
    AnalyticSampler,
    AncestralSampler,
    BlockSampler,
    ConfidenceSampler,
    EntropyBoundedSampler,
    FirstHittingSampler,
    LeftToRightSampler,
    RemaskSampler,
    RenoiseSampler,
    RuleSampler,
    Sampler,
    SemiAutoregressiveSampler,
)

__all__ = [
    "SAMPLERS",
    "AnalyticSampler",
    "AncestralSampler",
    "BlockSampler",
    "ClassGuidance",
    "ClassifierGuidance",
    "ConfidenceSampler",
    "EntropyBoundedSampler",
    "FirstHittingSampler",
    "Guidance",
    "LeftToRightSampler",
    "NumberGuidance",
    "RemaskSampler",
    "RenoiseSampler",
    "RuleSampler",
    "Sampler",
    "SemiAutoregressiveSampler",
    "StepRuleSampler",
    "as_sampler",
]
