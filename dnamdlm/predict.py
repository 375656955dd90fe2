"""Predict with a fine-tuned head: `python -m dnamdlm.predict model=RUN input=FILE out=FILE.tsv`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Predict, and say where the table lies."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.finetune.finetune_settings import PredictSettings
    from dnamdlm.assembly.finetune.prediction import predict
    from dnamdlm.data.output_streams import message_stream

    path, headline = predict(read_settings(PredictSettings, tree, given))
    print(f"{headline}\nwrote {path}", file=message_stream(path))


if __name__ == "__main__":
    run_entry("predict", main)
