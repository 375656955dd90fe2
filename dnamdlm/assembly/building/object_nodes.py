"""Objects to nodes of a config: the inverse of `schema.build`.

A node records the class of an object and its constructor arguments, as far as they are known.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dnamdlm.assembly.building.class_targets import ALLOWED_TARGETS, TARGET, target_of
from dnamdlm.backbones.kept_arguments import MADE_WITH
from dnamdlm.backbones.plain_module import ModuleBackbone
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Stratified
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.noisy_predictor import NoisyPredictor
from dnamdlm.lm.objectives import ContinuousTime
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.tokens.vocabulary import Vocabulary

OBSTACLE = "_obstacle_"
"""Key of a node that cannot be built; its value says why."""
UNKNOWN = "its constructor arguments are not known"
NOT_IMPORTABLE = "its class cannot be imported by name"

Trial = Callable[[nn.Module], Tensor]
"""An output of a network in evaluation mode, for comparison."""


class _NotPlainError(Exception):
    """A value that has no form in a config."""


def settings_node(settings: Any) -> dict[str, Any]:
    """The node of a settings object, a frozen dataclass.

    Raises:
        ConfigError: if it is not one, or holds a value that has no form in a config.
    """
    try:
        return _plain(settings)
    except _NotPlainError as error:
        raise ConfigError(
            f"{type(settings).__name__} cannot be recorded: {error}; use plain values in a frozen "
            "dataclass"
        ) from error


def model_nodes(
    lm: MaskedDiffusionLM | CausalLM | BlockDiffusionLM | UniformDiffusionLM | NoisyPredictor,
    *,
    arguments: Mapping[str, Any] | None = None,
    trial: Trial,
) -> dict[str, Any]:
    """The nodes `backbone`, `noise`, `times` and `lm` of a language model.

    Args:
        lm: the model.
        arguments: constructor arguments of a network of another package; None infers them.
        trial: gives logits of a network, which are compared with those of a rebuilt one.

    Raises:
        ConfigError: if a part has no form in a config, or `arguments` do not rebuild the network.
    """
    own: dict[str, Any] = {TARGET: target_of(type(lm))}
    for name in inspect.signature(type(lm)).parameters:
        if name in ("backbone", "vocabulary", "schedule", "times"):
            continue
        value = getattr(lm, name)
        # the default objective, and no experts, are written as they are left out in a config.
        if value is not None and value != ContinuousTime():
            own[name] = settings_node(value) if dataclasses.is_dataclass(value) else value
    return {
        "backbone": _backbone_node(lm.backbone, lm.network_vocabulary, arguments, trial),
        "noise": settings_node(getattr(lm, "schedule", LogLinear())),
        "times": settings_node(getattr(lm, "times", Stratified())),
        "lm": own,
    }


def _backbone_node(
    backbone: Any, vocabulary: Vocabulary, arguments: Mapping[str, Any] | None, trial: Trial
) -> dict[str, Any]:
    if isinstance(backbone, ModuleBackbone):
        inner = _foreign_node(backbone.module, arguments, trial)
        return {TARGET: target_of(ModuleBackbone), "module": inner}
    if is_foreign(target_of(type(backbone))):
        node = _foreign_node(backbone, arguments, trial)
    elif arguments is not None:
        raise ConfigError(
            f"arguments= are for a network of another package, and {type(backbone).__name__} keeps "
            "its own; leave arguments out"
        )
    elif MADE_WITH not in vars(backbone):
        node = {OBSTACLE: UNKNOWN}
    else:
        node = _plain(vars(backbone)[MADE_WITH])
    node[TARGET] = target_of(type(backbone))
    # a config leaves these to the vocabulary of the data.
    offered = {"vocab_size": len(vocabulary), "complement": _plain(vocabulary.complement)}
    for name, value in offered.items():
        if (given := node.pop(name, value)) != value:
            raise ConfigError(
                f"the network was made with {name}={given}, but the vocabulary of the data has "
                f"{value}; make it with {name}={value}"
            )
    return node


def _foreign_node(
    network: nn.Module, arguments: Mapping[str, Any] | None, trial: Trial
) -> dict[str, Any]:
    # a network that does not give logits is refused here, before anything is written.
    trial(network)
    kind = type(network)
    node: dict[str, Any] = {TARGET: target_of(kind)}
    if arguments is None:
        known = inferred_arguments(network)
        if known is not None and _difference(network, known, trial) is not None:
            known = None
    else:
        try:
            known = _plain(arguments)
        except _NotPlainError as error:
            raise ConfigError(f"arguments= cannot be recorded: {error}; use plain values") from None
        if (difference := _difference(network, known, trial)) is not None:
            raise ConfigError(f"arguments={arguments} do not rebuild this network: {difference}")
    node |= {} if known is None else known
    if kind.__module__ == "__main__" or "." in kind.__qualname__:
        return node | {OBSTACLE: NOT_IMPORTABLE}
    return node if known is not None else node | {OBSTACLE: UNKNOWN}


def inferred_arguments(network: nn.Module) -> dict[str, Any] | None:
    """Constructor arguments of a network, where each is an attribute of the same name.

    Arguments that the class keeps itself (`keeps_arguments`) are taken as they are.

    Returns:
        Argument name -> plain value; None if one of them is not found.
    """
    if MADE_WITH in vars(network):
        found: Mapping[str, Any] = vars(network)[MADE_WITH]
    else:
        parameters = inspect.signature(type(network)).parameters.values()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        if any(parameter.kind not in named for parameter in parameters):
            return None
        if any(parameter.name not in vars(network) for parameter in parameters):
            return None
        found = {parameter.name: vars(network)[parameter.name] for parameter in parameters}
    try:
        return _plain(found)
    except _NotPlainError:
        return None


def _difference(network: nn.Module, arguments: Mapping[str, Any], trial: Trial) -> str | None:
    """In what a network that is built from its arguments differs from it; None: in nothing."""
    try:
        with torch.random.fork_rng(devices=[]):
            twin = type(network)(**as_arguments(arguments))
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, OSError) as error:
        return f"its constructor fails ({error})"
    for name in arguments:
        if _attribute(network, name) != _attribute(twin, name):
            return f"its attribute {name} differs"
    own, other = network.state_dict(), twin.state_dict()
    shapes, others = ({k: v.shape for k, v in state.items()} for state in (own, other))
    if shapes != others:
        return "the names or shapes of its weights differ"
    twin.load_state_dict(own)
    if not torch.equal(trial(network), trial(twin.to(next(network.parameters()).device))):
        return "its output with the same weights differs"
    return None


def _attribute(network: nn.Module, name: str) -> Any:
    """A plain attribute of a network; None where there is none."""
    try:
        return _plain(vars(network).get(name))
    except _NotPlainError:
        return None


def as_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as `build` gives them to a class: lists become tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}


def _plain(value: Any) -> Any:
    """A value as plain dictionaries and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if not type(value).__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
            raise _NotPlainError(f"{type(value).__name__} is not frozen")
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return {TARGET: target_of(type(value)), **_plain(fields)}
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise _NotPlainError(f"the key {odd[0]!r} is not a string")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _NotPlainError(f"{value} is not a finite number")
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise _NotPlainError(f"a {type(value).__name__} is not a plain value")


def is_foreign(target: object) -> bool:
    """Whether a target is a class of another package."""
    return isinstance(target, str) and not target.startswith(ALLOWED_TARGETS)
