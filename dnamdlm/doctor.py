"""Say what runs here and why nothing faster does: `python -m dnamdlm.doctor`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Print versions, devices and implementations."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.diagnosis import DoctorSettings, examine

    print(examine(read_settings(DoctorSettings, tree, given)))


if __name__ == "__main__":
    run_entry("doctor", main)
