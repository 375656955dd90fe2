"""Which device a process of a training run has, resolved once from `trainer.accelerator`.

Lightning's own `auto` would take the GPU of a Mac, which has no float64, and noise is drawn in it.
Without Lightning, so that a command can ask before it loads that.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic

from dnamdlm.errors import ConfigError
from dnamdlm.ops.precision import rounding_products
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


def precision_beside_steps(settings: TrainerSettings) -> str:
    """The precision of validation, and of the float32 products in steps of mixed precision.

    >>> precision_beside_steps(TrainerSettings(max_steps=1, precision="32-true"))
    '32-true'

    Returns:
        A name for `dnamdlm.ops.set_precision`: `auto`, or `32-true` where the steps are in float32
        or wider, since who asks for that does not want less.
    """
    precision = resolve_precision(settings.precision, settings.accelerator)
    return "32-true" if precision in {"32-true", "64-true"} else "auto"


@contextmanager
def arithmetic_of_steps(settings: TrainerSettings) -> Generator[None]:
    """On a GPU round float32 products in steps of mixed precision, and fix the order of sums.

    The output layer stays in float32, whose products take most of a step of a large vocabulary
    unless they are rounded. Operators that add in a fixed order are taken where torch has them;
    some operators, and some packages, have none, so that equal bits are not promised.
    """
    if resolve_accelerator(settings.accelerator) != "cuda":
        yield
        return
    is_mixed = precision_beside_steps(settings) == "auto"
    with rounding_products(torch.device("cuda"), is_wanted=is_mixed), _fixed_order_of_sums():
        yield


@contextmanager
def _fixed_order_of_sums() -> Generator[None]:
    """Operators of torch that add in a fixed order, where it has them."""
    # read when the first matrix product is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    options: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        options.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    options.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        options.fill_uninitialized_memory = before[2]
