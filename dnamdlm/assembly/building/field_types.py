"""Types of settings with their ranges, and the sentence for a value outside of them.

A settings class is a frozen dataclass whose annotations hold the ranges; `check_fields` checks them
when an instance is made, whether the values come from a config or from Python.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from dnamdlm.errors import ConfigError

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
PositiveNumber = Annotated[float, Field(gt=0)]
Weights = Literal["average", "raw"]
Strands = Literal["one", "other", "both"]
Devices = Literal["auto"] | None
Split = Literal["train", "valid", "test"]
RewardTerms = str | dict[str, Any] | tuple[dict[str, Any], ...]

_LIMITS = {
    "greater_than_equal": ("must be at least {ge}", "ge"),
    "greater_than": ("must be above {gt}", "gt"),
    "less_than_equal": ("must be at most {le}", "le"),
    "less_than": ("must be below {lt}", "lt"),
}


def check_fields(settings: Any, prefix: str = "") -> None:
    """Check every field of a settings object against its annotation.

    One text where a list of texts is wanted becomes a list of one.

    Args:
        settings: an instance of a dataclass.
        prefix: put before the name of a field in messages, such as `data.`.

    Raises:
        ConfigError: naming the field, its value and what is allowed.
    """
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value = listed(getattr(settings, field.name), hints[field.name])
        if value is not getattr(settings, field.name):
            object.__setattr__(settings, field.name, tuple(value))
        if is_plain(hints[field.name]):
            check_value(value, hints[field.name], f"{prefix}{field.name}")


_Text = TypeVar("_Text", bound=str)


def as_tuple(texts: _Text | Sequence[_Text]) -> tuple[_Text, ...]:
    """One text or several, as several."""
    return cast("tuple[_Text, ...]", (texts,) if isinstance(texts, str) else tuple(texts))


def listed(value: Any, annotation: Any) -> Any:
    """A text where a list of texts is wanted, as a list of one; anything else as it is."""
    if not isinstance(value, str):
        return value
    arms = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    if str in arms or any(typing.get_origin(arm) is Literal for arm in arms):
        return value
    return [value] if any(map(_holds_texts, arms)) else value


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _holds_texts(annotation: Any) -> bool:
    """Whether an annotation is that of a list or tuple of texts."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    is_list = isinstance(origin, type) and issubclass(origin, Sequence)
    return is_list and all(
        item in (str, ...) or typing.get_origin(item) is Literal for item in arguments
    )


def is_plain(annotation: Any) -> bool:
    """Whether values of this type are written in a config as they are, rather than as a group."""
    for part in (annotation, *typing.get_args(annotation)):
        origin = typing.get_origin(part) or part
        if isinstance(origin, type) and (
            dataclasses.is_dataclass(origin) or getattr(origin, "_is_protocol", False)
        ):
            # the abstract collections of typing are protocols to Python, but plain values here.
            if origin.__module__ in ("collections.abc", "typing"):
                continue
            return False
    return True


def check_value(value: object, annotation: Any, path: str) -> None:
    """Check one value against its annotation; text is not read as a number here.

    Raises:
        ConfigError: with the value, what is allowed and the key.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        try:
            # lists are written where tuples are wanted, and 1 where 1.0 is.
            adapter.validate_json(TypeAdapter(Any).dump_json(value), strict=True)
        except ValidationError as error:
            raise ConfigError(f"{path}={_odd_part(value, error)} {_why(error)}") from error


def _odd_part(value: object, error: ValidationError) -> object:
    """The element that is wrong, where one of a list is."""
    place = error.errors()[0]["loc"]
    numbers = [part for part in place if isinstance(part, int)]
    if isinstance(value, list | tuple) and numbers and numbers[0] < len(value):
        return value[numbers[0]]
    return value


def _why(error: ValidationError) -> str:
    """What is allowed instead, as the end of a sentence."""
    problems = error.errors()
    if all(problem["type"] in ("literal_error", "none_required") for problem in problems):
        names = [
            p["ctx"]["expected"] for p in problems if p["type"] == "literal_error" and "ctx" in p
        ]
        return f"is unknown; choose {', '.join(names).replace(chr(39), '')}"
    for problem in problems:
        if problem["type"] in _LIMITS:
            text, _ = _LIMITS[problem["type"]]
            return text.format(**problem.get("ctx", {}))
    return f"is not allowed: {problems[0]['msg'].lower()}"
