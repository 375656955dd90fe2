"""Generate sequences into a FASTA file: `python -m dnamdlm.sample model=RUN out=FILE.fa`.

A model of text writes .txt or .jsonl.
"""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree) -> None:
    """Sample, and say what was written."""
    from dnamdlm.assembly.sample.sampling import sample
    from dnamdlm.assembly.sample.text_sampling import TextSummary

    summary = sample(tree)
    what = (
        f"texts with {summary.num_tokens:,} new tokens"
        if isinstance(summary, TextSummary)
        else f"sequences of {summary.num_bases:,} bases"
    )
    print(
        f"wrote {summary.num_sequences} {what} to {summary.path} "
        f"({summary.calls_per_sequence:,.1f} network calls per sequence)"
    )


if __name__ == "__main__":
    run_entry("sample", main)
