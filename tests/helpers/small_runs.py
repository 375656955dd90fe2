"""A small model of the genome of a folder, trained for two steps."""

from tests.helpers import entries


def train_small(folder, *settings, run="run", length=32, valid="b", test="c", blocks=1):
    """Train on `g.fa` of a folder, with one record held out for each of two splits."""
    entries.train(
        entries.composed(
            "train", "config=tiny", f"data.fasta={folder}/g.fa", "data.annotation=null",
            f"data.length={length}", f"data.valid=[{valid}]", f"data.test=[{test}]",
            "trainer.max_steps=2", "trainer.valid_windows=2", "trainer.global_batch_size=4",
            "trainer.accelerator=cpu", f"data.cache_dir={folder}/cache", f"run_dir={folder}/{run}",
            "backbone.hidden_size=16", f"backbone.num_blocks={blocks}", *settings,
        )
    )  # fmt: skip
