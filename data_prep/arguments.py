"""Command lines of the form key=value for the scripts of this folder."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence

from dnamdlm.errors import ConfigError, DnamdlmError


def parse_arguments(arguments: Sequence[str], defaults: Mapping[str, str | None]) -> dict[str, str]:
    """Values of all keys; a key whose default is None must be given.

    Raises:
        ConfigError: for an argument without '=', an unknown or repeated key, or a missing one.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not value:
            raise ConfigError(f"{argument!r} is not of the form key=value; see --help")
        if key not in defaults:
            near = difflib.get_close_matches(key, list(defaults), n=1, cutoff=0.0)[0]
            raise ConfigError(f"{key!r} is not a setting; did you mean {near!r}?")
        if key in given:
            raise ConfigError(f"{key!r} is given twice; give it once")
        given[key] = value
    values = {key: given.get(key, default) for key, default in defaults.items()}
    complete = {key: value for key, value in values.items() if value is not None}
    if missing := [key for key in values if key not in complete]:
        raise ConfigError(f"{missing[0]}=... is needed; see --help")
    return complete


def run_script(
    body: Callable[[dict[str, str]], str],
    *,
    usage: str,
    defaults: Mapping[str, str | None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a script: print its last sentence, or one sentence and exit status 2 on a mistake.

    Args:
        body: does the work with the parsed settings and returns what it wrote and where.
        usage: text of --help.
        defaults: settings, as `parse_arguments`.
        arguments: command line without the program; None takes that of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & set(arguments):
        print(usage.strip())
        return 0
    try:
        print(body(parse_arguments(arguments, defaults)))
    except DnamdlmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; rerun the command to resume", file=sys.stderr)
        return 130
    return 0
