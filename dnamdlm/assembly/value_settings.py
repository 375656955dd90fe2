"""The setting `value`: how sequences with masks are valued in a population."""

from __future__ import annotations

from pathlib import Path

from dnamdlm.diffusion.lookahead import LOOKAHEADS
from dnamdlm.errors import ConfigError
from dnamdlm.suggestions import did_you_mean


def reasons_of_value(value: str) -> dict[str, str]:
    """Settings that have no effect with a value, and why."""
    if value == "draws":
        return {"value_class": "no head values sequences; give value=RUN"}
    if value == "likely":
        return {
            "value_class": "no head values sequences; give value=RUN",
            "guesses": "value=likely has one guess, the likeliest bases",
        }
    return {"guesses": "a head values sequences without guesses"}


def check_value(value: str) -> None:
    """Refuse what is neither the name of a lookahead nor a folder.

    Raises:
        ConfigError: naming what is allowed.
    """
    if value not in LOOKAHEADS and not Path(value).exists():
        raise ConfigError(
            f"value={value} is unknown{did_you_mean(value, LOOKAHEADS)}; choose "
            f"{' or '.join(LOOKAHEADS)}, or give the run folder of a training with lm=regressor or "
            "lm=classifier"
        )
