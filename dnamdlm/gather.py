"""Join the parts of shards: `python -m dnamdlm.gather out=FILE`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Join, and say what the result holds."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.gathering import GatherSettings, gather

    path, headline = gather(read_settings(GatherSettings, tree, given))
    print(f"{headline}\nwrote {path}")


if __name__ == "__main__":
    run_entry("gather", main)
