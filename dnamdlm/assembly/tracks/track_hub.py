"""`hub.txt`: what a genome browser needs to show a folder of tracks.

One file in the manner of UCSC (`useOneFile on`), with paths relative to it.
"""

from __future__ import annotations

from dnamdlm.evaluation.likelihood.base_tracks import LETTERS, TRACKS

_COLORS = {"A": "42,138,93", "C": "31,111,178", "G": "179,105,11", "T": "184,64,58"}


def hub_text(genome: str, label: str, *, with_genes: bool) -> str:
    r"""The file.

    Args:
        genome: name of the assembly in the browser.
        label: of the model, for people.
        with_genes: there is a file genes.bb.

    >>> print(hub_text("sacCer3", "runs/demo", with_genes=False).split("\n\ntrack")[0])
    hub dnamdlm
    shortLabel dnamdlm
    longLabel dnamdlm tracks of runs/demo
    useOneFile on
    email nobody@example.org
    <BLANKLINE>
    genome sacCer3
    """
    logo = _stanza(
        "logo", f"logo of {label}, bits",
        ["container multiWig", "aggregate stacked", "showSubtrackColorOnUi on",
         "viewLimits 0:2", "maxHeightPixels 100:64:8", "visibility full"],
    )  # fmt: skip
    letters = [
        _stanza(name, f"{TRACKS[name]}, {label}",
                [f"color {_COLORS[x]}", "parent logo on", f"bigDataUrl {name}.bw"])
        for x in LETTERS for name in [f"logo_{x}"]
    ]  # fmt: skip
    shown = {"bits": "full", "entropy": "dense"} | {f"logp_{x}": "hide" for x in LETTERS}
    plain = [
        _stanza(name, f"{TRACKS[name]}, {label}",
                ["autoScale on", f"bigDataUrl {name}.bw", f"visibility {visibility}"])
        for name, visibility in shown.items()
    ]  # fmt: skip
    genes = _stanza(
        "genes", "genes of the annotation", ["bigDataUrl genes.bb", "visibility pack"], "bigBed 6"
    )
    head = (
        f"hub dnamdlm\nshortLabel dnamdlm\nlongLabel dnamdlm tracks of {label}\nuseOneFile on\n"
        f"email nobody@example.org\n\ngenome {genome}\n"
    )
    return "\n".join([head, logo, *letters, *plain, *([genes] if with_genes else [])])


def _stanza(name: str, long: str, lines: list[str], kind: str = "bigWig") -> str:
    """The lines of a track."""
    first = [f"track {name}", f"type {kind}", f"shortLabel {name}", f"longLabel {long}"]
    return "\n".join([*first, *lines]) + "\n"
