"""One small network for windows of DNA of one kind, such as genes or the starts of genes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import dnamdlm
from benchmarks.started import completed
from dnamdlm.assembly.api import Model
from dnamdlm.data.genome.fasta_writer import write_fasta
from dnamdlm.errors import ConfigError

_NETWORK = (
    "backbone=dit", "backbone.hidden_size=96", "backbone.num_blocks=4", "backbone.num_heads=4",
    "backbone.mlp_ratio=2", "backbone.conv_width=5", "backbone.dropout=0.1",
)  # fmt: skip


def trained_on_windows(folder: Path, windows: Sequence[str], steps: int) -> Model:
    """The model of windows of one length in the given direction, trained unless that was done.

    Args:
        folder: of the runs; each set of windows and number of steps has one of its own.
        windows: letters, of which N are not learned.
        steps: updates of 32 windows.

    Raises:
        ConfigError: if the training fails.
    """
    length = len(windows[0])
    text = "\n".join(windows).encode()
    run = folder / f"{hashlib.sha256(text).hexdigest()[:12]}-{steps}-steps"
    fasta = run.with_name(f"{run.name}.fa")
    folder.mkdir(parents=True, exist_ok=True)
    write_fasta(fasta, ((str(n), window) for n, window in enumerate(windows)), width=length)
    every = min(steps, 500)
    completed(
        run, "train", "config=tiny", *_NETWORK, "lm=mdlm_count", "lm.objective.lowest=0.05",
        f"data.fasta={fasta}", "data.annotation=null", "data.valid=null", "data.test=null",
        "data.valid_fraction=0.05", "data.test_fraction=0.01", f"data.length={length}",
        "data.reverse_complement=false", "optimizer.learning_rate=0.002",
        "learning_rate.warmup_steps=100", "learning_rate.hold_fraction=0.5",
        f"trainer.max_steps={steps}", f"trainer.valid_every={every}", "trainer.log_every=250",
        f"trainer.checkpoint_every={every}", "trainer.valid_windows=256",
        "trainer.global_batch_size=32", "trainer.averaging_decay=0.995", "seed=1", "threads=1",
    )  # fmt: skip
    model = dnamdlm.load(str(run))
    if not isinstance(model, Model):
        raise ConfigError(f"{run} is not a language model; give another folder of runs")
    return model
