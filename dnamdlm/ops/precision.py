"""In which arithmetic networks compute outside training: the setting `precision`.

`32-true` is float32 throughout. `tf32` rounds the factors of float32 matrix products to 10 bits on
a CUDA GPU and adds in float32. `bf16-mixed` is bfloat16 autocast, as in training; products that
stay in float32 are as with `tf32`. What is done with the logits is in float32 or wider. `auto` is
`tf32` on a CUDA GPU and `32-true` elsewhere.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from dnamdlm.errors import ConfigError

Precision = Literal["auto", "32-true", "tf32", "bf16-mixed"]


@dataclass
class _Setting:
    """The process-wide precision, changed by `set_precision` alone."""

    precision: Precision = "auto"


_setting = _Setting()


def get_precision() -> Precision:
    """The process-wide precision, `auto` unless changed."""
    return _setting.precision


def set_precision(name: str, device: torch.device) -> None:
    """Set the process-wide precision.

    Args:
        name: `auto`, `32-true`, `tf32` or `bf16-mixed`.
        device: where networks will run.

    Raises:
        ConfigError: if the name is unknown, or has no meaning on the device.
    """
    known: dict[str, Precision] = {choice: choice for choice in get_args(Precision)}
    if name not in known:
        raise ConfigError(f"precision={name} is unknown; use one of {', '.join(known)}")
    if name == "tf32" and device.type != "cuda":
        raise ConfigError(
            f"precision=tf32 is arithmetic of CUDA GPUs, and the device is {device.type}; use "
            "32-true or bf16-mixed"
        )
    _setting.precision = known[name]


def precision_on(device: torch.device) -> Precision:
    """The process-wide precision with `auto` resolved.

    >>> precision_on(torch.device("cpu"))
    '32-true'
    """
    if _setting.precision != "auto":
        return _setting.precision
    return "tf32" if device.type == "cuda" else "32-true"


@contextmanager
def computing_on(device: torch.device) -> Generator[None]:
    """Within the context networks on a device compute in the process-wide precision."""
    precision = precision_on(device)
    is_half = precision == "bf16-mixed"
    with (
        rounding_products(device, is_wanted=precision != "32-true"),
        torch.autocast(device.type, torch.bfloat16) if is_half else nullcontext(),
    ):
        yield


@contextmanager
def rounding_products(device: torch.device, *, is_wanted: bool) -> Generator[None]:
    """Within the context the factors of float32 products are rounded on a CUDA GPU, or are not."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if is_wanted else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
