"""Copy a run without what only training needs: `python -m dnamdlm.slim run_dir=DIR out=DIR`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Copy, and say how large the copy is."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.slimming import SlimSettings, slim

    print(slim(read_settings(SlimSettings, tree, given)).sentence)


if __name__ == "__main__":
    run_entry("slim", main)
