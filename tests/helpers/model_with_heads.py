"""A small model of a genome and heads of it, for commands that are run in parts or over ranks."""

from tests.helpers import entries


def make_models(folder, run, heads, *, table, seed=1, blocks=1):
    """Train on `g.fa` of a folder, with records r1 and r2 held out, and fit heads to a table."""
    entries.train(
        entries.composed(
            "train", "config=tiny", f"data.fasta={folder}/g.fa", "data.annotation=null",
            "data.length=64", "data.valid=[r1]", "data.test=[r2]", "trainer.max_steps=2",
            "trainer.valid_windows=2", "trainer.global_batch_size=4", "trainer.accelerator=cpu",
            f"data.cache_dir={folder}/cache", f"run_dir={folder}/{run}", "backbone.hidden_size=16",
            f"backbone.num_blocks={blocks}", f"seed={seed}",
        )
    )  # fmt: skip
    entries.finetune(
        entries.composed(
            "finetune", "config=table", f"data.train={folder}/{table}", f"model={folder}/{run}",
            f"run_dir={folder}/{heads}", "seeds=2", "training.epochs=1", "baselines=[]",
        )
    )  # fmt: skip
