"""Score variants: `python -m dnamdlm.score model=RUN variants=VCF data.fasta=FILE out=FILE`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Score, and say where the table lies."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.score.score_settings import ScoreEntry
    from dnamdlm.assembly.score.scoring import score
    from dnamdlm.data.output_streams import message_stream

    path, headline = score(read_settings(ScoreEntry, tree, given))
    print(f"{headline}\nwrote {path}", file=message_stream(path))


if __name__ == "__main__":
    run_entry("score", main)
