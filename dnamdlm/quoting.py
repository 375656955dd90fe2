"""Values of a command line that are texts, put into quotes so that Hydra reads no grammar in them.

A path or a name may hold any letters. Hydra reads brackets, commas, equals signs, numbers and more
in a value without quotes, and refuses letters outside ASCII. Here the settings are named whose
values are texts or lists of texts; where Hydra would read another value than the one that was
typed, it is put into quotes. A value that Hydra reads as it stands is left alone.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from dnamdlm.errors import ConfigError

# all are the last part of a dotted name.
PATHS = frozenset({
    "adapter_of", "annotation", "artifact_location", "audit", "bed", "cache_dir", "corpus",
    "edit", "evaluation", "fasta", "folder", "guide", "infill", "init_from", "input", "labels",
    "model", "motifs", "natural", "out", "reference", "run_dir", "samples", "save_dir", "scorer",
    "table", "teacher", "template", "tokenizer", "tracking_uri", "unlike", "value", "variants",
})  # fmt: skip
"""Settings that name a file, a folder, or something in place of one."""
NAMES = frozenset({
    "assembly", "audit_class", "coding", "data_license", "download_command", "experiment_name",
    "genome", "group_column", "license", "log_ratio", "name", "natural_column", "project", "prompt",
    "push", "region", "reward_class", "run_name", "sequence_column", "shard", "split_column",
    "task", "value_class", "within",
})  # fmt: skip
"""Settings that are another text."""
LISTS = frozenset({
    "allow", "avoid", "baselines", "circular", "condition", "forbid", "label_column", "locus",
    "motif", "numbers", "parts", "regions", "require", "scores", "test", "train", "trust", "valid",
})  # fmt: skip
"""Settings that are several texts, or one."""
TERMS = frozenset({"reward"})
"""Settings that are a path, or lists of groups of texts and numbers."""
NAMES_OR_NUMBERS = frozenset({"guide_label", "label"})
"""Settings that are a text or a number."""

# of a table that is learned from these are files, elsewhere lists of records.
_FILES_OF = {"finetune": frozenset({"test", "train", "valid"})}
# a word that is several texts of one command, and a switch of another.
_SWITCHES_OF = {"design": frozenset({"baselines"})}
# paths that may be several, in brackets.
_SEVERAL = frozenset({"fasta", "test", "train", "valid"})
# a text that may be empty.
_MAYBE_EMPTY = frozenset({"name", "prompt"})
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_FUNCTION = re.compile(
    r"(choice|extend_list|float|glob|int|interval|json_str|range|shuffle|sort|str|tag)\s*\(.*\)",
    re.DOTALL,
)
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?:[-,\]]|$))")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_REFERENCE = re.compile(r"\$\{[^{}$]+\}")
_OPENING, _CLOSING = "[{", "]}"


def quoted_argument(argument: str, entry: str, *, sweeps: bool = False) -> str:
    """An argument `key=value` as Hydra has to get it.

    >>> quoted_argument("data.fasta=my genome (copy), v=2.fa", "train")
    "data.fasta='my genome (copy), v=2.fa'"
    >>> quoted_argument("data.valid=[1,chrX]", "train"), quoted_argument("model=runs/a", "sample")
    ("data.valid=['1',chrX]", 'model=runs/a')

    Args:
        argument: as it was typed.
        entry: name of the command.
        sweeps: whether commas separate the values of a sweep. A path in which there are commas is
            then one value where it exists, or lies in a folder that does.

    Raises:
        ConfigError: for a text that is empty, or several where they have to stand in brackets.
    """
    key, equals, value = argument.partition("=")
    last = key.lstrip("+").rpartition(".")[2]
    is_path = last in PATHS or last in _FILES_OF.get(entry, ())
    is_list = last in LISTS - _SWITCHES_OF.get(entry, frozenset()) and not is_path
    is_named = last in NAMES | NAMES_OR_NUMBERS | TERMS
    if not equals or not (is_path or is_list or is_named):
        return argument
    if not value and last not in _MAYBE_EMPTY and not is_list:
        raise ConfigError(f"{key}= is empty; give {key}=VALUE, or leave it out")
    if is_list:
        # as a genome browser shows a locus: the comma of 1,000 separates nothing.
        plain = _THOUSANDS.sub("", value) if last == "locus" else value
        quoted = _quoted_lists(key, plain, sweeps=sweeps)
    elif last in TERMS:
        quoted = _quoted_paths(value, _terms, sweeps=sweeps)
    elif is_path:
        read = _value if last in _SEVERAL else _text
        quoted = _quoted_paths(value, read, sweeps=sweeps)
    elif last == "prompt":
        is_quoted = sweeps and all(map(_QUOTED.fullmatch, _pieces(value)))
        quoted = value if is_quoted else _text(value, keeps_dollars=True)
    else:
        number = last in NAMES_OR_NUMBERS and re.fullmatch(r"[+-]?\d+", value)
        quoted = value if number else _quoted_names(value, sweeps=sweeps)
    return f"{key}={quoted}"


def _quoted_paths(value: str, read: Callable[[str], str], *, sweeps: bool) -> str:
    if _exists(value):
        return _literal(value, keeps_dollars=True)
    if not sweeps:
        return read(value)
    if _FUNCTION.fullmatch(value):
        return value
    pieces = value.split(",") if read is _text else _pieces(value)
    return ",".join(map(read, _paths_between(pieces)))


def _quoted_names(value: str, *, sweeps: bool) -> str:
    if not sweeps:
        return _text(value)
    if _FUNCTION.fullmatch(value):
        return value
    return ",".join(map(_text, _pieces(value)))


def _quoted_lists(key: str, value: str, *, sweeps: bool) -> str:
    if sweeps and _FUNCTION.fullmatch(value):
        return value
    pieces = _pieces(value)
    if len(pieces) > 1 and not sweeps:
        raise ConfigError(
            f"{key}={value} is not allowed; write several in brackets, {key}=[{value}]"
        )
    return ",".join(map(_value, pieces))


def _terms(value: str) -> str:
    """Lists and groups of texts, in which numbers are numbers, or a text."""
    stripped = value.strip()
    return stripped if _NUMBER.fullmatch(stripped) else _value(value, _terms)


def _value(value: str, read: Callable[[str], str] | None = None) -> str:
    """A text, or several in brackets.

    Args:
        value: as it was typed.
        read: for what stands within brackets; None is this function.
    """
    read = read or _value
    stripped = value.strip()
    inside = stripped[1:-1]
    if (stripped[:1], stripped[-1:]) == ("[", "]"):
        return f"[{','.join(read(piece.strip()) for piece in _pieces(inside))}]"
    pairs = [piece.partition(":") for piece in _pieces(inside)]
    is_mapping = not inside or all(colon for _, colon, _ in pairs)
    if (stripped[:1], stripped[-1:]) == ("{", "}") and is_mapping:
        return "{" + ",".join(f"{key}{colon}{read(v.strip())}" for key, colon, v in pairs) + "}"
    return _text(value)


def _text(value: str, *, keeps_dollars: bool = False) -> str:
    """A text, unless it is null or in quotes already."""
    if not value or value.lower() == "null" or _QUOTED.fullmatch(value):
        return value
    return _literal(value, keeps_dollars=keeps_dollars)


def _literal(text: str, *, keeps_dollars: bool = False) -> str:
    """A text in quotes, if it needs them.

    Args:
        text: any text.
        keeps_dollars: `${` is a part of the text, and not a reference to another setting.
    """
    is_reference = "${" not in _REFERENCE.sub("", text)
    if "${" in text and (keeps_dollars or not is_reference):
        text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    elif _is_read_as(text):
        return text
    return quoted_text(text)


def quoted_text(text: str) -> str:
    """A text in quotes."""
    return QuotedString(text, Quote.single).with_quotes()


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _is_read_as(text: str) -> bool:
    """Whether Hydra reads a text without quotes as this text."""
    try:
        override = _parser().parse_override(f"key={text}")
    except HydraException:
        return False
    return not override.is_sweep_override() and override.value() == text


def _paths_between(pieces: list[str]) -> Iterator[str]:
    """Paths that were separated by commas, of which there may be some in a path as well."""
    first = 0
    while first < len(pieces):
        last = len(pieces)
        while last > first + 1:
            path = ",".join(pieces[first:last])
            if _exists(path) or _QUOTED.fullmatch(path.strip()):
                break
            last -= 1
        yield ",".join(pieces[first:last])
        first = last


def _exists(path: str) -> bool:
    """Whether a path exists, or at least the folder that its odd letters belong to."""
    folder = path.rpartition("/")[0]
    known = [path, folder] if set(folder) & set(",'\"[]{}$") else [path]
    # not by `Path.expanduser`, which raises where there is no such user.
    return any(os.path.lexists(os.path.expanduser(name)) for name in known if name)  # noqa: PTH111


def _pieces(text: str) -> list[str]:
    """What commas separate, except those in quotes and brackets."""
    pieces, begin, depth, position = [], 0, 0, 0
    while position < len(text):
        found = _QUOTED.match(text, position)
        # an apostrophe within a word begins no quotes.
        if found and (position == begin or text[position - 1] in " ,:[{"):
            position = found.end()
            continue
        letter = text[position]
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth == 0:
            pieces.append(text[begin:position])
            begin = position + 1
        position += 1
    return [*pieces, text[begin:]]


def unquoted_argument(argument: str) -> str:
    """An argument as it was typed, without the quotes that `quoted_argument` added."""
    key, _, value = argument.partition("=")
    return (
        f"{key}={_parser().parse_override(argument).value()}"
        if _QUOTED.fullmatch(value)
        else argument
    )
