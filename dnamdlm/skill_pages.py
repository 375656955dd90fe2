"""The folder of a skill for agents, from the help of the entries: `dnamdlm skill DIR`.

`SKILL.md` says when to use what and the facts that are easily guessed wrongly; one page per entry
holds its `--help`. The pages are made from the installed version, so they are never out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dnamdlm.command_line import config_folder, help_of
from dnamdlm.data.files import make_folder, text_file, write_together
from dnamdlm.data.targets import check_target
from dnamdlm.setting_files import read_setting_file

_ABOUT = """---
name: dnamdlm
description: >-
  Train, sample, fill, score, embed, interpret, fine-tune and design with masked diffusion language
  models of DNA. Use it for FASTA, VCF and BED files with the command dnamdlm or its Python.
---

# dnamdlm {version}

One command, `dnamdlm ENTRY key=value ...`, and the same functions in Python:

```python
import dnamdlm

model = dnamdlm.load("yeast-demo")  # comes with the package; or a run folder, or a hub id
model.sample(4, length=256, seed=1)
model.fill("ACGTNNNNACGT")  # N is filled given both sides
model.log_likelihood(["ACGTTGCA"])  # lower bounds, nats
model.score("chrXVI:100001 A>G", "embedded:yeast")
```

## Facts that are easily guessed wrongly

- Settings are `key=value` words, not `--options`. An unknown key, or a setting without effect, ends
  with one sentence and exit code 2, and nothing is written.
- Intervals are 0-based and half-open; variants (`chr1:5 A>G`, VCF) are 1-based.
- Likelihoods are nats in Python and bits per base in files; they are bounds with standard errors.
- One token per base. N is seen and not scored.
- The same command resumes what was interrupted; the same seed gives the same bytes.
- Start with `dry_run=true` for a training: it says how long it takes.

## Which page

Read the page of an entry before you call it.

| entry | what it does |
|---|---|
{rows}
"""


def skill_pages(entries: Sequence[str], version: str) -> dict[str, str]:
    """Name of a file -> its content.

    Args:
        entries: names of the entries.
        version: of the package.
    """
    abouts = [read_setting_file(config_folder(name) / f"{name}.yaml").about for name in entries]
    rows = [
        f"| [{name}]({name}.md) | {about[0]} |" for name, about in zip(entries, abouts, strict=True)
    ]
    pages = {
        f"{name}.md": f"# dnamdlm {name}\n\n```text\n{help_of(name)}\n```\n" for name in entries
    }
    return {"SKILL.md": _ABOUT.format(version=version, rows="\n".join(rows)), **pages}


def write_skill(folder: Path, entries: Sequence[str], version: str) -> list[Path]:
    """Write the pages into a folder, replacing those of an earlier version.

    Returns:
        The files.

    Raises:
        ConfigError: if the folder is a file, or belongs to a run.
        DataError: if it cannot be written.
    """
    pages = skill_pages(entries, version)
    for name in pages:
        check_target(folder / name, inputs=(), makes_folders=True)
    make_folder(folder)
    writers: dict[Path, Callable[[Path], object]] = {
        folder / name: text_file(text) for name, text in pages.items()
    }
    write_together(writers)
    return list(writers)
