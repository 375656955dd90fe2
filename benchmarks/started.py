"""How a benchmark is started: a mistake of its user is one sentence, and the status is 2."""

import sys
from collections.abc import Callable

from dnamdlm.errors import DnamdlmError


def start(main: Callable[[], None]) -> None:
    """Call a benchmark; print an error that a user can cause without a traceback.

    >>> start(lambda: print("a table"))
    a table
    """
    try:
        main()
    except (DnamdlmError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
