"""Conditions that no sequence satisfies are refused, and no others, against all sequences."""

import itertools

import numpy as np
import pytest

from dnamdlm.errors import ConfigError
from dnamdlm.rewards import ForbiddenWord, GcShare, LongestRun, RequiredWord
from dnamdlm.rewards.conditions import failures_of
from dnamdlm.rewards.contradictions import check_conditions
from dnamdlm.rewards.word_matches import Word
from dnamdlm.tokens.iupac import BASES_OF_CODE, set_table

TEMPLATES = ["NNNNN", "ACNNN", "NGATN", "AANNA", "RYNNN", "SSSNN"]
CONDITIONS = [
    ForbiddenWord(Word("GAT")), ForbiddenWord(Word("AC", both_strands=False)),
    ForbiddenWord(Word("N")), RequiredWord(Word("GATC")), RequiredWord(Word("AAA")),
    RequiredWord(Word("ACGTAC")), RequiredWord(Word("ATS")), LongestRun(1), LongestRun(2),
    GcShare(0.0, 0.2), GcShare(0.5, 0.55), GcShare(0.9, 1.0),
]  # fmt: skip


def sequences_of(template):
    return ["".join(bases) for bases in itertools.product(*(BASES_OF_CODE[x] for x in template))]


def refusal(conditions, template):
    sets = set_table()[np.frombuffer(template.encode(), np.uint8)]
    try:
        check_conditions(conditions, sets, "motif=M")
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize("template", TEMPLATES)
def test_one_condition_is_refused_exactly_where_no_sequence_satisfies_it(template):
    sequences = sequences_of(template)
    for condition in CONDITIONS:
        is_possible = bool((~failures_of([condition], sequences)[:, 0]).any())
        found = refusal([condition], template)
        if found is not None:
            assert not is_possible, (template, condition, found)
            assert condition.setting in found
        # a forbidden word or run that a template does not have, but every filling of it.
        elif not isinstance(condition, ForbiddenWord | LongestRun):
            assert is_possible, (template, condition)


def test_two_conditions_are_refused_only_where_no_sequence_satisfies_both():
    sequences = sequences_of("NNNNN")
    failed = failures_of(CONDITIONS, sequences)
    refused = 0
    for first, second in itertools.permutations(range(len(CONDITIONS)), 2):
        pair = [CONDITIONS[first], CONDITIONS[second]]
        if any(refusal([condition], "NNNNN") for condition in pair):
            continue
        found = refusal(pair, "NNNNN")
        if found is not None:
            refused += 1
            assert failed[:, [first, second]].any(axis=1).all(), found
            assert pair[0].setting in found
            assert pair[1].setting in found
    assert refused >= 6


@pytest.mark.parametrize(
    ("conditions", "template", "message"),
    [
        ([ForbiddenWord(Word("TATAAT"))], "NTATAATN",
         "avoid=TATAAT contradicts motif=M, which has it at position 1"),
        ([GcShare(0.4, 0.6)], "AAAAANAA", "gc=[0.4,0.6] contradicts motif=M, with which the share"),
        ([RequiredWord(Word("GAATTC", name="EcoRI")), ForbiddenWord(Word("GAATTC", name="EcoRI"))],
         "NNNNNNNN", "require=EcoRI (GAATTC) contradicts avoid=EcoRI (GAATTC)"),
        ([RequiredWord(Word("GAATTC"))], "NNNN", "has 6 bases and cannot fit in length=4"),
        ([LongestRun(3)], "NAAAAN", "longest_run=3 contradicts motif=M, which has a longer run"),
        ([GcShare(0.45, 0.46)], "NNNN", "holds no share that 4 bases can have"),
    ],
)  # fmt: skip
def test_a_contradiction_names_the_two(conditions, template, message):
    assert message in (refusal(conditions, template) or "")
