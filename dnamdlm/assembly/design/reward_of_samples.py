"""The reward that `sample` steers towards, as its settings name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dnamdlm.assembly.sample.sample_settings import SampleSettings


def reward_of(settings: SampleSettings, given: Any = None) -> Any:
    """The reward of the settings, read by the rules of `design`; None without one.

    Args:
        settings: of `sample`.
        given: a list of terms, a function or a reward from Python, in place of the setting.

    Raises:
        CheckpointError: if a folder holds no head.
        ConfigError: for a term that cannot be read, or code that is not allowed.

    >>> reward_of(SampleSettings("runs/demo", "x.fa", reward=({"motif": "TATA"},))).name
    'motif:TATA'
    """
    if settings.reward is None:
        return None
    terms = settings.reward if given is None else given
    if not isinstance(terms, str | Sequence | Mapping):
        # a function or an object, which `SteeringRequest` checks.
        return terms
    # the readers of heads and words are not loaded for a sample without a reward.
    from dnamdlm.assembly.design.reward_terms import RewardReader

    return RewardReader(settings.trust, settings.device).read(terms, settings.reward_class)
