"""What an interrupted fit needs to resume: its state after each epoch, in a folder of its own.

The folder appears whole or not at all. A resumed fit takes the same steps as an uninterrupted one
and ends with the same weights, on the same machine.
"""

from __future__ import annotations

import logging
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import (
    json_writer,
    read_description,
    read_tensors,
    tensors_writer,
    verify_folder,
    write_folder,
)
from dnamdlm.lm.module_weights import check_finite, check_fit
from dnamdlm.training.signals import StopRequest

logger = logging.getLogger(__name__)

_STATE, _TENSORS = "state.json", "state.safetensors"


class FitInterrupted(Exception):
    """A signal ended a fit; the epochs that were finished are kept."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


@dataclass(frozen=True)
class EpochKeeper:
    """Keeps the state of a fit after each epoch, and ends it when a signal asks for that.

    Attributes:
        folder: where the state is kept; None keeps nothing.
        stop: the signals; None is without them.
    """

    folder: Path | None = None
    stop: StopRequest | None = None

    def check(self) -> None:
        """Raise FitInterrupted if a signal has arrived."""
        if self.stop is not None and self.stop.number is not None:
            raise FitInterrupted(self.stop.number)

    def save(
        self,
        predictor: nn.Module,
        best: dict[str, Tensor],
        optimizer: torch.optim.Optimizer,
        facts: dict[str, Any],
    ) -> None:
        """Write the state; a failed write is a warning, and the fit continues.

        Args:
            predictor: with the weights of the latest epoch.
            best: the weights of the best epoch.
            optimizer: of the fit.
            facts: what else belongs to the state, for JSON.
        """
        if self.folder is None:
            return
        state = optimizer.state_dict()
        tensors = {f"latest.{name}": value for name, value in predictor.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in best.items()}
        tensors |= {
            f"optimizer.{index}.{name}": value
            for index, values in state["state"].items()
            for name, value in values.items()
        }
        tensors["random.cpu"] = torch.get_rng_state()
        device = next(predictor.parameters()).device
        if device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(device)
        facts = facts | {"rates": [group["lr"] for group in state["param_groups"]]}
        # two names of one tensor, such as tied weights, are stored as two tensors.
        copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        try:
            write_folder(
                self.folder, {_STATE: json_writer(facts), _TENSORS: tensors_writer(copies)}
            )
        except CheckpointError as error:
            logger.warning("the state of the fit is not kept: %s", error)

    def restore(
        self, predictor: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Set weights, optimizer and random numbers to the state that was kept.

        Returns:
            The facts and the best weights; None where there is no state that can be used.
        """
        if self.folder is None or not self.folder.is_dir():
            return None
        try:
            facts, tensors = _checked(self.folder, predictor)
        except CheckpointError as error:
            logger.warning("the fit starts anew: %s", error)
            return None
        predictor.load_state_dict(_within(tensors, "latest."))
        state = optimizer.state_dict()
        kept: dict[int, dict[str, Tensor]] = {}
        for name, value in _within(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            kept.setdefault(int(index), {})[key] = value
        groups = [
            group | {"lr": rate}
            for group, rate in zip(state["param_groups"], facts["rates"], strict=True)
        ]
        optimizer.load_state_dict({"state": kept, "param_groups": groups})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], next(predictor.parameters()).device)
        return facts, _within(tensors, "best.")

    def clear(self) -> None:
        """Remove the state of a fit that is finished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _checked(folder: Path, predictor: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and tensors of a state that fits a predictor and is finite.

    Raises:
        CheckpointError: naming what is damaged.
    """
    verify_folder(folder)
    facts = read_description(
        folder / _STATE, history=list, best=int, order=dict, schedule=dict, rates=list
    )
    path = folder / _TENSORS
    tensors = read_tensors(path)
    for part in ("latest.", "best."):
        check_fit(predictor, _within(tensors, part), path)
    check_finite(_within(tensors, "optimizer."), path)
    return facts, tensors


def _within(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
