"""The sampler settings: which rule and times they mean, and what they refuse."""

from pathlib import Path

import pytest
import yaml

from dnamdlm.diffusion.categorical import UNCHANGED, Choice
from dnamdlm.diffusion.confidence import SurestFirst, Threshold
from dnamdlm.diffusion.remasking import Capped, Corrector, Remasking, WhileWaiting
from dnamdlm.diffusion.steps import StepRule, draw_tokens
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling import SAMPLERS as SAMPLERS_BY_NAME
from dnamdlm.lm.sampling import RuleSampler, Sampler, as_sampler
from dnamdlm.lm.sampling.samplers import (
    AnalyticSampler,
    AncestralSampler,
    BlockSampler,
    ConfidenceSampler,
    EntropyBoundedSampler,
    FirstHittingSampler,
    RemaskSampler,
    SemiAutoregressiveSampler,
)

SAMPLERS = [
    AncestralSampler(num_steps=8),
    AncestralSampler(time_points=[1.0, 0.4, 0.1]),
    AnalyticSampler(num_steps=8),
    FirstHittingSampler(),
    RemaskSampler(num_steps=8),
    RemaskSampler(num_steps=20, strategy="loop"),
    RemaskSampler(num_steps=8, strategy="confidence", eta=1.0),
    ConfidenceSampler(num_steps=8),
    ConfidenceSampler(threshold=0.5),
    EntropyBoundedSampler(),
    SemiAutoregressiveSampler(num_steps=8, window=12, overlap=4),
    SemiAutoregressiveSampler(inner="first_hitting", window=12),
    BlockSampler(num_steps=4, block=7),
]


def _within(sampler):
    """The sampler of a window or block, else the sampler itself."""
    return getattr(sampler, "of_window", getattr(sampler, "of_block", sampler))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_every_sampler_draws_as_chosen_and_ends_at_time_zero(sampler):
    choice = Choice(temperature=0.5, top_p=0.9, top_k=3)
    inner = _within(sampler)
    rule, times = inner.rule(choice), inner.times()
    assert rule.choice == choice
    assert times[-1] == 0
    assert sampler.steps == (len(times) - 1 if rule.is_paced else None)


def test_names_mean_their_rules():
    assert RemaskSampler(eta=0.3).rule(UNCHANGED).strategy == Capped(0.3)
    assert RemaskSampler(strategy="loop", eta=0.3).rule(UNCHANGED).strategy == WhileWaiting(0.3)
    assert RemaskSampler(strategy="forward_backward").rule(UNCHANGED) == Remasking(Corrector(1.0))
    assert RemaskSampler(strategy="corrector", strength=2.0).rule(UNCHANGED).strategy == Corrector(
        2.0
    )
    assert ConfidenceSampler(order="margin").rule(UNCHANGED) == SurestFirst("margin")
    assert ConfidenceSampler(threshold=0.7).rule(UNCHANGED) == Threshold(0.7)
    assert AncestralSampler(time_points=[0.5]).times().tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AncestralSampler(num_steps=0), r"sampler\.num_steps=0 must be at least 1"),
        (lambda: AncestralSampler(time_points=[0.2, 0.3]), "fall strictly"),
        (lambda: AnalyticSampler(num_steps=-1), r"num_steps=-1"),
        (lambda: RemaskSampler(eta=2.0), r"sampler\.eta must lie in \[0, 1\], got 2.0"),
        (lambda: RemaskSampler(strategy="corrector", strength=-1.0), "strength"),
        (lambda: RemaskSampler(strategy="loop", hold=1.0), "hold=1.0"),
        (lambda: ConfidenceSampler(threshold=0.0), r"sampler\.threshold must lie in \(0, 1\]"),
        (lambda: EntropyBoundedSampler(bound=-1.0), r"sampler\.bound must not be negative"),
        (lambda: SemiAutoregressiveSampler(num_steps=0), r"sampler\.num_steps=0"),
        (lambda: SemiAutoregressiveSampler(window=1), r"sampler\.window=1"),
        (lambda: SemiAutoregressiveSampler(overlap=-1), r"sampler\.overlap=-1"),
        (
            lambda: SemiAutoregressiveSampler(overlap=9).window_and_overlap(9),
            r"sampler\.overlap=9 must be below the window of 9 bases",
        ),
        (lambda: BlockSampler(block=0), r"sampler\.block=0"),
    ],
)
def test_impossible_settings_are_refused_with_the_name_of_the_setting(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_windows_follow_the_training_length_unless_given():
    assert SemiAutoregressiveSampler().window_and_overlap(128) == (128, 64)
    assert SemiAutoregressiveSampler(window=20, overlap=0).window_and_overlap(128) == (20, 0)


class RightToLeft(StepRule):
    """A rule from outside the package."""

    is_paced = False

    def needs_network(self, step):
        return step.hidden.any(dim=-1)

    def __call__(self, step, log_probs):
        last = step.hidden.flip(1).cumsum(1).flip(1) == 1
        return draw_tokens(step, log_probs, step.hidden & last, UNCHANGED)


def test_every_name_of_the_configs_gives_the_sampler_of_its_config():
    root = Path(__file__).parents[2] / "configs" / "sampler"
    targets = {path.stem: yaml.safe_load(path.read_text())["_target_"] for path in root.iterdir()}
    assert set(SAMPLERS_BY_NAME) == set(targets)
    for name, target in targets.items():
        sampler = as_sampler(name)
        assert target.rpartition(".")[2] == type(sampler).__name__
        assert sampler.name == name
        assert isinstance(sampler, Sampler)


def test_a_sampler_is_returned_as_it_is():
    sampler = BlockSampler(block=7)
    assert as_sampler(sampler) is sampler


def test_a_step_rule_becomes_a_sampler_that_runs_it():
    own_clock, paced = as_sampler(RightToLeft()), as_sampler(SurestFirst("margin"))
    assert isinstance(own_clock, RuleSampler)
    assert (own_clock.name, own_clock.steps) == ("RightToLeft", None)
    assert (paced.name, paced.steps, len(paced.times())) == ("SurestFirst", 128, 129)
    assert isinstance(own_clock.rule(UNCHANGED), RightToLeft)
    sharper = Choice(temperature=0.5)
    assert paced.rule(sharper) == SurestFirst("margin", sharper)
    # a rule with a choice of its own keeps it unless the call says otherwise.
    assert as_sampler(SurestFirst(choice=sharper)).rule(UNCHANGED).choice == sharper
    with pytest.raises(ConfigError, match="no effect on RightToLeft"):
        own_clock.rule(sharper)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("firsthitting", "sampler=firsthitting is unknown; choose one of analytic, ancestral"),
        (RightToLeft, "got the class RightToLeft"),
        (7, "a StepRule or a sampler, got 7"),
    ],
)
def test_anything_else_is_refused_with_what_there_is(value, message):
    with pytest.raises(ConfigError, match=message):
        as_sampler(value)
