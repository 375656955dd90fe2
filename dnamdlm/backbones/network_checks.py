"""Checks of settings shared by backbones; a message names the setting `backbone.<name>`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional

from dnamdlm.errors import ConfigError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "gelu": functional.gelu,
    "silu": functional.silu,
    "relu": functional.relu,
}


def check_positive(**values: float | int) -> None:
    """Refuse sizes that are zero or negative."""
    for name, value in values.items():
        if value <= 0:
            raise ConfigError(f"backbone.{name} must be positive, got {value}")


def check_dropout(dropout: float | int) -> None:
    """Refuse values that are not a probability below 1."""
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"backbone.dropout must lie in [0, 1), got {dropout}")


def check_activation(name: str) -> None:
    """Refuse names that are not in `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"backbone.activation={name!r} is unknown; use one of {', '.join(ACTIVATIONS)}"
        )


def check_off_or_positive(**values: int) -> None:
    """Refuse negative sizes of parts that 0 switches off."""
    for name, value in values.items():
        if value < 0:
            raise ConfigError(f"backbone.{name} must be 0 (off) or positive, got {value}")


def check_off_or_odd(**widths: int) -> None:
    """Refuse widths of convolutions that are neither 0 (off) nor odd."""
    for name, width in widths.items():
        if width < 0 or (width and width % 2 == 0):
            raise ConfigError(f"backbone.{name} must be 0 (off) or odd, got {width}")


def check_heads(hidden_size: int, num_heads: int) -> None:
    """Refuse heads whose width is not an even integer, as rotary positions require."""
    check_positive(num_heads=num_heads)
    if hidden_size % (2 * num_heads):
        fitting = [n for n in range(1, hidden_size + 1) if hidden_size % (2 * n) == 0]
        raise ConfigError(
            f"backbone.num_heads={num_heads} does not split backbone.hidden_size={hidden_size} "
            f"into heads of even width; use one of {fitting}"
        )


def unused_conditioning(*, time_conditioning: bool) -> dict[str, str]:
    """Settings of a network that change nothing unless it is conditioned on time, and why."""
    if time_conditioning:
        return {}
    return {"cond_size": "this network is not conditioned on time (backbone.time_conditioning)"}
