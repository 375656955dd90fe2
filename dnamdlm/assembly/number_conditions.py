"""Numbers by name: those of the data, those of a model, and values that are asked for.

A condition is a text: `activity:2.5` asks for a value in the unit of the table, `activity:q0.99`
for the value below which 99 % of the training rows lie.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnamdlm.assembly.building.model_config import TrainedLM
from dnamdlm.data.data_source import OpenData
from dnamdlm.data.genome.fasta_writer import header_word
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.data.tasks.opened_table import OpenTable
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.regressor import NoisyRegressor
from dnamdlm.suggestions import did_you_mean

logger = logging.getLogger(__name__)

Condition = Mapping[str, float | str] | Sequence[str] | str
"""In Python: {'activity': 2.5} or {'activity': 'q0.99'}; or the texts of the command."""


def scales_of(lm: TrainedLM, opened: OpenData) -> tuple[NumberScale, ...]:
    """The numbers that a model will be trained with; empty for one without, which is warned of.

    Raises:
        ConfigError: if the data have another count of numbers.
    """
    wanted, scales = getattr(lm, "num_numbers", 0), known_scales(opened)
    setting = "lm.num_numbers" if isinstance(lm, NoisyRegressor) else "backbone.num_numbers"
    if wanted == 0:
        if scales:
            logger.warning(
                "data.numbers=[%s] is not used, because the network is conditioned on no number; "
                "give backbone.num_numbers=%d to a network that has it",
                ",".join(scale.name for scale in scales), len(scales),
            )  # fmt: skip
        return ()
    if not scales:
        raise ConfigError(
            f"{setting}={wanted} needs data with measured numbers; train on data=table "
            "(config=measured), which names them in data.numbers"
        )
    if len(scales) != wanted:
        raise ConfigError(
            f"{setting}={wanted}, but data.numbers names {len(scales)} "
            f"({', '.join(scale.name for scale in scales)}); use {setting}={len(scales)}"
        )
    return scales


def known_scales(opened: OpenData) -> tuple[NumberScale, ...]:
    """The numbers of some data; empty without."""
    return opened.scales if isinstance(opened, OpenTable) else ()


def check_same_scales(known: Sequence[NumberScale], opened: OpenData) -> None:
    """Refuse data whose numbers are others, or standardised otherwise, than those of a model.

    Raises:
        ConfigError: naming both.
    """
    found = known_scales(opened)
    if known and found and tuple(known) != found:
        raise ConfigError(
            f"this model knows {_shown(known)}, but the numbers of these data are {_shown(found)} "
            "or scaled otherwise; evaluate it on the table that it was trained on"
        )


def condition_texts(condition: Condition | None) -> tuple[str, ...] | None:
    """A condition as the command writes it.

    >>> condition_texts({"activity": 2.5, "gc": "q0.5"})
    ('activity:2.5', 'gc:q0.5')
    """
    if condition is None:
        return None
    if isinstance(condition, str):
        return (condition,)
    if isinstance(condition, Mapping):
        pairs: Mapping[str, Any] = condition
        return tuple(
            f"{name}:{value if isinstance(value, str) else repr(float(value))}"
            for name, value in pairs.items()
        )
    return tuple(condition)


@dataclass(frozen=True)
class AskedNumbers:
    """What a condition asks a model for.

    Attributes:
        values: standardised, one for each number of the model; nan where it is left open.
        note: what a FASTA header says of it, values in their own unit.
    """

    values: tuple[float, ...]
    note: str


def asked_numbers(scales: Sequence[NumberScale], condition: Sequence[str]) -> AskedNumbers:
    """The numbers of a model that a condition asks for.

    A value outside the range of the training rows is warned of.

    Args:
        scales: of the model.
        condition: texts such as `activity:2.5` and `activity:q0.99`.

    Raises:
        ConfigError: if the model has no such number, or a text cannot be read.
    """
    if not condition:
        raise ConfigError(
            "condition=[] asks for no number; give NAME:VALUE, such as activity:q0.99, or leave it "
            "out"
        )
    if not scales:
        raise ConfigError(
            f"condition={','.join(condition)} is given, but this model was trained without "
            "numbers; train one with data=table and backbone.num_numbers (config=measured)"
        )
    names = [scale.name for scale in scales]
    found: dict[str, float] = {}
    for text in condition:
        name, separator, value = text.rpartition(":")
        if not separator or not name or not value:
            raise ConfigError(
                f"condition={text} cannot be read; write NAME:VALUE or NAME:qSHARE, such as "
                f"{names[0]}:{scales[0].at_quantile(0.9):.3g} or {names[0]}:q0.9"
            )
        if name not in names:
            raise ConfigError(
                f"condition={text}: this model has no number {name!r}{did_you_mean(name, names)}; "
                f"it knows {_shown(scales)}"
            )
        if name in found:
            raise ConfigError(f"condition asks for {name!r} twice; give one value of it")
        found[name] = _value(text, value, scales[names.index(name)])
    values = tuple(
        _standardised(scale, found[scale.name]) if scale.name in found else math.nan
        for scale in scales
    )
    said = ",".join(f"{header_word(name)}:{value:.6g}" for name, value in found.items())
    return AskedNumbers(values, f" condition={said}")


def _value(text: str, value: str, scale: NumberScale) -> float:
    """The value that a text asks for, in its own unit."""
    is_share = value.startswith("q")
    try:
        number = float(value.removeprefix("q"))
    except ValueError as error:
        raise ConfigError(
            f"condition={text}: {value!r} is neither a number nor a quantile; write a value such "
            f"as {scale.at_quantile(0.9):.3g}, or q0.9"
        ) from error
    if is_share:
        if not 0.0 <= number <= 1.0:
            raise ConfigError(f"condition={text}: a quantile lies between q0 and q1, as q0.99")
        return scale.at_quantile(number)
    if not math.isfinite(number):
        raise ConfigError(f"condition={text} must be finite; leave a number out to leave it open")
    if not scale.low <= number <= scale.high:
        logger.warning(
            "condition=%s lies outside what the model saw in training, %.6g to %.6g; what it makes "
            "of that is a guess", text, scale.low, scale.high,
        )  # fmt: skip
    return number


def _standardised(scale: NumberScale, value: float) -> float:
    try:
        return scale.standardised(value)
    except DataError:
        raise ConfigError(
            f"condition={scale.name}:{value:g} has no logarithm, and this model reads "
            "log1p of that number; give a value above -1"
        ) from None


def _shown(scales: Sequence[NumberScale]) -> str:
    """Names and ranges."""
    shown = [f"{scale.name} ({scale.low:.4g} to {scale.high:.4g})" for scale in scales[:8]]
    return ", ".join(shown) + (", ..." if len(scales) > 8 else "")
