"""Exported torch programs as rewards, with their gradients.

A program is what `torch.export.save` writes (.pt2): a graph of operations with its weights, made
from any network without the code of the network. Reading one is as unsafe as running code: the
format may hold pickled objects and compiled libraries, so `trust` must name the file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.errors import ConfigError, DataError
from dnamdlm.rewards.sequence_rewards import store_codes

# what torch raises for a file that is not a program, and for an input that does not fit it.
_UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError,
    ValueError, zipfile.BadZipFile,
)  # fmt: skip


class ProgramReward:
    """A number of an exported program for each sequence.

    The program reads float32 (N, 4, L), one where the base is A, C, G, T in this order, with any N,
    and gives (N,) or (N, K).

    Attributes:
        name: the file, with the output where there are several.
    """

    def __init__(
        self,
        path: str,
        *,
        output: int | None = None,
        device: str = "cpu",
        trust: Sequence[str] = (),
        setting: str = "reward",
    ) -> None:
        """Read the program.

        Args:
            path: file that `torch.export.save` wrote.
            output: number of the output from 0, for a program with several.
            device: where it runs.
            trust: stems of files that may be read.
            setting: for messages.

        Raises:
            ConfigError: if the file is absent, not trusted, or no exported program.
        """
        self.path, self.output, self.device, self.setting = path, output, device, setting
        self.name = path if output is None else f"{path}:{output}"
        stem = Path(path).stem
        if not Path(path).is_file():
            raise ConfigError(f"{setting}={path} does not exist; check the path")
        if stem not in trust:
            raise ConfigError(
                f"{setting}={path} is an exported program, whose file may run code when it is "
                f"read; if you trust it, say trust=[{stem}]"
            )
        try:
            program = torch.export.load(path).module()
        except _UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"{setting}={path} cannot be read as an exported program ({reason}); write it with "
                "torch.export.save"
            ) from error
        self.program = program.to(device)

    def batch(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """The numbers, (N,).

        Raises:
            DataError: if the program cannot read these sequences, or gives another shape.
        """
        found = np.zeros(len(sequences))
        lengths = np.array([len(text) for text in sequences])
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            with torch.no_grad():
                given = one_hot([sequences[int(row)] for row in rows]).to(self.device)
                found[rows] = self._numbers(given).double().cpu().numpy()
        return found

    def gradient(self, sequences: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The numbers, (N,), and their derivatives by the input, (N, L, 4) in the order A, C, G, T.

        Raises:
            DataError: as `batch`, or if the program is not differentiable.
        """
        with torch.enable_grad():
            given = one_hot(sequences).to(self.device).requires_grad_()
            numbers = self._numbers(given)
            if not numbers.requires_grad:
                raise DataError(
                    f"{self.setting}={self.name} has no gradient; export it without torch.no_grad, "
                    "or use proposal=first_order"
                )
            (slope,) = torch.autograd.grad(numbers.sum(), given)
        slope = slope.transpose(1, 2).double().cpu().numpy()
        return numbers.detach().double().cpu().numpy(), slope

    def _numbers(self, given: Float[Tensor, "N 4 L"]) -> Float[Tensor, " N"]:
        try:
            found = self.program(given)
        except _UNREADABLE as error:
            reason = str(error).partition("\n")[0][:200]
            raise DataError(
                f"{self.setting}={self.name} cannot read {tuple(given.shape)} ({reason}); export a "
                "program of float32 (N, 4, L) with a dynamic N, for sequences of this length"
            ) from error
        shape = tuple(getattr(found, "shape", ()))
        if len(shape) == 2 and shape[1] == 1 and self.output is None:
            return found[:, 0]
        if len(shape) == 2 and self.output is not None and self.output < shape[1]:
            return found[:, self.output]
        if shape != (len(given),) or self.output is not None:
            raise DataError(
                f"{self.setting}={self.name} gave numbers of shape {shape} for {len(given)} "
                f"sequences; let it give ({len(given)},), or ({len(given)}, K) with output: NUMBER "
                "below K in its term"
            )
        return found


def one_hot(sequences: Sequence[str]) -> Float[Tensor, "N 4 L"]:
    """One where the base is A, C, G, T in this order, float32; all sequences have one length.

    >>> one_hot(["AGT"])[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    codes = np.stack([store_codes(text) for text in sequences]).astype(np.int64)
    return torch.nn.functional.one_hot(torch.from_numpy(codes), 4).transpose(1, 2).float()
