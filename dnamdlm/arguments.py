"""The arguments of a command: options, which begin with a dash, and settings, `key=value`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dnamdlm.errors import ConfigError
from dnamdlm.quoting import quoted_argument
from dnamdlm.suggestions import nearest

_SHOWN = ("job", "hydra", "all")
_ALONE = {
    "-h": "--help", "-m": "--multirun", "--help": "--help", "--multirun": "--multirun",
    "--resolve": "--resolve", "--version": "--version", "--run": "--run", "-r": "--run",
    "--hydra-help": "--hydra-help",
}  # fmt: skip
_WITH_VALUE = {
    "-c": "--cfg", "--cfg": "--cfg", "-p": "--package", "--package": "--package",
    "-cd": "--config-dir", "--config-dir": "--config-dir", "-cn": "--config-name",
    "--config-name": "--config-name", "-cp": "--config-path", "--config-path": "--config-path",
    "--info": "--info", "-i": "--info",
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """A command line.

    Attributes:
        options: option -> its value, empty for one without.
        settings: `key=value`, as Hydra has to get them.
    """

    options: dict[str, str]
    settings: tuple[str, ...]

    @property
    def is_sweep(self) -> bool:
        """Whether commas separate the values of a sweep."""
        return "--multirun" in self.options

    @property
    def for_hydra(self) -> list[str]:
        """All of them in the order that Hydra's own parser wants."""
        pairs = ((name, value) for name, value in self.options.items() if name != "--help")
        return [*(word for pair in pairs for word in pair if word), *self.settings]


def read_arguments(
    words: Sequence[str], entry: str, known: Callable[[Iterable[str]], list[str]]
) -> Arguments:
    """Tell options from settings, wherever they stand, and put texts into quotes.

    Args:
        words: the command line without the name of the program.
        entry: name of the command.
        known: the settings of the command, given those that were found, for suggestions.

    Raises:
        ConfigError: for an unknown option, a word that is neither, or a value that cannot be read.
    """
    options: dict[str, str] = {}
    settings: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        _check_letters(word)
        name, equals, value = word.partition("=")
        if name in _ALONE and not equals:
            options[_ALONE[name]] = ""
        elif name in _WITH_VALUE:
            value = value if equals else (left.pop(0) if left else "")
            options[_WITH_VALUE[name]] = _checked(name, value)
        elif word.startswith("-"):
            following = left[0] if left and not equals and "=" not in left[0] else value
            raise _not_an_option(word, following, entry, known(settings))
        elif not equals and not word.startswith("~"):
            raise _not_a_setting(word, entry, known(settings))
        else:
            settings.append(word)
    sweeps = "--multirun" in options
    quoted = [quoted_argument(setting, entry, sweeps=sweeps) for setting in settings]
    return Arguments(options, tuple(quoted))


def _checked(name: str, value: str) -> str:
    if _WITH_VALUE[name] == "--cfg" and value not in _SHOWN:
        found = f"{name} {value}".strip()
        raise ConfigError(f"{found} is not an option; write {name} job, {name} hydra or {name} all")
    if not value:
        raise ConfigError(f"{name} needs a value; write {name} VALUE")
    return value


def _check_letters(word: str) -> None:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(
            f"{word!a} holds bytes that are not UTF-8; rename the file, or use a link to it"
        ) from None


def _not_an_option(word: str, value: str, entry: str, known: Sequence[str]) -> ConfigError:
    key = word.partition("=")[0].lstrip("-").replace("-", "_")
    meant = key if key in known else nearest(key, known) or key or "KEY"
    return ConfigError(
        f"{word.partition('=')[0]} is not an option of {entry}, whose settings are written "
        f"key=value; write {meant}={value or 'VALUE'}"
    )


def _not_a_setting(word: str, entry: str, known: Sequence[str]) -> ConfigError:
    first = next((key for key in known if key in ("model", "samples", "run_dir", "config")), "KEY")
    meant = f"{word}=VALUE" if word in known else f"key=value, such as {first}={word}"
    return ConfigError(f"{word} is not a setting of {entry}; write {meant}")
