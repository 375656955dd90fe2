"""Where a model runs, and how much of it at once."""

from __future__ import annotations

import torch

from dnamdlm.errors import ConfigError


def windows_at_once(length: int, device: torch.device, num_ids: int = 12) -> int:
    """Windows per call without gradients: what fits the cache of a CPU, or fills a GPU.

    Args:
        length: positions per window.
        device: where the model is.
        num_ids: size of the vocabulary; a large one makes the logits the largest tensor.
    """
    positions, numbers = (4096, 1 << 26) if device.type == "cpu" else (1 << 17, 1 << 31)
    positions = min(positions, numbers // num_ids)
    return max(1, positions // length)


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU.

    Raises:
        ConfigError: if the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device={name} is not available here; use device=cpu or device=auto"
        ) from error
    return device
