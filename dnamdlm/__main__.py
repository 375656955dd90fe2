"""The console command: `dnamdlm ENTRY key=value ...`, the same as `python -m dnamdlm.ENTRY ...`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dnamdlm import __version__
from dnamdlm.errors import DnamdlmError
from dnamdlm.suggestions import did_you_mean

ENTRIES = (
    "train", "evaluate", "sample", "design", "judge", "tracks", "interpret", "score", "embed",
    "finetune", "predict", "gather", "report", "slim", "export", "doctor",
)  # fmt: skip
_OTHERS = {
    "prepare": "Download or convert data: dnamdlm prepare NAME key=value ...",
    "completion": "Print a completion script for a shell: dnamdlm completion bash|zsh|fish",
    "skill": "Write a folder of pages for coding agents, one per command: dnamdlm skill DIR",
}
# in a checkout the scripts are next to the package; a wheel has them inside it.
_SCRIPTS = Path(__file__).resolve().parent / "scripts"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one entry with the rest of the command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("--help", "-h", "help"):
        print(_overview())
        return
    name, rest = given[0], given[1:]
    if name in ("--version", "-V"):
        print(f"dnamdlm {__version__}")
    elif name in ENTRIES:
        from dnamdlm.command_line import run_entry

        run_entry(name, importlib.import_module(f"dnamdlm.{name}").main, rest)
    elif name == "completion":
        _complete(rest)
    elif name == "prepare":
        _prepare(rest)
    elif name == "skill":
        _skill(rest)
    else:
        meant = did_you_mean(name, [*ENTRIES, *_OTHERS])
        _refuse(f"unknown command {name!r}{meant}; see dnamdlm --help")


def _overview() -> str:
    from dnamdlm.command_line import config_folder

    lines = [
        "usage: dnamdlm COMMAND key=value ...   (dnamdlm COMMAND --help lists its settings)", "",
    ]  # fmt: skip
    for name in ENTRIES:
        text = (config_folder(name) / f"{name}.yaml").read_text(encoding="ascii")
        lines.append(f"  {name:<12}{text.partition(chr(10))[0].lstrip('# ')}")
    return "\n".join([*lines, *(f"  {name:<12}{text}" for name, text in _OTHERS.items())])


def _complete(rest: Sequence[str]) -> None:
    from dnamdlm.command_line import config_folder
    from dnamdlm.completion import SHELLS, completion_script

    if len(rest) != 1 or rest[0] not in SHELLS:
        _refuse(f"name one shell: dnamdlm completion {'|'.join(SHELLS)}")
    print(completion_script(rest[0], {name: config_folder(name) for name in ENTRIES}), end="")


def _prepare(rest: Sequence[str]) -> None:
    """Run a script of `data_prep`, which a wheel keeps inside the package."""
    if importlib.util.find_spec("data_prep") is None:
        sys.path.insert(0, str(_SCRIPTS))
    folder = Path(str(importlib.import_module("data_prep").__file__)).parent
    scripts = sorted(
        path.stem for path in folder.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
    )
    if not rest or rest[0] in ("--help", "-h"):
        print("usage: dnamdlm prepare NAME key=value ...\n\nNAME is one of " + ", ".join(scripts))
        return
    if rest[0] not in scripts:
        meant = did_you_mean(rest[0], scripts)
        _refuse(f"unknown data set {rest[0]!r}{meant}; choose {', '.join(scripts)}")
    raise SystemExit(importlib.import_module(f"data_prep.{rest[0]}").main(rest[1:]))


def _skill(rest: Sequence[str]) -> None:
    if len(rest) != 1 or rest[0].startswith("-") or "=" in rest[0]:
        _refuse("name one folder: dnamdlm skill DIR, such as .claude/skills/dnamdlm")
    from dnamdlm.skill_pages import write_skill

    try:
        files = write_skill(Path(rest[0]), ENTRIES, __version__)
    except DnamdlmError as error:
        _refuse(str(error))
    print(f"wrote {len(files)} pages to {rest[0]}")


def _refuse(sentence: str) -> NoReturn:
    print(f"dnamdlm: {DnamdlmError(sentence)}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
