"""What decides the last digits of a run besides its settings, and a warning where it changes.

Floating-point sums depend on the order of their terms, which differs between kinds of devices,
instruction sets, numbers of threads, versions of torch, and between operators and what a compiler
makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dnamdlm.training.accelerators import resolve_accelerator

_KINDS: Mapping[str, str] = {
    "threads": "{} thread{}",
    "instruction_set": "the instruction set {}",
    "device": "the device {}",
    "torch": "torch {}",
    "loss": "the loss {}",
}
# what is not recorded.
_UNSAID: Mapping[str, str] = {"loss": "not compiled"}


def instruction_set() -> str:
    """The widest instructions of the processor that torch uses, such as AVX512."""
    return torch.backends.cpu.get_cpu_capability()


def device_name(accelerator: str) -> str:
    """The kind of device that `trainer.accelerator` means here."""
    resolved = resolve_accelerator(accelerator)
    if resolved != "cuda" or not torch.cuda.is_available():
        return "cpu" if resolved == "cpu" else accelerator
    return torch.cuda.get_device_name()


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What decides the last digits and has changed, in words; None where nothing has.

    >>> difference({"threads": "1", "torch": "2.9"}, {"threads": "2", "torch": "2.9"})
    '2 threads instead of 1'
    >>> difference({"torch": "2.9", "loss": "compiled by inductor"}, {"torch": "2.9"})
    'the loss not compiled instead of compiled by inductor'

    Args:
        before: as recorded, by an earlier version perhaps, which knew less.
        now: at present.
    """
    before, now = {**_UNSAID, **before}, {**_UNSAID, **now}
    changed = [
        f"{words.format(now[key], '' if now[key] == '1' else 's')} instead of {before[key]}"
        for key, words in _KINDS.items()
        if key in before and key in now and str(before[key]) != str(now[key])
    ]
    return ", ".join(changed) or None
