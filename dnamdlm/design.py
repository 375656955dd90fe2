"""Design sequences: `python -m dnamdlm.design model=RUN reward=HEAD out=FILE.fa`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Design, and print what was written and how many draws it took."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.design.design_settings import DesignSettings
    from dnamdlm.assembly.design.designing import design
    from dnamdlm.data.output_streams import message_stream

    path, text = design(read_settings(DesignSettings, tree, given))
    print(text, file=message_stream(path))


if __name__ == "__main__":
    run_entry("design", main)
