"""Language models behind one interface: diffusion over a backbone, and baselines."""

from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.experts import Expert
from dnamdlm.lm.language_model import LanguageModel, LossTerms, TokenLikelihood
from dnamdlm.lm.markov import MarkovLM, MarkovModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.noising import Draw, NoiseProcess
from dnamdlm.lm.objectives import (
    ChangeOfVariables,
    ContinuousTime,
    DiscreteTime,
    ExactCount,
    MaskedPrediction,
    Objective,
    ScoreEntropy,
    SimpleCrossEntropy,
)
from dnamdlm.lm.sampling import (
    AnalyticSampler,
    AncestralSampler,
    BlockSampler,
    ClassGuidance,
    ClassifierGuidance,
    ConfidenceSampler,
    EntropyBoundedSampler,
    FirstHittingSampler,
    Guidance,
    LeftToRightSampler,
    RemaskSampler,
    Sampler,
    SemiAutoregressiveSampler,
    as_sampler,
)
from dnamdlm.lm.sampling.generation import Template, generate_pieces

__all__ = [
    "AnalyticSampler",
    "AncestralSampler",
    "BlockSampler",
    "CausalLM",
    "ChangeOfVariables",
    "ClassGuidance",
    "ClassifierGuidance",
    "ConfidenceSampler",
    "ContinuousTime",
    "DiscreteTime",
    "Draw",
    "EntropyBoundedSampler",
    "ExactCount",
    "Expert",
    "Experts",
    "FirstHittingSampler",
    "Guidance",
    "LanguageModel",
    "LeftToRightSampler",
    "LossTerms",
    "MarkovLM",
    "MarkovModel",
    "MaskedDiffusionLM",
    "MaskedPrediction",
    "NoiseProcess",
    "NoisyClassifier",
    "Objective",
    "RemaskSampler",
    "Sampler",
    "ScoreEntropy",
    "SemiAutoregressiveSampler",
    "SimpleCrossEntropy",
    "Template",
    "TokenLikelihood",
    "as_sampler",
    "generate_pieces",
]
