"""A small model of a genome and heads of it, for commands that are run in parts or over ranks."""

from tests.helpers import entries
from tests.helpers.small_runs import train_small


def make_models(folder, run, heads, *, table, seed=1, blocks=1):
    """Train on `g.fa` of a folder, with records r1 and r2 held out, and fit heads to a table."""
    train_small(folder, f"seed={seed}", run=run, length=64, valid="r1", test="r2", blocks=blocks)
    entries.finetune(
        entries.composed(
            "finetune", "config=table", f"data.train={folder}/{table}", f"model={folder}/{run}",
            f"run_dir={folder}/{heads}", "seeds=2", "training.epochs=1", "baselines=[]",
        )
    )  # fmt: skip
