"""Write one offline HTML file about a run: `python -m dnamdlm.report run_dir=DIR`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree) -> None:
    """Write the report, and say where it lies."""
    from dnamdlm.assembly.reports import report

    print(f"wrote {report(tree)}")


if __name__ == "__main__":
    run_entry("report", main)
