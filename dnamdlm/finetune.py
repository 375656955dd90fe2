"""Fit a prediction head on a trained model: `python -m dnamdlm.finetune config=NAME model=RUN`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree) -> None:
    """Fit and test, and say where the figures lie."""
    from dnamdlm.assembly.finetune.finetuning import finetune

    path, headline = finetune(tree)
    print(headline)
    print(f"wrote {path}, results.tsv and one folder per split beside it")


if __name__ == "__main__":
    run_entry("finetune", main)
