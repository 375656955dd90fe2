"""Write a model for others: `python -m dnamdlm.export model=RUN out=DIR`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Export, and say what was written."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.exporting import ExportSettings, export

    print(export(read_settings(ExportSettings, tree, given)).sentence)


if __name__ == "__main__":
    run_entry("export", main)
