"""Which settings of a run differ from those that its folder records, and whether they may."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dnamdlm.errors import ConfigError

# settings that change what a run displays or where it computes, not what it computes.
FREE_SETTINGS = (
    "run_dir",
    "debug",
    "trust",
    "threads",
    "logger",
    "resume",
    "overlap_report",
    "data.cache_dir",
    "trainer.compile",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.micro_batch_size",
    "trainer.num_workers",
    "trainer.keep_checkpoints",
    "trainer.checkpoint_every",
    "trainer.max_minutes",
)
# settings that came later, with the value that earlier runs had.
_LATER = {
    "lm.objective.lowest": 0.0,
    "lm.objective.ramp_steps": 0,
    "lm.objective.ramp_from": 0.3,
    "lm.objective.complementary": False,
    "lm.objective.density": None,
    "backbone.num_numbers": 0,
    "data.revised": False,
}
# a checkpoint holds the state of one kind of optimizer.
_OPTIMIZER = "optimizer._target_"


def changed_settings(
    run_dir: Path, recorded: Mapping[str, Any], tree: Mapping[str, Any], allow: Collection[str]
) -> dict[str, Any]:
    """Settings that differ and may differ, with both values.

    Args:
        run_dir: folder of the run, for messages.
        recorded: its config.
        tree: the present config.
        allow: settings, or groups of them, that may differ.

    Raises:
        ConfigError: for others that differ, or a name in `allow` that is not a setting.

    >>> changed_settings(Path("runs/a"), {"seed": 1}, {"seed": 2}, ["seed"])
    {'seed': [1, 2]}
    """
    now = _flat(tree)
    before = {key: value for key, value in _LATER.items() if key in now} | _flat(recorded)
    for name in allow:
        if not any(_is_within(key, name) for key in before.keys() | now.keys()):
            raise ConfigError(f"resume.allow names {name}, which is not a setting of this run")
    changed = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and not any(_is_within(key, free) for free in FREE_SETTINGS)
    ]
    refused = [key for key in changed if not any(_is_within(key, name) for name in allow)]
    if refused:
        shown = ", ".join(
            f"{key} was {before.get(key)!r} and is now {now.get(key)!r}" for key in refused[:5]
        )
        more = f", and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise ConfigError(
            f"run_dir={run_dir} holds a run of another config ({shown}{more}); choose another "
            "run_dir, give the same settings, or name those that may change, as in "
            f"resume.allow=[{refused[0]}]"
        )
    if _OPTIMIZER in changed:
        raise ConfigError(
            f"the checkpoints of run_dir={run_dir} hold the state of another optimizer "
            f"({_OPTIMIZER} was {before.get(_OPTIMIZER)!r} and is now {now.get(_OPTIMIZER)!r}), "
            "which resume.allow cannot change; give the same optimizer, or start another run_dir "
            f"from these weights with init_from={run_dir}"
        )
    return {key: [before.get(key), now.get(key)] for key in changed}


def _is_within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
