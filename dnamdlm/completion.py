"""Completion scripts for shells, made from the YAML files that the settings come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dnamdlm.setting_files import RECIPES, files_of, groups_of, options_of, read_setting_file

SHELLS = ("bash", "zsh", "fish")


def words_of(folder: Path, name: str) -> list[str]:
    """What may follow the name of an entry: `group=option` and `key=`.

    Args:
        folder: the folder of its YAML files.
        name: entry and primary config.
    """
    groups = groups_of(folder, name)
    words = [f"{group}={option}" for group in groups for option in options_of(folder, group)]
    files = [("", read_setting_file(folder / f"{name}.yaml"))]
    for group, default in groups.items():
        if group != RECIPES:
            files += [(f"{group}.", file) for file in files_of(folder, group, default)]
    for prefix, file in files:
        words += [f"{prefix}{key}=" for key in file.leaves if key not in groups]
    words = list(dict.fromkeys(words))
    return [*words, "--help"]


def completion_script(shell: str, folders: Mapping[str, Path]) -> str:
    """A script that lets a shell complete entries, groups with their options, and keys.

    Args:
        shell: one of `SHELLS`.
        folders: entry -> folder of its YAML files.
    """
    words = {name: words_of(folder, name) for name, folder in folders.items()}
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](words)


def _cases(words: Mapping[str, list[str]]) -> str:
    return "\n".join(f'    {name}) words="{" ".join(found)}" ;;' for name, found in words.items())


def _bash(words: Mapping[str, list[str]]) -> str:
    return f"""# eval "$(dnamdlm completion bash)"
_dnamdlm() {{
  local line=${{COMP_LINE:0:COMP_POINT}} words="" current
  current=${{line##* }}
  case "${{COMP_WORDS[1]}}" in
{_cases(words)}
  esac
  if [ "$COMP_CWORD" -le 1 ]; then words="{" ".join(words)} prepare completion skill"; fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  # bash splits words at "=", so what stands before it must not be repeated.
  local before=""
  if [[ $COMP_WORDBREAKS == *=* && $current == *=* ]]; then before="${{current%=*}}="; fi
  COMPREPLY=("${{COMPREPLY[@]#"$before"}}")
  case "${{COMPREPLY[0]-}}" in *=) compopt -o nospace ;; esac
}}
complete -o default -F _dnamdlm dnamdlm
"""


def _zsh(words: Mapping[str, list[str]]) -> str:
    return f"""#compdef dnamdlm
# source <(dnamdlm completion zsh), or save as _dnamdlm in a folder of $fpath
_dnamdlm() {{
  local entry=$words[2] found
  if (( CURRENT == 2 )); then
    compadd -- {" ".join(words)} prepare completion skill
    return
  fi
  case "$entry" in
{_cases(words).replace(' words="', ' found="')}
  esac
  compadd -S "" -- ${{=found}}
  _files
}}
compdef _dnamdlm dnamdlm
"""


def _fish(words: Mapping[str, list[str]]) -> str:
    lines = ["# dnamdlm completion fish | source"]
    lines += [
        f"complete -c dnamdlm -n __fish_use_subcommand -a {name}"
        for name in [*words, "prepare", "completion", "skill"]
    ]
    for name, found in words.items():
        lines.append(
            f'complete -c dnamdlm -n "__fish_seen_subcommand_from {name}" -a "{" ".join(found)}"'
        )
    return "\n".join(lines) + "\n"
