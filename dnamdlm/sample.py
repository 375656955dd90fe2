"""Generate sequences into a FASTA file: `python -m dnamdlm.sample model=RUN out=FILE.fa`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree) -> None:
    """Sample, and say what was written."""
    from dnamdlm.assembly.sampling import sample

    summary = sample(tree)
    print(
        f"wrote {summary.num_sequences} sequences of {summary.num_bases:,} bases to {summary.path} "
        f"({summary.calls_per_sequence:,.1f} network calls per sequence)"
    )


if __name__ == "__main__":
    run_entry("sample", main)
