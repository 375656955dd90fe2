"""Score a held-out split under a model: `python -m dnamdlm.evaluate model=RUN`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Evaluate, and print where the figures are."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
    from dnamdlm.assembly.evaluate.evaluation import evaluate
    from dnamdlm.data.output_streams import message_stream

    path, headline = evaluate(read_settings(EvaluateSettings, tree, given))
    print(f"{headline}\nwrote {path}", file=message_stream(path))


if __name__ == "__main__":
    run_entry("evaluate", main)
