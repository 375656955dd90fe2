"""Embed sequences: `python -m dnamdlm.embed model=RUN data.fasta=FILE out=FILE.parquet`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Embed, and say where the table lies."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.embed.embed_settings import EmbedSettings
    from dnamdlm.assembly.embed.embedding import embed
    from dnamdlm.data.output_streams import message_stream

    path, headline = embed(read_settings(EmbedSettings, tree, given))
    print(f"{headline}\nwrote {path}", file=message_stream(path))


if __name__ == "__main__":
    run_entry("embed", main)
