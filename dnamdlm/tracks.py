"""Write bits per base along a locus: `python -m dnamdlm.tracks model=RUN locus=LOCUS`."""

from __future__ import annotations

from dnamdlm.command_line import Tree, run_entry


def main(tree: Tree, given: frozenset[str]) -> None:
    """Write the track, and print where it is."""
    from dnamdlm.assembly.building.entry_settings import read_settings
    from dnamdlm.assembly.tracks.locus import tracks
    from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
    from dnamdlm.data.output_streams import message_stream

    path, headline = tracks(read_settings(TracksSettings, tree, given))
    print(f"{headline}\nwrote {path}", file=message_stream(path))


if __name__ == "__main__":
    run_entry("tracks", main)
