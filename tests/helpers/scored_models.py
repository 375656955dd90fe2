"""A record of 300 bases, and a small model with random weights that scores and embeds it."""

from pathlib import Path

import numpy as np
import torch

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.models import LoadedModel
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model

SEQUENCE = "".join(np.array(list("ACGT"))[np.random.default_rng(5).integers(0, 4, 300)])


SMALL = ("config=tiny", "backbone.hidden_size=16", "backbone.num_blocks=1")


def random_model(*overrides):
    tree = compose(*SMALL, *overrides)
    lm = build_language_model(tree, seed=3)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(1)) * 0.1)
    # float64: the order of sums changes no digit that is written.
    return LoadedModel(lm.double().eval(), ModelConfig(tree), 0, "", Path("nowhere"), None)
