"""What every entry shares: composing the config, one-sentence errors, exit codes and `--help`.

Exit codes: 0 success, 1 a failed run, 2 a mistake of the user (one sentence, no traceback), 128+n
stopped by signal n after saving. `debug=true` shows tracebacks.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dnamdlm.errors import ConfigError, DnamdlmError
from dnamdlm.help_text import entry_help
from dnamdlm.threads import let_idle_threads_sleep
from dnamdlm.training.launch import is_child_of_rank_zero, launched_rank

PACKAGE_FOLDER = Path(__file__).resolve().parent

# a launcher ends all ranks soon after one has failed; on a busy machine it takes seconds to notice.
_RANK_ZERO_FIRST_S = 10.0

Tree = dict[str, Any]
Given = frozenset[str]
Task = Callable[[Tree, Given], None]


_FREE_TEXT = ("prompt",)


class Stopped(DnamdlmError):
    """A run ended early by request, with everything saved; `exit_code` goes to the shell."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def config_folder(name: str = "") -> Path:
    """The folder of YAML files: inside an installed package, else next to it in a checkout.

    Args:
        name: entry; one with recipes of its own has its primary config and groups in a folder of
            that name.
    """
    installed = PACKAGE_FOLDER / "configs"
    folder = installed if installed.is_dir() else PACKAGE_FOLDER.parent / "configs"
    return folder / name if (folder / name / f"{name}.yaml").is_file() else folder


def run_entry(name: str, task: Task, arguments: list[str] | None = None) -> None:
    """Run `python -m dnamdlm.<name>`: compose `configs/<name>.yaml` with the command line.

    Args:
        name: entry and primary config.
        task: receives the resolved config tree as plain dictionaries and lists, and the dotted
            names of the settings that the command line gives.
        arguments: command line without the program name; `sys.argv` by default.
    """
    let_idle_threads_sleep()
    arguments = list(map(quoted_text, sys.argv[1:] if arguments is None else arguments))
    debug = "debug=true" in (argument.lower() for argument in arguments)
    if "--help" in arguments or "-h" in arguments:
        print(entry_help(config_folder(name), name))
        return
    if not debug:
        sys.excepthook = _one_line_failure
    # whatever the surroundings allow, what is written here is not writable for everybody.
    os.umask(os.umask(0o077) | 0o002)
    # the environment variable makes hydra raise its errors here instead of printing them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [f"dnamdlm.{name}", *arguments]
    # hydra only composes; the tasks run after it, so that it wraps none of their errors. Only what
    # a launcher such as submitit takes to another process has to be done where it arrives.
    composed: list[tuple[Tree, Given] | DnamdlmError] = []

    def receive(config: DictConfig) -> None:
        tree = _tree_or_error(config)
        if _is_launched_elsewhere():
            _perform([tree], task, debug=debug)
        else:
            composed.append(tree)

    folder = str(config_folder(name))
    for argument in arguments:
        if (key := repeated_key(argument)) is not None:
            _fail(ConfigError(f"{key} is given twice in {argument}; give it once"), debug=debug)
    application = hydra.main(version_base="1.3", config_path=folder, config_name=name)
    try:
        application(receive)()
    except (HydraException, OmegaConfBaseException) as error:
        _fail(explain_composition_error(error, name, arguments), debug=debug)
    _perform(composed, task, debug=debug)


def _is_launched_elsewhere() -> bool:
    job = HydraConfig.get()
    is_here = str(job.launcher.get("_target_")).endswith(".BasicLauncher")
    return job.mode == RunMode.MULTIRUN and not is_here


def _perform(jobs: list[tuple[Tree, Given] | DnamdlmError], task: Task, *, debug: bool) -> None:
    _configure_logging()
    try:
        for job in jobs:
            if isinstance(job, DnamdlmError):
                raise job
            task(*job)
    except DnamdlmError as error:
        _fail(error, debug=debug, code=error.exit_code)


def _tree_or_error(config: DictConfig) -> tuple[Tree, Given] | DnamdlmError:
    try:
        return plain_tree(config), given_settings(HydraConfig.get().overrides.task)
    except DnamdlmError as error:
        return error


def plain_tree(config: DictConfig) -> Tree:
    """The resolved tree as plain Python; a sweep gives each of its jobs a folder of its own."""
    try:
        tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a key"
        raise ConfigError(
            f"{key} is not set; give it on the command line as {key}=VALUE"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError("the composed config is not a mapping; a primary config must hold keys")
    if HydraConfig.initialized():
        job = HydraConfig.get()
        if job.mode == RunMode.MULTIRUN and tree.get("run_dir"):
            changed = [item for item in job.overrides.task if not item.startswith("run_dir=")]
            tree["run_dir"] = str(Path(str(tree["run_dir"])) / _folder_name(changed))
    return {str(key): value for key, value in tree.items()}


def given_settings(overrides: Iterable[str]) -> Given:
    """Dotted names of what overrides set: `sampler.begin` of `sampler.begin=0.9`."""
    keys = (item.lstrip("+~").split("=", 1)[0].split("@", 1)[0] for item in overrides)
    return frozenset(key.replace("/", ".") for key in keys)


def _folder_name(overrides: list[str]) -> str:
    return re.sub(r"[^A-Za-z0-9_.,=+-]", "_", ",".join(sorted(overrides))) or "default"


def explain_composition_error(
    error: HydraException | OmegaConfBaseException, name: str, arguments: list[str]
) -> ConfigError:
    """One sentence for what Hydra or OmegaConf found wrong with the command line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = sorted(error.options or [])
        return ConfigError(
            f"{group}={option} is unknown{_suggest(option, options)}; choose one of "
            f"{', '.join(options)}"
        )
    text = str(error)
    must_choose = re.search(r"You must specify '([^']+)'", text)
    if must_choose:
        group = must_choose.group(1)
        options = sorted(path.stem for path in (config_folder(name) / group).glob("*.yaml"))
        noun = "recipe" if group == "config" else group
        return ConfigError(f"choose a {noun} with {group}=NAME, one of {', '.join(options)}")
    wrong_key = re.search(r"Could not override '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and wrong_key:
        key = wrong_key.group(1)
        known = known_keys(name, [item for item in arguments if not _sets(item, key)])
        return ConfigError(f"{key} is not a setting of {name}{_suggest(key, known)}; see --help")
    first_line = text.strip().splitlines()[0].rstrip(".") if text.strip() else type(error).__name__
    return ConfigError(f"the command line of {name} cannot be read: {first_line}")


def _sets(argument: str, key: str) -> bool:
    return argument.lstrip("+~").split("=", 1)[0].split("@", 1)[0] == key


def known_keys(name: str, arguments: list[str]) -> list[str]:
    """Every dotted key of the composed tree, for suggestions; empty where it does not compose."""
    overrides = [item for item in arguments if not item.startswith("-")]
    folder = config_folder(name)
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(folder)):
            config = hydra.compose(config_name=name, overrides=overrides)
    except (HydraException, OmegaConfBaseException):
        return []
    groups = [path.name for path in folder.iterdir() if path.is_dir()]
    return groups + _dotted(OmegaConf.to_container(config, resolve=False))


def _dotted(tree: Any, prefix: str = "") -> list[str]:
    if not isinstance(tree, dict):
        return []
    keys: list[str] = []
    for key, value in tree.items():
        keys.append(f"{prefix}{key}")
        keys.extend(_dotted(value, f"{prefix}{key}."))
    return keys


def quoted_text(argument: str) -> str:
    """An argument whose value is free text in quotes, so that Hydra reads no grammar in it."""
    key, equals, value = argument.partition("=")
    if key not in _FREE_TEXT or not equals or value == "null" or value[:1] in ("'", '"'):
        return argument
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    value = re.sub(r"(\\+)$", r"\1\1", value).replace("${", "\\${")
    return f"{key}='{value}'"


def repeated_key(argument: str) -> str | None:
    """A key that one level of a `{key: value}` in an argument has twice; Hydra would keep the last.

    Text in quotes is passed over.
    """
    levels: list[set[str]] = []
    for token in re.findall(r"'[^']*'|\"[^\"]*\"|[{}]|[^\s{},:'\"\[\]=]+\s*:", argument):
        if token == "{":
            levels.append(set())
        elif token == "}" and levels:
            levels.pop()
        elif token.endswith(":") and levels:
            key = token[:-1].strip()
            if key in levels[-1]:
                return key
            levels[-1].add(key)
    return None


def _suggest(word: str, choices: list[str]) -> str:
    nearest = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def _configure_logging() -> None:
    # of several ranks only the first speaks; the others still report what goes wrong.
    level = logging.INFO if launched_rank() == 0 else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr, force=True)
    for noisy in ("matplotlib", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def say(text: str) -> None:
    """Print for the user; of several ranks only the first does."""
    if launched_rank() == 0:
        print(text)


def _wait_for_rank_zero() -> str:
    """Give rank 0 the time to report the same mistake; the launcher then ends this process.

    Returns:
        What to put before the message of this rank.
    """
    number = launched_rank()
    if number == 0:
        return "dnamdlm"
    time.sleep(_RANK_ZERO_FIRST_S)
    return f"dnamdlm: on rank {number}"


def _fail(error: DnamdlmError, *, debug: bool, code: int = 2) -> None:
    if isinstance(error, Stopped) and launched_rank() > 0:
        # all ranks stop together; the first says so, and answers for those that it started.
        sys.exit(0 if is_child_of_rank_zero() else code)
    speaker = _wait_for_rank_zero()
    if debug:
        traceback.print_exception(error)
    else:
        print(f"{speaker}: {error}", file=sys.stderr)
    sys.exit(code)


def _one_line_failure(
    kind: type[BaseException], error: BaseException, _: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("dnamdlm: interrupted", file=sys.stderr)
        return
    detail = str(error).strip().splitlines()
    reason = detail[0] if detail else "no message"
    print(
        f"{_wait_for_rank_zero()}: failed with {kind.__name__}: {reason}; "
        "run again with debug=true for the traceback",
        file=sys.stderr,
    )
