"""Sequences with a wanted reward, under constraints: into files, or for Python."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnamdlm.assembly.building.without_effect import (
    changed_from_default,
    reasons_of,
    refuse_without_effect,
)
from dnamdlm.assembly.class_labels import guidance_of
from dnamdlm.assembly.design.audits import Audit
from dnamdlm.assembly.design.baseline_draws import Compared, drawn_baselines
from dnamdlm.assembly.design.costs import cost_of
from dnamdlm.assembly.design.design_draws import Drawing, steered_of
from dnamdlm.assembly.design.design_lines import design_text
from dnamdlm.assembly.design.design_settings import KMER_AUDIT, DesignSettings
from dnamdlm.assembly.design.designs import Designs, check_files
from dnamdlm.assembly.design.natural_sequences import Natural, read_natural
from dnamdlm.assembly.design.requirements import (
    check_possible,
    conditions_of,
    given_sets,
    request_of,
)
from dnamdlm.assembly.design.reward_terms import RewardReader
from dnamdlm.assembly.design.selecting import selected
from dnamdlm.assembly.held_out import warn_if_worse
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.sample.requests import Request
from dnamdlm.assembly.sample.sample_writers import Origin
from dnamdlm.assembly.sample.steering_request import random_bases, warn_of_window
from dnamdlm.data.targets import inputs_of
from dnamdlm.evaluation.samples.motifs import Motif, read_motifs
from dnamdlm.lm.sampling.generation import check_guided, check_served
from dnamdlm.rewards.conditions import Condition
from dnamdlm.rewards.reward import CountedReward, Reward, rewards_of
from dnamdlm.training.run_folder import versions


@dataclass(frozen=True)
class Given:
    """Objects from Python in place of what the settings name.

    Attributes:
        reward: in place of `settings.reward`.
        audit: in place of `settings.audit`.
        template: letters, in place of the file.
        unlike: sequences, in place of the file.
        natural: sequences and activities, in place of the table.
    """

    reward: Any = None
    audit: Any = None
    template: str | None = None
    unlike: Sequence[str] | None = None
    natural: Natural | None = None


@dataclass(frozen=True)
class _Wanted:
    """What is read and checked before anything is drawn."""

    reward: Reward
    audit: Reward | None
    natural: Natural | None
    conditions: list[Condition]
    motifs: list[Motif]


def design(settings: DesignSettings) -> tuple[Path, str]:
    """Design sequences and write FASTA, a table and a report, all of them or none.

    Returns:
        The FASTA file, and sentences for people.

    Raises:
        CheckpointError: if a folder holds no model or head.
        ConfigError: for a setting out of range, or constraints that contradict each other.
        DataError: for a file that cannot be used, a reward that is no number, or too few draws that
            satisfy the constraints.
    """
    out = Path(settings.out)
    check_files(out, inputs_of(settings))
    wanted = _read(settings, Given())
    if (request := request_of(settings, None)) is not None:
        _check(settings, request, wanted)
    start_ops(settings.ops, settings.device, settings.precision)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    warn_if_worse(loaded)
    designs = _designed(loaded, settings, wanted, Given())
    written = designs.write(out, width=settings.width)
    others = "".join(f", {path.name}" for path in written[1:])
    return out, f"{designs.report['text']}\nwrote {len(designs)} sequences to {out}{others}"


def designed(loaded: LoadedModel, settings: DesignSettings, given: Given) -> Designs:
    """The designs that `design` writes with the same settings.

    Args:
        loaded: the model, in place of `settings.model`.
        settings: `out` is not used.
        given: objects in place of what the settings name.

    Raises:
        CheckpointError, ConfigError, DataError: as `design`.
    """
    refuse_without_effect(changed_from_default(settings), reasons_of(settings))
    return _designed(loaded, settings, _read(settings, given), given)


def _read(settings: DesignSettings, given: Given) -> _Wanted:
    """The reward, the oracle of the audit, the natural sequences and the conditions."""
    conditions = conditions_of(settings, given.unlike)
    natural = given.natural
    if natural is None and settings.natural is not None:
        natural = read_natural(settings.natural, settings.natural_column)
    terms = settings.reward if given.reward is None else given.reward
    reader = RewardReader(settings.trust, settings.device)
    reward = reader.read(terms, settings.reward_class)
    audit: Reward | None = None
    chosen = settings.audit if given.audit is None else given.audit
    if chosen == KMER_AUDIT:
        assert natural is not None
        audit = natural.kmer_oracle(settings.seed)
    elif chosen is not None:
        reader = RewardReader(settings.trust, settings.device, "audit")
        audit = reader.read(chosen, settings.audit_class)
    motifs = [] if settings.motifs is None else read_motifs(settings.motifs)
    return _Wanted(reward, audit, natural, conditions, motifs)


def _check(
    settings: DesignSettings, request: Request, wanted: _Wanted, *, warns: bool = False
) -> None:
    """Find contradictions, and try the rewards, before long work."""
    check_possible(settings, request, wanted.conditions)
    letters = np.array(list("?AC?G???T"))
    trials = ["".join(letters[row]) for row in random_bases(given_sets(request))]
    for setting, reward in (("reward", wanted.reward), ("audit", wanted.audit)):
        if reward is not None:
            rewards_of(reward, trials)
        if warns:
            warn_of_window(setting, reward, request.length)


def _facts(loaded: LoadedModel, settings: DesignSettings, length: int) -> dict[str, Any]:
    """What a report says of the command."""
    return {
        "command": sys.argv,
        "versions": versions(),
        "model_sha256": loaded.digest,
        "length": length,
        "seed": settings.seed,
    }


def _designed(
    loaded: LoadedModel, settings: DesignSettings, wanted: _Wanted, given: Given
) -> Designs:
    started = time.monotonic()
    loaded.require_dna()
    request = request_of(settings, loaded.length, given.template)
    assert request is not None
    _check(settings, request, wanted, warns=True)
    check_served(loaded.language_model, settings.sampler)
    named = guidance_of(
        loaded, label=settings.label, condition=settings.condition, strength=settings.guidance
    )
    check_guided(loaded.language_model, named.guidance)
    counted = CountedReward(wanted.reward)
    drawing = Drawing(loaded, settings, request, wanted.conditions, named.guidance)
    steering = drawing.steering(counted)
    run = drawing.generation(steering)
    pool = drawing.pool(run, settings.pool_size)
    network_calls = run.network_calls
    rewards = counted.batch(pool.sequences)
    chosen = selected(rewards, settings, steered_of(run, pool))
    seconds = time.monotonic() - started
    cost = cost_of(
        pool,
        chosen,
        settings,
        network_calls=network_calls,
        reward=counted,
        values=getattr(steering and steering.value, "sequences", 0),
        seconds=seconds,
    )
    oracles = {"reward": wanted.reward}
    if wanted.audit is not None:
        oracles["audit"] = wanted.audit
    drawn = drawn_baselines(drawing, run, pool, CountedReward(wanted.reward))
    audit = Audit(loaded, settings, oracles, wanted.natural)
    sequences = [pool.sequences[place] for place in chosen.places]
    columns: dict[str, list[Any]] = {
        "reward": rewards[chosen.places].tolist(),
        "draw": [pool.numbers[place] + 1 for place in chosen.places],
    }
    columns |= audit.columns(sequences)
    report = {
        **_facts(loaded, settings, request.length),
        **{name: oracle.name for name, oracle in oracles.items()},
        "cost": cost,
        "natural": audit.natural_figures(),
        "compared": audit.compared(
            columns, Compared(sequences, network_calls, cost["reward_sequences"]), drawn
        ),
        "figures": audit.figures(wanted.motifs),
    }
    report["text"] = design_text(report)
    tilt = "" if settings.temperature is None else f" temperature={settings.temperature:g}"
    tilt += "" if settings.population is None else f" population={settings.population}"
    origin = Origin(
        loaded.digest,
        settings.sampler.name,
        settings.sampler.steps,
        settings.seed,
        f" select={settings.select}{tilt}{named.note}{request.note}",
    )
    return Designs(sequences, columns, report, origin.words)
