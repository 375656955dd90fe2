"""Language models behind one interface: diffusion over a backbone, and baselines."""

from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.distilled import DistilledDiffusionLM
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.experts import Expert
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.language_model import LanguageModel, LossTerms, TokenLikelihood
from dnamdlm.lm.markov import MarkovLM, MarkovModel
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.mixture_fit import MixtureFit, fit_mixture
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
from dnamdlm.lm.regressor import NoisyRegressor
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
    NumberGuidance,
    RemaskSampler,
    RenoiseSampler,
    Sampler,
    SemiAutoregressiveSampler,
    as_sampler,
)
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.lm.uniform_noising import ReplacingProcess, ReplacingSteps
from dnamdlm.lm.window_mixture import MixtureLM, ShareRule
from dnamdlm.lm.window_weights import WindowWeights

__all__ = [
    "AnalyticSampler",
    "AncestralSampler",
    "BlockDiffusionLM",
    "BlockSampler",
    "CausalLM",
    "ChangeOfVariables",
    "ClassGuidance",
    "ClassifierGuidance",
    "ConfidenceSampler",
    "ContinuousTime",
    "DiscreteTime",
    "DistilledDiffusionLM",
    "Draw",
    "EntropyBoundedSampler",
    "ExactCount",
    "Expert",
    "Experts",
    "FirstHittingSampler",
    "Guidance",
    "IupacDiffusionLM",
    "LanguageModel",
    "LeftToRightSampler",
    "LossTerms",
    "MarkovLM",
    "MarkovModel",
    "MaskedDiffusionLM",
    "MaskedPrediction",
    "MixtureFit",
    "MixtureLM",
    "NoiseProcess",
    "NoisyClassifier",
    "NoisyRegressor",
    "NumberGuidance",
    "Objective",
    "RemaskSampler",
    "RenoiseSampler",
    "ReplacingProcess",
    "ReplacingSteps",
    "Sampler",
    "ScoreEntropy",
    "SemiAutoregressiveSampler",
    "ShareRule",
    "SimpleCrossEntropy",
    "Template",
    "TokenLikelihood",
    "UniformDiffusionLM",
    "WindowWeights",
    "as_sampler",
    "fit_mixture",
    "generate_pieces",
]
