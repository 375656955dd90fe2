"""Faults that a training process does to itself at an exact place and step.

A fault is a mapping with `place` or `poison`, and `step`, the number of finished updates. With
`place`, the process gets the signal `signal`, which is SIGKILL unless it says otherwise, or the
signals of a list one after the other. `group: true` sends it to the whole process group, and with
`user` the process becomes that user instead.

Places: `batch_start`, `update`, `batch_end`, `validation`, `row` (half a row of the metrics is
written), `save_begin`, `save_file` (after `count` synced files), `save_end` (renamed, nothing
pruned yet) and `prune` (half deleted).

`trace` writes which windows each step sees, `connections` each attempt to reach another machine;
`environment` and `umask` set what their names say.

Poisons: `loss` (times `factor`), `gradient`, `weight`, `moment`: a value becomes nan.
"""

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from dnamdlm.lm import checkpoint as folders
from dnamdlm.training import checkpointing, saving
from dnamdlm.training.metrics import MetricsFile
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.run_callback import RunCallback
from dnamdlm.training.validating import Validator


def install(faults):
    """Put the faults into the classes of this process."""
    for fault in faults:
        if "place" in fault:
            _PLACES[fault["place"]](fault)
        elif "poison" in fault:
            _POISONS[fault["poison"]](fault)
        else:
            ((name, value),) = fault.items()
            _SURROUNDINGS[name](value)


def _strike(fault):
    if "user" in fault:
        os.setuid(fault["user"])
        return
    numbers = fault.get("signal", "SIGKILL")
    for name in [numbers] if isinstance(numbers, str) else numbers:
        number = getattr(signal, name)
        if fault.get("group"):
            os.killpg(os.getpgrp(), number)
        else:
            os.kill(os.getpid(), number)
        time.sleep(fault.get("pause", 0.0))


def _before(owner, name, action):
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        action(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _after(owner, name, action):
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        result = original(*args, **kwargs)
        action(*args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def _hook(put, name):
    def add(fault):
        done = []

        def act(callback, *_, **__):
            # the micro-batches of a step come here too, and one blow is enough
            if callback.step == fault["step"] and not done:
                done.append(True)
                _strike(fault)

        put(RunCallback, name, act)

    return add


def _row(fault):
    original = MetricsFile.append

    def append(self, row):
        if row["step"] == fault["step"]:
            with self.path.open("a") as stream:
                stream.write(f"{row['step']},12")
            _strike(fault)
        original(self, row)

    MetricsFile.append = append


def _step_being_saved(path):
    return int(Path(path).name.rpartition("step_")[2].partition("-")[0])


def _save_begin(fault):
    def act(path, *_):
        if _step_being_saved(path) == fault["step"]:
            _strike(fault)

    _before(checkpointing, "write_folder", act)


def _save_end(fault):
    def act(path, *_):
        if _step_being_saved(path) == fault["step"]:
            _strike(fault)

    _after(checkpointing, "write_folder", act)


def _save_file(fault):
    seen = itertools.count(1)

    def act(path):
        is_ours = f"step_{fault['step']:09d}" in str(path)
        if is_ours and next(seen) == fault.get("count", 1):
            _strike(fault)

    _after(folders, "_sync", act)


def _prune(fault):
    def act(folder):
        doomed = folder.with_name(f".partial-{folder.name}")
        folder.rename(doomed)
        next(doomed.iterdir()).unlink()
        _strike(fault)

    def guarded(folder, keep):
        if max(_step_being_saved(p) for p in folder.glob("step_*")) == fault["step"]:
            _before(checkpointing, "remove_checkpoint_folder", act)
        return original(folder, keep)

    original = saving.prune
    saving.prune = guarded


def _validation(fault):
    done = []

    def act(_, module):
        if module.trainer.global_step == fault["step"] and not done:
            done.append(True)
            _strike(fault)

    _before(Validator, "metrics", act)


def _loss(fault):
    original = TrainingModule.training_step

    def training_step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        if self.trainer.global_step in _steps(fault):
            factor = float(fault.get("factor", "nan"))
            loss = loss * factor
            self._micro_losses[-1] = loss.detach()
        return loss

    TrainingModule.training_step = training_step


def _gradient(fault):
    def act(callback, _, module, __):
        if callback.step in _steps(fault):
            next(p for p in module.parameters() if p.grad is not None).grad.flatten()[0] = torch.nan

    _before(RunCallback, "on_before_optimizer_step", act)


def _weight(fault):
    def act(callback, _, module, *__):
        if callback.step in _steps(fault):
            with torch.no_grad():
                next(module.lm.parameters()).flatten()[0] = torch.nan

    _before(RunCallback, "on_train_batch_start", act)


def _moment(fault):
    def act(callback, trainer, *_):
        if callback.step in _steps(fault):
            state = next(iter(trainer.optimizers[0].state.values()))
            state["exp_avg_sq"].flatten()[0] = torch.inf

    _before(RunCallback, "on_train_batch_start", act)


def _steps(fault):
    return range(fault["step"], fault["step"] + fault.get("number", 1))


def _connections(path):
    """Write down each attempt to reach another machine."""
    log = Path(path)
    log.touch()

    def watch(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
            with log.open("a") as stream:
                stream.write(f"{event} {arguments}\n")

    sys.addaudithook(watch)


def _trace(path):
    path = Path(path)

    def act(self, batch, _):
        line = {
            "step": self.trainer.global_step,
            "start": batch.start.tolist(),
            "key": batch.key.tolist(),
            "row": batch.row.tolist(),
        }
        with path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")

    _before(TrainingModule, "training_step", act)


_PLACES = {
    "batch_start": _hook(_before, "on_train_batch_start"),
    "update": _hook(_before, "on_before_optimizer_step"),
    "batch_end": _hook(_after, "on_train_batch_end"),
    "validation": _validation,
    "row": _row,
    "save_begin": _save_begin,
    "save_file": _save_file,
    "save_end": _save_end,
    "prune": _prune,
}
_SURROUNDINGS = {
    "trace": _trace,
    "environment": os.environ.update,
    "umask": os.umask,
    "connections": _connections,
}
_POISONS = {"loss": _loss, "gradient": _gradient, "weight": _weight, "moment": _moment}
