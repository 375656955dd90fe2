"""Two real processes that talk over gloo, and what a launcher tells them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.lm.language_model import LossTerms
from dnamdlm.training.hardware import ShardedStrategy, hardware
from dnamdlm.training.launch import is_child_of_rank_zero, launched_rank, launched_shape
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, WarmupConstant
from dnamdlm.training.trainer_settings import TrainerSettings
from tests.helpers.small_runs import train_small

ROOT = Path(__file__).resolve().parents[2]
_VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS",
    "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_NNODES", "SLURM_JOB_NAME",
)  # fmt: skip
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
}  # fmt: skip
SRUN = {
    "SLURM_NTASKS": "16", "SLURM_STEP_ID": "0", "SLURM_PROCID": "9", "SLURM_NNODES": "2",
    "SLURM_JOB_NAME": "dna",
}  # fmt: skip


@pytest.fixture
def environment(monkeypatch):
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return lambda values: [monkeypatch.setenv(*item) for item in values.items()]


def test_two_processes_sum_agree_and_share_weights():
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
         "-m", "tests.helpers.two_ranks"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is done") == 2


@pytest.mark.parametrize(
    ("variables", "rank", "shape", "is_child"),
    [
        ({}, 0, None, False),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, 1, None, True),
        (TORCHRUN, 5, (4, 2), False),
        (SRUN, 9, (8, 2), False),
        ({**SRUN, "SLURM_JOB_NAME": "interactive"}, 0, None, False),
        ({**SRUN, "SLURM_STEP_ID": "4294967291"}, 0, None, False),
        ({name: value for name, value in SRUN.items() if name != "SLURM_STEP_ID"}, 0, None, False),
    ],
    ids=["alone", "lightning", "torchrun", "srun", "interactive shell", "batch step", "no step"],
)
def test_the_launcher_is_recognised_by_its_variables(environment, variables, rank, shape, is_child):
    environment(variables)
    assert (launched_rank(), launched_shape()) == (rank, shape)
    assert is_child_of_rank_zero() is is_child


def settings(**changes):
    return TrainerSettings(max_steps=1, global_batch_size=8, accelerator="cpu", **changes)


def test_auto_takes_the_devices_and_machines_that_the_launcher_started(environment):
    environment(TORCHRUN)
    found = hardware(settings())
    assert (found["devices"], found["num_nodes"]) == (4, 2)
    assert isinstance(hardware(settings(strategy="fsdp2"))["strategy"], ShardedStrategy)


def test_one_process_needs_no_strategy(environment):
    environment({})
    assert hardware(settings())["strategy"] == "auto"


@pytest.mark.parametrize(
    ("variables", "changes", "message"),
    [
        (TORCHRUN, {"devices": 2}, "trainer.devices=2 contradicts the launcher, which started 4"),
        (TORCHRUN, {"num_nodes": 3}, "trainer.num_nodes=3 contradicts the launcher"),
        ({}, {"num_nodes": 2}, "trainer.num_nodes=2 needs a launcher"),
    ],
)
def test_settings_that_contradict_the_launcher_are_refused(
    environment, variables, changes, message
):
    environment(variables)
    with pytest.raises(ConfigError, match=message):
        hardware(settings(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "dp"}, "trainer.strategy=dp is unknown; choose auto, ddp, fsdp2"),
        ({"num_nodes": 0}, "trainer.num_nodes=0 must be auto or at least 1"),
        ({"num_nodes": "many"}, "trainer.num_nodes=many must be auto or at least 1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        settings(**changes)


class Line(nn.Module):
    """A loss that is known: the weight times the token, where the token counts."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def loss_terms(self, batch):
        return LossTerms(torch.where(batch.valid, self.weight * batch.tokens, 0.0), batch.valid)


def batch_of(tokens, valid):
    rows = torch.arange(len(tokens))
    return Batch(
        tokens=torch.tensor(tokens), present=torch.ones_like(torch.tensor(tokens)).bool(),
        valid=torch.tensor(valid).bool(), weight=None, key=rows, row=rows, global_size=len(tokens),
        start=rows,
    )  # fmt: skip


def test_the_gradient_is_the_mean_over_the_valid_tokens_of_the_global_batch():
    module = TrainingModule(
        Line(), AdamWSettings(0.1), WarmupConstant(warmup_steps=0), max_steps=1, averaging_decay=0.9
    )
    module.trainer = SimpleNamespace(accumulate_grad_batches=2)
    module.begin_step()
    parts = [batch_of([[1, 2, 3]], [[1, 1, 1]]), batch_of([[4, 5, 6]], [[0, 0, 1]])]
    for number, part in enumerate(parts):
        # Lightning divides by the number of micro-batches before it goes backward.
        (module.training_step(part, number) / 2).backward()
        module.on_after_backward()
    # not 4, which the mean of the two means would be.
    assert module.lm.weight.grad.item() == pytest.approx((1 + 2 + 3 + 6) / 4)


def test_a_machine_that_has_srun_trains_without_it_and_without_a_warning(tmp_path, monkeypatch):
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(srun.parent), prepend=os.pathsep)
    (tmp_path / "g.fa").write_text("".join(f">{name}\n{'ACGTTGCA' * 8}\n" for name in "abc"))
    # a warning of Lightning would be an error here.
    train_small(tmp_path)
    assert (tmp_path / "run" / "metrics.csv").exists()
