"""Embed sequences: `python -m dnamdlm.embed model=RUN data.fasta=FILE out=FILE.parquet`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree) -> None:
    """Embed, and say where the table lies."""
    from dnamdlm.assembly.embed.embedding import embed

    path, headline = embed(tree)
    print(headline)
    print(f"wrote {path}")


if __name__ == "__main__":
    run_entry("embed", main)
