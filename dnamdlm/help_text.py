"""The text of `--help`, made from the YAML files and their comments, so that it cannot be stale."""

from __future__ import annotations

import re
from pathlib import Path

_SETTING = re.compile(
    r"^(?P<indent> *)(?P<key>[a-z_][a-z0-9_]*):(?P<value>[^#]*)(?:#(?P<note>.*))?$"
)
_WIDTH = 34


def entry_help(folder: Path, name: str) -> str:
    """Usage, recipes, groups and every key with its default and its unit or meaning.

    Args:
        folder: the folder of YAML files.
        name: entry and primary config.
    """
    primary = (folder / f"{name}.yaml").read_text(encoding="ascii")
    summary = [line[2:] for line in primary.splitlines() if line.startswith("# ")]
    groups = default_groups(folder, name)
    blocks = [
        f"usage: python -m dnamdlm.{name} key=value ...",
        "\n".join(summary),
        "Options: --help this text, --cfg job prints the composed config, -m sweeps over key=a,b.\n"
        "Exit codes: 0 done, 1 failed, 2 mistake in the input, 128+n stopped by signal n.",
    ]
    if groups:
        lines = ["Groups (group=option):"]
        for group, default in groups.items():
            options = sorted(path.stem for path in (folder / group).glob("*.yaml"))
            shown = f"  default {default}" if default and default != "???" else ""
            lines.append(f"  {group + '=':<16}{'|'.join(options)}{shown}")
        blocks.append("\n".join(lines))
    settings = setting_lines(primary, "")
    for group, default in groups.items():
        path = folder / group / f"{default}.yaml"
        if group != "config" and path.is_file():
            settings += setting_lines(path.read_text(encoding="ascii"), f"{group}.")
    blocks.append("\n".join(["Settings (key=default):", *settings]))
    return "\n\n".join(blocks)


def default_groups(folder: Path, name: str) -> dict[str, str | None]:
    """Group -> default option, in the order of the defaults list; `base` is read through."""
    groups: dict[str, str | None] = {}
    in_defaults = False
    for line in (folder / f"{name}.yaml").read_text(encoding="ascii").splitlines():
        if line.startswith("defaults:"):
            in_defaults = True
        elif in_defaults and line.startswith("  - "):
            entry = line[4:].split("#", 1)[0].strip()
            group, separator, option = entry.partition(":")
            if group.startswith("override "):
                continue
            if separator:
                groups[group.strip()] = option.strip()
            elif entry not in ("_self_",) and (folder / f"{entry}.yaml").is_file():
                groups.update(default_groups(folder, entry))
        elif line.strip():
            in_defaults = False
    return groups


def setting_lines(text: str, prefix: str) -> list[str]:
    """One line per setting of a YAML file: dotted key, default, comment."""
    lines: list[str] = []
    parents: list[str] = []
    in_skipped = False
    for line in text.splitlines():
        match = _SETTING.match(line)
        if match is None:
            continue
        depth = len(match["indent"]) // 2
        key, value, note = match["key"], match["value"].strip(), (match["note"] or "").strip()
        if depth == 0:
            in_skipped = key in ("defaults", "hydra")
        if in_skipped or key == "_target_":
            continue
        parents = [*parents[:depth], key]
        if value:
            dotted = prefix + ".".join(parents)
            lines.append(f"  {dotted + '=' + value:<{_WIDTH}} {note}".rstrip())
    return lines
