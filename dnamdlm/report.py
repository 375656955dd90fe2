"""Write one offline HTML file about a run: `python -m dnamdlm.report run_dir=DIR`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Write the report, and say where it lies."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.reports import ReportSettings, report

    print(f"wrote {report(read_settings(ReportSettings, tree, given))}")


if __name__ == "__main__":
    run_entry("report", main)
