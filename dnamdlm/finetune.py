"""Fit a prediction head on a trained model: `python -m dnamdlm.finetune config=NAME model=RUN`."""

from __future__ import annotations

from dnamdlm.command_line import Stopped, Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Fit and test, and print where the figures are."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
    from dnamdlm.assembly.finetune.finetuning import finetune
    from dnamdlm.training.head_state import FitInterrupted

    try:
        path, headline = finetune(read_settings(FinetuneEntry, tree, given))
    except FitInterrupted as stop:
        raise Stopped(
            f"{stop}; the same command resumes after the last epoch", 128 + stop.number
        ) from stop
    print(headline)
    print(f"wrote {path}, with results.tsv and one folder per split")


if __name__ == "__main__":
    run_entry("finetune", main)
