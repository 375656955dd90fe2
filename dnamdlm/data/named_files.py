"""Whether the files that settings name are there: seen before anything slow is imported or read.

Only their existence is looked at; what they hold is checked by their readers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnamdlm.errors import DataError

# settings of commands, and of their group `data`, that name a file to be read.
_OF_COMMANDS = (
    "variants", "samples", "template", "infill", "edit", "input", "motifs", "reference", "natural",
    "unlike", "bed",
)  # fmt: skip
_OF_DATA = ("fasta", "annotation", "bed", "labels", "table")
# of a table that is learned from these are files, elsewhere names of records.
_OF_TABLES = ("train", "test", "valid")
# settings that name a folder or file of weights, or a model of the hub, as ORGANISATION/NAME.
_MODELS = ("model", "guide")
# values that stand for something else than a file.
_OTHER_SOURCES = ("embedded:", "jaspar:")
_WORDS = {"reference": ("split",)}
# chr1:5:A:G; as gnomAD writes it, chr1-5-A-G; with the sign of HGVS, chr1:5:A>G or chr1:g.5A>G.
_VARIANT = re.compile(
    r"([^\s:,/]+):(?:g\.)?(\d+):?([A-Za-z*]+)[:>]([A-Za-z*]+)"
    r"|([^\s:,/]+)-(\d+)-([ACGTNacgtn*]+)-([ACGTNacgtn*]+)",
    re.ASCII,
)
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?:[-:,]|[A-Za-z]))")


def check_named_files(tree: Mapping[str, Any]) -> None:
    """Refuse a file that is not there, and a target in a folder that is not there.

    Args:
        tree: the resolved config tree of a command.

    Raises:
        DataError: naming the setting.
    """
    for key, path, download_command in _files(tree):
        if not os.path.lexists(Path(os.path.expanduser(path))):  # noqa: PTH111
            raise missing_file(key, path, download_command)
    for key in _MODELS:
        if isinstance(path := tree.get(key), str) and _is_mistyped(path):
            raise DataError(
                f"{key}={path} does not exist; give a run folder, a checkpoint folder or published "
                "weights"
            )
    out = tree.get("out")
    if isinstance(out, str) and not (Path(out).parent.is_dir() or Path(out).is_symlink()):
        raise DataError(f"out={out} lies in a folder that does not exist; make it first")


def variants_in(text: str) -> list[tuple[str, str, str, str]] | None:
    """Chromosome, position, REF and ALT of variants as people write them; None for a file.

    >>> variants_in("chr1:5:A:G,chr1-1,009-C-CT"), variants_in("calls:old.vcf")
    ([('chr1', '5', 'A', 'G'), ('chr1', '1009', 'C', 'CT')], None)
    """
    found = [_VARIANT.fullmatch(part) for part in _THOUSANDS.sub("", text).split(",")]
    fields = [tuple(x for x in match.groups() if x is not None) for match in found if match]
    if len(fields) < len(found):
        return None
    return [(chrom, pos, ref, alt) for chrom, pos, ref, alt in fields]


def check_carried_files(tree: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse data that a model names and that are not plain files, which might be read for ever.

    Args:
        tree: the config that came with a model.
        given: settings of the data that the user gives instead, by name.

    Raises:
        DataError: naming the setting.
    """
    for key, text, _ in _files(tree):
        path = Path(os.path.expanduser(text))  # noqa: PTH111
        if key.removeprefix("data.") not in given and path.exists() and not path.is_file():
            raise DataError(
                f"the model names {key}={text!r} as what it was trained on, and that is not a "
                f"plain file; give {key}=FILE"
            )


def _is_mistyped(path: str) -> bool:
    """Whether there is nothing at a path in a folder that exists, so that no hub is meant."""
    found = Path(os.path.expanduser(path))  # noqa: PTH111
    return found.parent != Path() and found.parent.is_dir() and not os.path.lexists(found)


def missing_file(key: str, path: str | Path, download_command: str | None = None) -> DataError:
    """The error for a file that is not there.

    Args:
        key: dotted name of the setting.
        path: its value.
        download_command: downloads the file; None: nobody says how.
    """
    if download_command:
        return DataError(
            f"{key}={path} does not exist; the config names the command that downloads it: "
            f"{download_command!r}"
        )
    other = ", or write a variant as chrom:pos:ref:alt" if key == "variants" else ""
    return DataError(f"{key}={path}: no such file; check the path{other}")


def _files(tree: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Setting, path, and command that downloads the file, of each file to be read."""
    yield from _values(tree, _OF_COMMANDS, "")
    data = tree.get("data")
    if not isinstance(data, Mapping):
        return
    is_table = str(data.get("_target_", "")).endswith(".Table")
    yield from _values(data, _OF_TABLES if is_table else _OF_DATA, "data.")
    genomes = data.get("genomes")
    for name, genome in genomes.items() if isinstance(genomes, Mapping) else ():
        if isinstance(genome, Mapping):
            yield from _values(genome, _OF_DATA, f"data.genomes.{name}.")


def _values(
    group: Mapping[str, Any], keys: tuple[str, ...], prefix: str
) -> Iterator[tuple[str, str, str | None]]:
    command = group.get("download_command")
    for key in keys:
        value = group.get(key)
        for path in value if isinstance(value, list) else [value]:
            if not isinstance(path, str) or not path or path in _WORDS.get(key, ()):
                continue
            if key == "variants" and (path == "all" or variants_in(path) is not None):
                continue
            if not path.startswith(_OTHER_SOURCES):
                is_downloaded = command and key in ("fasta", "bed")
                yield f"{prefix}{key}", path, command if is_downloaded else None
