"""Runs that hide bases in other ways: resumed bit for bit, and settings as they are typed."""

import hashlib

import numpy as np
import pytest
import torch

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.train.fitting import fit
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.checkpoint import AVERAGE, WEIGHTS
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model

SMALL = {
    "device": "cpu", "threads": 1, "length": 32, "valid": ["r2"], "global_batch_size": 4,
    "warmup_steps": 2, "valid_every": 4, "valid_windows": 4, "valid_draws": 1, "log_every": 1,
    "checkpoint_every": 4, "hold_fraction": 1.0,
}  # fmt: skip
OBJECTIVES = [
    ExactCount(power=2.0, ramp_steps=6, ramp_from=0.2, complementary=True),
    ExactCount(lowest=0.1, ramp_steps=6, density=(3.0, 1.0)),
]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    letters = np.random.default_rng(0).choice(list("ACGT"), (3, 400))
    path = tmp_path_factory.mktemp("genome") / "my.fa"
    path.write_text("".join(f">r{i}\n{''.join(row)}\n" for i, row in enumerate(letters, start=1)))
    return path


def _hashes(run_dir):
    newest = sorted((run_dir / "checkpoints").iterdir())[-1]
    return [hashlib.sha256((newest / name).read_bytes()).hexdigest() for name in (WEIGHTS, AVERAGE)]


def _model(objective):
    torch.manual_seed(0)
    return MaskedDiffusionLM(DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY, objective=objective)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["complementary", "density"])
def test_a_resumed_run_ends_with_the_same_bytes(objective, genome, tmp_path):
    for max_steps in (4, 8):
        fit(_model(objective), genome, run_dir=tmp_path / "twice", max_steps=max_steps,
            allow=["trainer.max_steps"], **SMALL)  # fmt: skip
    fit(_model(objective), genome, run_dir=tmp_path / "once", max_steps=8, **SMALL)
    assert _hashes(tmp_path / "twice") == _hashes(tmp_path / "once")


def test_settings_reach_the_objective():
    typed = ["lm.objective.ramp_steps=20", "lm.objective.complementary=true",
             "lm.objective.density=[2,1.0,0.5]"]  # fmt: skip
    lm = build_language_model(compose("config=tiny", "lm=mdlm_count", *typed), 0)
    assert lm.objective == ExactCount(ramp_steps=20, complementary=True, density=(2.0, 1.0, 0.5))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["lm=iupac_count", "+lm.objective.complementary=true"], "hides whole bases, and lm=iupac"),
        (["lm=mdlm_count", "lm.objective.density=[1,0]"], "must be positive numbers"),
    ],
)
def test_a_setting_that_cannot_act_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_language_model(compose("config=tiny", *overrides), 0)


def test_the_start_of_a_ramp_that_is_none_is_refused():
    tree = compose("config=tiny", "lm=mdlm_count", "lm.objective.ramp_from=0.5")
    with pytest.raises(ConfigError, match="ramp_from was given but has no effect: nothing rises"):
        ModelConfig(tree).build(0, frozenset(["lm.objective.ramp_from"]))


def test_blocks_follow_the_ramp_of_their_windows():
    objective = ExactCount(ramp_steps=10, ramp_from=0.25)
    lm = BlockDiffusionLM(
        DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY, objective=objective, block_length=8
    )
    tokens = torch.full((200, 16), 7)
    there = torch.ones_like(tokens, dtype=torch.bool)
    rows = torch.arange(len(tokens))
    for step, most in ((0, 2), (10, 8)):
        batch = Batch(tokens, there, there, None, rows, rows, len(rows), step=step)
        (draw,) = objective.hide(lm.process, lm._blocks(batch).rows)
        assert (draw.xt == lm.mask_id).sum(dim=1).max() == most
