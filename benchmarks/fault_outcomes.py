"""Settings that change on resuming, and tables on a full disk, here and elsewhere."""

import csv
import logging
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dnamdlm.data.files import write_text
from dnamdlm.errors import DataError

Row = tuple[str, ...]
BEFORE, AFTER, STOP = 0.001, 0.1, 4
_LIMIT_BYTES = 4096


class Rated(LightningModule):
    """A model of one weight with a learning rate and a constant schedule of it."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Any loss will do."""
        del batch, batch_idx
        return self.weight**2

    def configure_optimizers(self) -> Any:
        """As the documentation of Lightning shows it."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)]


def changed_rates(folder: Path) -> list[Row]:
    """The learning rate after resuming with another one."""
    folder.mkdir(exist_ok=True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    checkpoint, rate = None, 0.0
    for number, steps in ((BEFORE, STOP), (AFTER, 2 * STOP)):
        model = Rated(number)
        saver = ModelCheckpoint(folder, every_n_train_steps=STOP, save_top_k=-1)
        trainer = Trainer(
            max_steps=steps, accelerator="cpu", logger=False, callbacks=[saver],
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, DataLoader(range(99)), ckpt_path=checkpoint)  # pyright: ignore[reportArgumentType]
        checkpoint = saver.best_model_path
        rate = trainer.optimizers[0].param_groups[0]["lr"]
    run_dir = folder / "run"
    common = [
        sys.executable, "-m", "dnamdlm.train", "config=tiny", f"run_dir={run_dir}",
        "learning_rate=constant", "learning_rate.warmup_steps=1", "trainer.log_every=1",
        "trainer.accelerator=cpu", "trainer.devices=1",
    ]  # fmt: skip
    changes = [f"optimizer.learning_rate={AFTER}", "resume.allow=[optimizer,trainer]"]
    for arguments in ([f"trainer.max_steps={STOP}"], [f"trainer.max_steps={2 * STOP}", *changes]):
        subprocess.run([*common, *arguments], check=True, capture_output=True)
    with (run_dir / "metrics.csv").open(encoding="ascii") as stream:
        ours = float(list(csv.DictReader(stream))[-1]["learning_rate"])
    return [(name, f"{found:g}") for name, found in (("dnamdlm", ours), ("Lightning", rate))]


def full_disks(folder: Path) -> list[Row]:
    """What is at a target after a write for which there is no space."""
    table = pd.DataFrame({"name": [f"row_{i}" for i in range(2000)]})
    writers: dict[str, Callable[[Path], object]] = {
        "dnamdlm": lambda path: write_text(path, table.to_csv(index=False)),
        "pandas, to_csv": lambda path: table.to_csv(path, index=False),
    }
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows: list[Row] = []
    for name, write in writers.items():
        path, link = folder / "real.csv", folder / "link.csv"
        path.write_text("earlier\n", encoding="ascii")
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT_BYTES, kept[1]))
        try:
            write(link)
            said = "nothing"
        except (OSError, DataError) as error:
            said = type(error).__name__
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        content = path.read_text(encoding="ascii")
        left = "the earlier file" if content == "earlier\n" else f"**{len(content):,} bytes**"
        rows.append((name, said, left))
    return rows
