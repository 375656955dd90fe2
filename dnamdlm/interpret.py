"""Mutagenesis and dependency maps: `python -m dnamdlm.interpret model=RUN locus=LOCUS out=DIR`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Interpret, and print where the files are."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.interpret.interpret_settings import InterpretSettings
    from dnamdlm.assembly.interpreting import interpret
    from dnamdlm.data.output_streams import message_stream

    folder, sentence = interpret(read_settings(InterpretSettings, tree, given))
    print(f"{sentence}\nwrote {folder}", file=message_stream(folder))


if __name__ == "__main__":
    run_entry("interpret", main)
