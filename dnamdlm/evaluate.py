"""Score a split, and generated sequences, under a model: `python -m dnamdlm.evaluate model=RUN`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree) -> None:
    """Evaluate, and say where the figures lie."""
    from dnamdlm.assembly.evaluate.evaluation import evaluate

    path, headline = evaluate(tree)
    print(headline)
    print(f"wrote {path}")


if __name__ == "__main__":
    run_entry("evaluate", main)
