"""Which windows a training run sees when it is stopped in the middle of a pass and resumed."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dnamdlm.command_line import run_entry
from dnamdlm.data.batch import Batch
from dnamdlm.train import main
from dnamdlm.training.module import TrainingModule

NUM_WINDOWS, BATCH_SIZE, STOP, KILL = 256, 4, 24, 30
STEPS_PER_PASS = NUM_WINDOWS // BATCH_SIZE
NUM_STEPS = 2 * STEPS_PER_PASS
# 256 windows of one chromosome, and a checkpoint at the step where the other trainer has one
SETTINGS = (
    "config=tiny", "data.train=[chrI]", "data.length=896", "data.jitter=false",
    f"trainer.max_steps={NUM_STEPS}", f"trainer.global_batch_size={BATCH_SIZE}",
    "trainer.micro_batch_size=null", f"trainer.checkpoint_every={STOP}",
    f"trainer.valid_every={NUM_STEPS}", "trainer.accelerator=cpu", "trainer.devices=1",
)  # fmt: skip

Seen = list[tuple[int, ...]]


class Recorder(LightningModule):
    """A model of one weight that remembers which items it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: Seen = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Remember the items."""
        del batch_idx
        self.seen.append(tuple(batch.tolist()))
        return self.weight**2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any optimizer will do."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def by_lightning(folder: Path, num_steps: int, checkpoint: Path | None) -> tuple[Seen, Path]:
    """A shuffled data loader and a trainer, as its documentation shows them."""
    seed_everything(1, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model = Recorder()
    saver = ModelCheckpoint(folder, every_n_train_steps=STOP, save_top_k=-1)
    trainer = Trainer(
        max_steps=num_steps, accelerator="cpu", logger=False, callbacks=[saver],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    items = DataLoader(range(NUM_WINDOWS), batch_size=BATCH_SIZE, shuffle=True)  # pyright: ignore[reportArgumentType]
    trainer.fit(model, items, ckpt_path=checkpoint)
    return model.seen, Path(saver.best_model_path or saver.last_model_path)


def by_command(folder: Path, killed_after: int | None) -> Seen:
    """Windows that `dnamdlm.train` computes each step from, killed on the way and started again."""
    trace, run_dir = folder / "trace", folder / "run"
    folder.mkdir()
    if killed_after is not None:
        code = _train(trace, run_dir, killed_after)
        if code != -signal.SIGKILL:
            raise RuntimeError(f"the run was not killed but ended with status {code}")
    if code := _train(trace, run_dir, -1):
        raise RuntimeError(f"the run ended with status {code}")
    # a step that was lost with its process is computed again: what counts is the last time
    last = {}
    for line in trace.read_text(encoding="utf-8").splitlines():
        batch = json.loads(line)
        last[batch["step"]] = tuple(batch["start"])
    return [last[step] for step in range(NUM_STEPS)]


def _train(trace: Path, run_dir: Path, kill: int) -> int:
    """Exit status of a training process that writes down its windows and may kill itself."""
    command = [sys.executable, "-m", "benchmarks.resumption", str(trace), str(kill)]
    settings = [*SETTINGS, f"run_dir={run_dir}"]
    return subprocess.run([*command, *settings], capture_output=True, check=False).returncode


def train_and_watch() -> None:
    """The inside of that process: `dnamdlm.train` with an eye on its windows."""
    trace, kill, *settings = sys.argv[1:]
    original = TrainingModule.training_step

    def training_step(self: TrainingModule, batch: Batch, batch_idx: int) -> Tensor:
        step = self.trainer.global_step
        assert batch.start is not None
        with Path(trace).open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, "start": batch.start.tolist()}) + "\n")
        if step == int(kill):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, batch, batch_idx)

    TrainingModule.training_step = training_step
    run_entry("train", main, settings)


def row_of(name: str, unbroken: Seen, resumed: Seen) -> tuple[str, ...]:
    """What the broken run saw of the first pass, compared with the unbroken run."""
    first_pass = [item for batch in resumed[:STEPS_PER_PASS] for item in batch]
    expected = {item for batch in unbroken[:STEPS_PER_PASS] for item in batch}
    twice = len(first_pass) - len(set(first_pass))
    same = sum(ours == theirs for ours, theirs in zip(resumed, unbroken, strict=False))
    return (
        name,
        f"{twice} of {len(expected)}",
        f"{len(expected - set(first_pass))}",
        f"{same} of {len(unbroken)}",
    )


def resumption_rows(folder: Path) -> list[tuple[str, ...]]:
    """One row per trainer."""
    folder = folder / "resumption"
    folder.mkdir()
    unbroken, _ = by_lightning(folder / "unbroken", NUM_STEPS, None)
    start, checkpoint = by_lightning(folder / "broken", STOP, None)
    rest, _ = by_lightning(folder / "resumed", NUM_STEPS, checkpoint)
    ours = by_command(folder / "ours", None)
    killed = by_command(folder / "killed", KILL)
    return [
        row_of("dnamdlm", ours, killed),
        row_of("Lightning, shuffled DataLoader", unbroken, start + rest),
    ]


if __name__ == "__main__":
    train_and_watch()
