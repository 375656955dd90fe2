"""Completion scripts for shells, made from the YAML files that the settings come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dnamdlm.help_text import default_groups, setting_lines

SHELLS = ("bash", "zsh", "fish")


def words_of(folder: Path, name: str) -> list[str]:
    """What may follow the name of an entry: `group=option` and `key=`.

    Args:
        folder: the folder of its YAML files.
        name: entry and primary config.
    """
    groups = default_groups(folder, name)
    words = [
        f"{group}={path.stem}"
        for group in groups
        for path in sorted((folder / group).glob("*.yaml"))
    ]
    texts = [((folder / f"{name}.yaml").read_text(encoding="ascii"), "")]
    for group, default in groups.items():
        path = folder / group / f"{default}.yaml"
        if group != "config" and path.is_file():
            texts.append((path.read_text(encoding="ascii"), f"{group}."))
    for text, prefix in texts:
        keys = (line.split("=", 1)[0].strip() for line in setting_lines(text, prefix))
        words += [f"{key}=" for key in keys if key not in groups]
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
  if [ "$COMP_CWORD" -le 1 ]; then words="{" ".join(words)} prepare completion"; fi
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
    compadd -- {" ".join(words)} prepare completion
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
        for name in [*words, "prepare", "completion"]
    ]
    for name, found in words.items():
        lines.append(
            f'complete -c dnamdlm -n "__fish_seen_subcommand_from {name}" -a "{" ".join(found)}"'
        )
    return "\n".join(lines) + "\n"
