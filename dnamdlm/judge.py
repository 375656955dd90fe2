"""Compare generated sequences with real ones: `python -m dnamdlm.judge samples=FILE`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Compare, and print where the figures are."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.judge.judge_settings import JudgeSettings
    from dnamdlm.assembly.judge.judging import judge
    from dnamdlm.data.output_streams import message_stream

    path, headline = judge(read_settings(JudgeSettings, tree, given))
    print(f"{headline}\nwrote {path}", file=message_stream(path))


if __name__ == "__main__":
    run_entry("judge", main)
