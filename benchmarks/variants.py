"""Labelled variants of a suite, from its folder: `key=value` in place of options.

    python -m benchmarks.variants suite=NAME folder=DIR model=RUN fasta=FILE
        [table=FILE] [subset=NAME] [scores=llr,elbo] [region=chr13:START-END] [chrom=13]
        [draws=8] [block=1000] [repeats=1000] [seed=0] [name=NAME] [csv=FILE]
        [leaderboard=DIR] [out=DIR] [smoke=true]

The same as `python -m benchmarks.quality.variant_suites --suite NAME --folder DIR ...`, which says
what is computed. `benchmarks.suite_folders` says which files are looked for in the folder.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from benchmarks.quality.variant_suites import main
from benchmarks.started import start
from dnamdlm.errors import ConfigError

_LISTS = frozenset({"scores"})
_FLAGS = frozenset({"smoke"})
KEYS = (
    "suite", "folder", "model", "fasta", "table", "subset", "scores", "region", "chrom", "draws",
    "block", "repeats", "seed", "name", "csv", "leaderboard", "out", "smoke",
)  # fmt: skip


def options(arguments: Sequence[str]) -> list[str]:
    """Options of `variant_suites` from settings.

    Raises:
        ConfigError: for a word that is no setting, or one that is not known.

    >>> options(["suite=sge", "scores=llr,elbo", "smoke=true"])
    ['--suite', 'sge', '--scores', 'llr', 'elbo', '--smoke']
    """
    found: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not value:
            raise ConfigError(f"{argument} is not a setting; write key=value, as in suite=clinvar")
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{key} is not a setting; {hint}known are {', '.join(KEYS)}")
        if key in _FLAGS:
            if value not in ("true", "false"):
                raise ConfigError(f"{key}={value} must be true or false")
            found += [f"--{key}"] if value == "true" else []
        else:
            found += [f"--{key}", *(value.split(",") if key in _LISTS else [value])]
    return found


if __name__ == "__main__":
    start(lambda: main(options(sys.argv[1:])))
