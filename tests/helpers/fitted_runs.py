"""Short runs of a user's own network, and what they have left."""

import csv
import hashlib
import json
from pathlib import Path

import torch

from dnamdlm.assembly.train.fitting import fit

STEPS = 8


SMALL = {
    "device": "cpu", "threads": 1, "length": 32, "valid": ["r2"], "global_batch_size": 4,
    "warmup_steps": 2, "valid_every": 4, "valid_windows": 4, "valid_draws": 1, "log_every": 1,
    "checkpoint_every": 3,
}  # fmt: skip


def made(kind, *arguments, **keywords):
    torch.manual_seed(0)
    return kind(*arguments, **keywords)


def fitted(folder, model, run_dir, max_steps=STEPS, data=None, **changes):
    data = folder / "my.fa" if data is None else data
    return fit(model, data, run_dir=run_dir, max_steps=max_steps, **SMALL | changes)


def digests(run_dir, step=STEPS):
    found = Path(run_dir) / "checkpoints" / f"step_{step:09d}"
    names = ("weights.safetensors", "average.safetensors", "trainer.safetensors", "trainer.json")
    return {name: hashlib.sha256((found / name).read_bytes()).hexdigest() for name in names}


def rows(run_dir):
    timed = ("seconds", "bases_per_second")
    with (Path(run_dir) / "metrics.csv").open() as stream:
        return [
            {key: value for key, value in row.items() if key not in timed}
            for row in csv.DictReader(stream)
        ]


def description_of(run_dir):
    (newest,) = sorted((Path(run_dir) / "checkpoints").iterdir())[-1:]
    return json.loads((newest / "model.json").read_text())


def logits_of(lm):
    ids = torch.tensor([[7, 8, 9, 10, 3, 3, 7, 8]])
    time = torch.full((1,), 0.5)
    with torch.no_grad():
        return lm.logits(ids, time)
