"""Generate sequences into a FASTA file: `python -m dnamdlm.sample model=RUN out=FILE.fa`.

A model of text writes .txt or .jsonl.
"""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Sample, and print what was written."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.design.reward_of_samples import reward_of
    from dnamdlm.assembly.sample.sample_settings import SampleSettings
    from dnamdlm.assembly.sample.sampling import sample
    from dnamdlm.data.output_streams import message_stream

    settings = read_settings(SampleSettings, tree, given)
    summary = sample(settings, reward_of(settings))
    print(summary.sentence, file=message_stream(summary.path))


if __name__ == "__main__":
    run_entry("sample", main)
