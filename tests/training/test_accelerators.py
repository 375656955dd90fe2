"""The device of a training process, resolved once from the settings."""

import os

import pytest
import torch
from lightning.pytorch.plugins.precision import DoublePrecision

from dnamdlm.assembly.devices import choose_device
from dnamdlm.data.batch import Batch
from dnamdlm.errors import ConfigError
from dnamdlm.training.accelerators import (
    arithmetic_of_steps,
    own_device,
    precision_beside_steps,
    resolve_accelerator,
    resolve_precision,
)
from dnamdlm.training.hardware import hardware
from dnamdlm.training.trainer_settings import TrainerSettings


@pytest.fixture
def cards(monkeypatch):
    """Says that the machine has so many cards, which compute in bfloat16 or only emulate it."""

    def say(count, *, has_bfloat16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda *, including_emulation=True: has_bfloat16 or including_emulation,
        )

    return say


def _settings(**settings):
    return TrainerSettings(max_steps=1, **settings)


def test_the_cpu_of_a_machine_with_a_card_trains_in_float32(cards):
    cards(1)
    assert resolve_precision("auto", "cpu") == "32-true"
    assert own_device(_settings(accelerator="cpu")) == torch.device("cpu")
    arguments = hardware(_settings(accelerator="cpu", devices=1))
    assert (arguments["accelerator"], arguments["precision"]) == ("cpu", "32-true")


@pytest.mark.parametrize(
    ("count", "has_bfloat16", "precision"),
    [(0, False, "32-true"), (1, True, "bf16-mixed"), (1, False, "32-true")],
)
def test_auto_is_bfloat16_where_the_card_computes_in_it(cards, count, has_bfloat16, precision):
    cards(count, has_bfloat16=has_bfloat16)
    assert resolve_precision("auto", "auto") == precision
    assert resolve_precision("16-mixed", "auto") == "16-mixed"


def test_auto_is_cuda_or_the_cpu_and_nothing_else(cards):
    cards(0)
    assert resolve_accelerator("auto") == "cpu"
    cards(2)
    assert [resolve_accelerator(name) for name in ("auto", "gpu", "cuda")] == ["cuda"] * 3


def test_in_float64_a_batch_has_float64_weights():
    arguments = hardware(_settings(accelerator="cpu", devices=1, precision="64-true"))
    (plugin,) = (x for x in arguments["plugins"] if isinstance(x, DoublePrecision))
    tokens, everywhere = torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool)
    index = torch.arange(1)
    batch = Batch(
        tokens, everywhere, everywhere, torch.ones(1, 2), key=index, row=index, global_size=1
    )
    read = plugin.convert_input(batch)
    assert (read.weight.dtype, read.tokens.dtype) == (torch.float64, torch.int64)
    assert arguments["precision"] is None


def test_a_gpu_without_float64_is_refused():
    with pytest.raises(ConfigError, match="accelerator=mps has no float64"):
        resolve_accelerator("mps")
    with pytest.raises(ConfigError, match="device=mps is not available"):
        choose_device("mps")


@pytest.mark.parametrize(
    ("environment", "devices", "number"),
    [
        ({}, "auto", 0),
        ({"LOCAL_RANK": "2", "TORCHELASTIC_RUN_ID": "run"}, "auto", 2),
        ({"LOCAL_RANK": "1"}, "1,3", 3),
        ({"LOCAL_RANK": "1"}, 4, 1),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_ID": "0", "SLURM_LOCALID": "3"}, "auto", 3),
    ],
    ids=["alone", "torchrun", "chosen cards", "child of rank 0", "srun"],
)
def test_a_rank_uses_its_own_card(cards, monkeypatch, environment, devices, number):
    cards(4)
    for name in ("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert own_device(_settings(devices=devices)) == torch.device("cuda", number)


@pytest.mark.parametrize(
    ("settings", "precision"),
    [
        ({}, "auto"),
        ({"precision": "32-true"}, "32-true"),
        ({"precision": "64-true"}, "32-true"),
        ({"accelerator": "cpu"}, "32-true"),
    ],
)
def test_who_trains_in_float32_is_validated_in_it(cards, settings, precision):
    cards(1)
    assert precision_beside_steps(_settings(**settings)) == precision


def test_sums_have_a_fixed_order_on_a_gpu_for_as_long_as_a_run_trains(cards, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    cards(1)
    with arithmetic_of_steps(_settings(accelerator="cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
    with arithmetic_of_steps(_settings()):
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.get_float32_matmul_precision() == "highest"
    with arithmetic_of_steps(_settings(precision="32-true")):
        assert torch.get_float32_matmul_precision() == "highest"
