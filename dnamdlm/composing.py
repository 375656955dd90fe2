"""From the settings of a command line to a config tree, and sentences for what does not compose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from dnamdlm.errors import ConfigError
from dnamdlm.quoting import unquoted_argument
from dnamdlm.setting_files import RECIPES, config_folder, groups_of, keys_of_option, options_of
from dnamdlm.suggestions import did_you_mean

Tree = dict[str, Any]
Given = frozenset[str]

CompositionError = HydraException | OmegaConfBaseException
# commands whose run_dir is a folder that they make, one for each job of a sweep.
_MAKES_RUNS = ("train", "finetune")
_MOST_BYTES = 200


@dataclass(frozen=True)
class Job:
    """What one run of a command was asked to do.

    Attributes:
        tree: the resolved config.
        given: dotted names of the settings that the command line gives.
        remarks: sentences for the user.
    """

    tree: Tree
    given: Given
    remarks: tuple[str, ...] = ()


def job_of(config: DictConfig, name: str) -> Job:
    """The job of a config that Hydra composed, within its application.

    Raises:
        ConfigError: if a key has no value.
    """
    of_hydra = HydraConfig.get()
    overrides = overrides_of(of_hydra)
    given = given_settings(overrides)
    whole, remarks = without_leftovers(config, name, given, dict(of_hydra.runtime.choices))
    tree = plain_tree(whole)
    if of_hydra.mode == RunMode.MULTIRUN and name in _MAKES_RUNS and tree.get("run_dir"):
        changed = [item for item in overrides if not item.startswith("run_dir=")]
        tree["run_dir"] = str(Path(str(tree["run_dir"])) / _folder_name(changed))
    return Job(tree, given, remarks)


def overrides_of(of_hydra: Any) -> list[str]:
    """The overrides of a job, in which references such as `${seed}` stand as they were written."""
    found = OmegaConf.to_container(of_hydra.overrides.task, resolve=False)
    assert isinstance(found, list)
    return [str(item) for item in found]


def plain_tree(config: DictConfig) -> Tree:
    """The resolved tree as plain Python.

    Raises:
        ConfigError: if a key has no value.
    """
    variables: list[str] = []
    try:
        with _environment_refused(variables):
            tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "a key"
        if variables:
            raise ConfigError(
                f"{key} is the environment variable {variables[0]}, which may be secret, and "
                "settings are stored in config.yaml, reports and checkpoints; write the value "
                "itself where everybody may read it, and leave keys of loggers to their own "
                "variables"
            ) from error
        value = re.search(r"Interpolation key '([^']+)'|interpolation type ([^ ]+)", str(error))
        if value is not None:
            wrong = value.group(1) or value.group(2)
            raise ConfigError(
                f"{key} refers to ${{{wrong}}}, which is not a setting; write \\${{ where these "
                "letters are meant"
            ) from error
        raise ConfigError(
            f"{key} is not set; give it on the command line as {key}=VALUE"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError("the composed config is not a mapping; a primary config must hold keys")
    return {str(key): value for key, value in tree.items() if key != "hydra"}


@contextmanager
def _environment_refused(variables: list[str]) -> Iterator[None]:
    """Within the block `${oc.env:NAME}` is an error, and NAME is added to the list."""

    def refuse(name: str, *_: Any) -> str:
        variables.append(name)
        raise KeyError(name)

    OmegaConf.register_new_resolver("oc.env", refuse, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def without_leftovers(
    config: DictConfig, name: str, given: Collection[str], choices: Mapping[str, str | None]
) -> tuple[DictConfig, tuple[str, ...]]:
    """A config without settings of options that were replaced by others.

    A recipe sets keys of the backbone that it chooses, for example. With `backbone=OTHER` those
    that the other one does not have are left out.

    Args:
        config: as Hydra composed it.
        name: entry and primary config.
        given: dotted names of the settings of the command line.
        choices: group -> its option.

    Returns:
        The config, and a sentence for each group of which something was left out.
    """
    folder = config_folder(name)
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    remarks = []
    for group in groups_of(folder, name):
        option, node = choices.get(group), tree.get(group)
        is_chosen = group in given and group != RECIPES and option in options_of(folder, group)
        if not is_chosen or option is None or not isinstance(node, dict):
            continue
        own = keys_of_option(folder, group, option)
        dropped: list[str] = []
        tree[group] = _kept(node, own, group, given, dropped)
        if dropped:
            recipe = f"config={choices.get(RECIPES)}"
            stays = [
                f"{group}.{key}={value}"
                for key, value in tree[group].items()
                if key in own and own[key] != value and f"{group}.{key}" not in given
            ]
            kept = f"; kept from {recipe}: {', '.join(stays)}" if stays else ""
            remarks.append(
                f"{group}={option} does not have {', '.join(dropped)}, which {recipe} sets for "
                f"another {group}; left out{kept}"
            )
    return OmegaConf.create({str(key): value for key, value in tree.items()}), tuple(remarks)


def _kept(
    node: Mapping[Any, Any],
    own: Mapping[str, Any],
    prefix: str,
    given: Collection[str],
    dropped: list[str],
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}.{key}"
        inner = own.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            kept[key] = _kept(value, inner, name, given, dropped)
        elif key in own or any(f"{item}.".startswith(f"{name}.") for item in given):
            kept[key] = value
        else:
            dropped.append(name)
    return kept


def given_settings(overrides: Iterable[str]) -> Given:
    """Dotted names of what overrides set: `sampler.begin` of `sampler.begin=0.9`."""
    keys = (item.lstrip("+~").split("=", 1)[0].split("@", 1)[0] for item in overrides)
    return frozenset(key.replace("/", ".") for key in keys)


def _folder_name(overrides: list[str]) -> str:
    """The folder of a job within that of its sweep, named by what it was given."""
    name = ",".join(map(unquoted_argument, sorted(overrides)))
    name = re.sub(r"[^\w.,=+-]", "_", name) or "default"
    if len(name.encode()) <= _MOST_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name.encode()[:_MOST_BYTES].decode(errors='ignore')}-{digest}"


def check_apart(trees: Iterable[Tree], name: str) -> None:
    """Refuse a sweep two jobs of which would write the same file or folder.

    Raises:
        ConfigError: naming it.
    """
    # figures are added to the file of an evaluation; report reads its run_dir.
    keys = ("run_dir",) if name in _MAKES_RUNS else ("out",)
    if name in ("evaluate", "judge", "report"):
        return
    seen: set[tuple[str, Any]] = set()
    for tree in trees:
        # shards of one result share its name, and have a file of their own for each part.
        shard = tree.get("shard")
        for key in keys:
            target = tree.get(key)
            if not isinstance(target, str) or target == "-":
                continue
            if (target, shard) in seen:
                raise ConfigError(
                    f"several jobs of this sweep would write {key}={target}; put what is swept "
                    f"into the name, as in {key}=NAME_${{seed}}"
                )
            seen.add((target, shard))


def composed(name: str, settings: Iterable[str]) -> tuple[Tree, dict[str, str]]:
    """The config of a command line as it is, not resolved, and the option of each group.

    A recipe may be missing; the config is then that of the groups alone.

    Args:
        name: entry and primary config.
        settings: of the command line, as Hydra has to get them.

    Raises:
        HydraException: if it does not compose.
        OmegaConfBaseException: likewise.
    """
    overrides = list(settings)
    folder = config_folder(name)
    has_recipe = any(item.startswith(f"{RECIPES}=") for item in overrides)
    if RECIPES in groups_of(folder, name) and not has_recipe:
        overrides.append(f"~{RECIPES}")
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(folder)):
        config = hydra.compose(config_name=name, overrides=overrides, return_hydra_config=True)
    chosen = dict(config.hydra.runtime.choices)
    whole, _ = without_leftovers(config, name, given_settings(overrides), chosen)
    tree = OmegaConf.to_container(whole, resolve=False)
    assert isinstance(tree, dict)
    choices = {group: option for group, option in chosen.items() if isinstance(option, str)}
    return {str(key): value for key, value in tree.items() if key != "hydra"}, choices


def known_keys(name: str, arguments: Iterable[str]) -> list[str]:
    """Every dotted key of the composed tree, for suggestions; empty where it does not compose."""
    try:
        tree, _ = composed(name, (item for item in arguments if not item.startswith("-")))
    except (HydraException, OmegaConfBaseException):
        return []
    return [*groups_of(config_folder(name), name), *_dotted(tree)]


def _dotted(tree: Any, prefix: str = "") -> list[str]:
    if not isinstance(tree, dict):
        return []
    keys: list[str] = []
    for key, value in tree.items():
        keys.append(f"{prefix}{key}")
        keys.extend(_dotted(value, f"{prefix}{key}."))
    return keys


def explain_composition_error(
    error: CompositionError, name: str, settings: Iterable[str]
) -> ConfigError:
    """One sentence for what Hydra or OmegaConf found wrong with the command line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = sorted(error.options or [])
        return ConfigError(
            f"{group}={option} is unknown{did_you_mean(option, options)}; choose one of "
            f"{', '.join(options)}"
        )
    if isinstance(error, OverrideParseException):
        key = error.override.partition("=")[0]
        return ConfigError(
            f"{error.override} cannot be read; put the value into quotes within those of the "
            f"shell, as in \"{key}='...'\""
        )
    text = str(error)
    must_choose = re.search(r"You must specify '([^']+)'", text)
    if must_choose:
        group = must_choose.group(1)
        options = options_of(config_folder(name), group)
        noun = "recipe" if group == RECIPES else group
        return ConfigError(f"choose a {noun} with {group}=NAME, one of {', '.join(options)}")
    several = re.search(r"Ambiguous value for argument '(.*)'\n", text)
    if several:
        key, _, value = several.group(1).partition("=")
        return ConfigError(
            f"{key}={value} names several values; give one, or a list as {key}=[{value}], or add "
            "-m to run the command once for each"
        )
    wrong_key = re.search(r"Could not override '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and wrong_key:
        key = wrong_key.group(1)
        known = known_keys(name, [item for item in settings if not _sets(item, key)])
        return ConfigError(
            f"{key} is not a setting of {name}{did_you_mean(key, known)}; see --help"
        )
    first_line = text.strip().splitlines()[0].rstrip(".") if text.strip() else type(error).__name__
    return ConfigError(f"the command line of {name} cannot be read: {first_line}")


def _sets(argument: str, key: str) -> bool:
    return argument.lstrip("+~").split("=", 1)[0].split("@", 1)[0] == key


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
