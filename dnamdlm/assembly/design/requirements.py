"""What the settings of `design` ask of every sequence: what is given, and conditions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.sample.requests import Request, check_motifs, of_length, of_strings
from dnamdlm.assembly.sample.requests import of_templates as of_records
from dnamdlm.assembly.sample.template_files import read_templates
from dnamdlm.data.tasks.sequence_inputs import SequenceSet, encode_dna
from dnamdlm.data.tasks.task_tables import read_label_rows
from dnamdlm.diffusion.automaton import Automaton
from dnamdlm.errors import ConfigError
from dnamdlm.rewards.condition_automata import MOST_STATES, states_of
from dnamdlm.rewards.conditions import (
    Condition,
    ForbiddenWord,
    GcShare,
    LongestRun,
    NotLike,
    RequiredWord,
    word_of,
)
from dnamdlm.rewards.contradictions import check_conditions
from dnamdlm.tokens.vocabulary import Vocabulary


def conditions_of(settings: DesignSettings, unlike: Sequence[str] | None = None) -> list[Condition]:
    """The conditions that draws are rejected by, cheap ones first.

    Args:
        settings: of `design`.
        unlike: sequences in place of the file `settings.unlike`.

    Raises:
        ConfigError: for a word that cannot be read.
        DataError: for a file of sequences that cannot be read.
    """
    found: list[Condition] = []
    if settings.gc is not None:
        found.append(GcShare(*settings.gc))
    if settings.longest_run is not None:
        found.append(LongestRun(settings.longest_run))
    found += [ForbiddenWord(word_of(text, "avoid")) for text in settings.avoid or ()]
    found += [RequiredWord(word_of(text, "require")) for text in settings.require or ()]
    if settings.unlike is not None:
        known = _known(settings.unlike, unlike)
        found.append(NotLike(settings.unlike, known, settings.unlike_share, settings.unlike_word))
    return found


def _known(source: str, given: Sequence[str] | None) -> SequenceSet:
    if given is not None:
        names = [f"row_{number + 1}" for number in range(len(given))]
        return encode_dna(names, list(given), "unlike")
    rows = read_label_rows(Path(source), labelled=False)
    return encode_dna(rows.names, rows.sequences, source)


def request_of(
    settings: DesignSettings, window: int | None, template: str | None = None
) -> Request | None:
    """What is filled and what is given; None where that needs the length of the model's windows.

    Args:
        settings: of `design`.
        window: bases of a training window; None before the model is read.
        template: letters in place of the file `settings.template`.

    Raises:
        ConfigError: for a motif that does not fit, or several templates.
        DataError: for a template that cannot be read.
    """
    if settings.template is not None:
        found = (
            of_strings([template])
            if template is not None
            else of_records(read_templates(settings.template))
        )
        if len(found) != 1:
            raise ConfigError(
                f"template={settings.template} has {len(found)} records, and design fills one; "
                "give a file with one"
            )
        return found[0]
    check_motifs(settings.motif or (), settings.length)
    length = settings.length or window
    return None if length is None else of_length(length, settings.motif or ())


def check_possible(
    settings: DesignSettings, request: Request, conditions: Sequence[Condition]
) -> None:
    """Refuse conditions that contradict what is given, or each other.

    Raises:
        ConfigError: naming the two.
    """
    if settings.template is not None:
        what = f"template={settings.template}"
    elif settings.motif:
        what = f"motif={','.join(settings.motif)}"
    else:
        what = f"length={request.length}"
    check_conditions(conditions, given_sets(request), what)
    _check_together(conditions, given_sets(request), what)


def _check_together(conditions: Sequence[Condition], given: NDArray[np.uint8], what: str) -> None:
    """Refuse conditions that no sequence satisfies, naming the smallest set that is impossible."""
    for size in (1, 2, len(conditions)):
        for chosen in itertools.combinations(conditions, size):
            states = states_of(chosen, len(given))
            if not states.count(given):
                names = ", ".join((*states.held, what))
                raise ConfigError(f"no sequence satisfies {names} together; leave one of them out")


def automaton_of(
    conditions: Sequence[Condition], request: Request, vocabulary: Vocabulary
) -> Automaton:
    """The conditions that draws are steered to; those that it cannot hold are left to rejection.

    Raises:
        ConfigError: if there is none.
    """
    states = states_of(conditions, request.length)
    if not states.held:
        raise ConfigError(
            "constraints=steer can hold none of the constraints, whose automaton has more than "
            f"{MOST_STATES:,} states; use constraints=reject"
        )
    return Automaton(
        torch.from_numpy(states.next_states),
        torch.from_numpy(states.accepts),
        torch.tensor([vocabulary.symbols.index(base) for base in "ACGT"]),
    )


def given_sets(request: Request) -> NDArray[np.uint8]:
    """Set of bases that each position may become, uint8 (L,)."""
    sets = request.template.sets
    assert sets is not None
    return sets
