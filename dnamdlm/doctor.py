"""Say what runs here and why nothing faster does: `python -m dnamdlm.doctor`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree) -> None:
    """Print versions, devices and implementations."""
    from dnamdlm.assembly.diagnosis import examine

    print(examine(tree))


if __name__ == "__main__":
    run_entry("doctor", main)
