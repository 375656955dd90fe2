"""YAML from texts, with one kind of error for whatever is wrong with it."""

from __future__ import annotations

from typing import Any

import yaml

# a resolved config of a hundred genomes has some thousand.
_MOST_VALUES = 100_000
# what the constructors of PyYAML raise for values that do not suit their tag.
_DAMAGE = (
    yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError,
)  # fmt: skip


class YamlError(ValueError):
    """Text that is not YAML of plain values; the message says why in a few words."""


def read_yaml_text(text: str) -> Any:
    """The value of a text.

    >>> read_yaml_text("a: [1, x]")
    {'a': [1, 'x']}

    Raises:
        YamlError: if it is not YAML, holds a value that does not suit its tag, or has more values
            than any config, with its aliases written out.
    """
    try:
        value = yaml.safe_load(text)
    except _DAMAGE as error:
        raise YamlError("it is not YAML of plain values") from error
    rest, count = [value], 0
    while rest:
        count += 1
        if count > _MOST_VALUES:
            raise YamlError(f"it holds more than {_MOST_VALUES:,} values")
        item = rest.pop()
        if isinstance(item, dict | list):
            rest.extend(item.values() if isinstance(item, dict) else item)
    return value
