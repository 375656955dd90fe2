"""Which device a process of a training run has, resolved once from `trainer.accelerator`.

Lightning's own `auto` would take the GPU of a Mac, which has no float64, and noise is drawn in it.
Without Lightning, so that a command can ask before it loads that.
"""

from __future__ import annotations

import torch

from dnamdlm.errors import ConfigError
from dnamdlm.training.launch import launched_local_rank
from dnamdlm.training.trainer_settings import TrainerSettings

_CUDA_NAMES = ("gpu", "cuda")


def resolve_accelerator(name: str) -> str:
    """The accelerator by the name that Lightning has for it; `auto` is CUDA where there is a card.

    >>> resolve_accelerator("cpu"), resolve_accelerator("gpu")
    ('cpu', 'cuda')

    Raises:
        ConfigError: for a GPU without float64.
    """
    if name == "mps":
        raise ConfigError(
            "trainer.accelerator=mps has no float64, in which noise is drawn; use cpu or auto"
        )
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if name in _CUDA_NAMES else name


def resolve_precision(precision: str, accelerator: str) -> str:
    """`auto` is bfloat16 autocast on a GPU that computes in it, float32 elsewhere.

    Args:
        precision: the setting `trainer.precision`.
        accelerator: the setting `trainer.accelerator`; a CPU computes in float32 although the
            machine has a GPU.
    """
    if precision != "auto":
        return precision
    # older cards only emulate bfloat16, slower than float32.
    is_fast = resolve_accelerator(accelerator) == "cuda" and torch.cuda.is_bf16_supported(
        including_emulation=False
    )
    return "bf16-mixed" if is_fast else "32-true"


def own_device(settings: TrainerSettings) -> torch.device:
    """The device on which this rank will train, before Lightning has chosen it.

    >>> own_device(TrainerSettings(max_steps=1, accelerator="cpu"))
    device(type='cpu')

    Returns:
        The CPU, or one of the cards: that of the rank on its machine, among those that
        `trainer.devices` names.
    """
    if resolve_accelerator(settings.accelerator) != "cuda" or not torch.cuda.is_available():
        return torch.device("cpu")
    named = str(settings.devices)
    numbers = [int(number) for number in named.split(",") if number.strip().isdigit()]
    if "," not in named or not numbers:
        numbers = list(range(torch.cuda.device_count()))
    return torch.device("cuda", numbers[launched_local_rank() % len(numbers)])
