"""`Model.sample` with a reward: draws of its own population each, and what is refused."""

import numpy as np
import pytest

import dnamdlm
from dnamdlm.errors import ConfigError
from tests.helpers import entries


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steered")
    (folder / "g.fa").write_text(f">a\n{'ACGTTGCA' * 60}\n>b\n{'ACCTGGCA' * 60}\n")
    overrides = [
        f"data.fasta={folder}/g.fa", f"data.cache_dir={folder}/cache", "data.length=16",
        "data.valid=null", "data.test=null", "trainer.max_steps=2", "trainer.checkpoint_every=2",
        "trainer.global_batch_size=4", "trainer.valid_windows=2", "trainer.accelerator=cpu",
        "backbone.hidden_size=16", "backbone.num_blocks=1", "data.annotation=null",
        f"run_dir={folder}/run",
    ]  # fmt: skip
    entries.train(entries.composed("train", "config=tiny", *overrides))
    return dnamdlm.load(folder / "run", device="cpu")


def content(sequences):
    """Number of G and C."""
    return [float(sequence.count("G") + sequence.count("C")) for sequence in sequences]


class Content:
    """The same as an object."""

    name = "gc"

    def batch(self, sequences):
        return np.array(content(sequences), dtype=np.float32)


def test_a_reward_moves_the_draws_and_each_has_its_figures(model):
    drawn = model.sample(
        6, 8, reward=content, reward_temperature=0.3, population=8, proposal="first_order"
    )
    assert isinstance(drawn, list)
    assert np.mean(content(drawn)) > np.mean(content(model.sample(6, 8))) + 2
    assert drawn.log_z.shape == drawn.effective_size.shape == (6,)
    assert bool(((drawn.effective_size >= 1) & (drawn.effective_size <= 8)).all())
    assert len(set(drawn)) == 6


def test_batch_size_and_the_form_of_the_reward_do_not_change_the_draws(model):
    settings = {"reward_temperature": 0.5, "population": 3, "seed": 3}
    drawn = model.sample(3, 8, reward=content, **settings)
    for other in (
        model.sample(3, 8, reward=content, batch_size=1, **settings),
        model.sample(3, 8, reward=content, batch_size=6, **settings),
        model.sample(3, 8, reward=Content(), **settings),
    ):
        assert other == drawn
        assert other.log_z.tolist() == drawn.log_z.tolist()
    assert model.sample(1, 8, reward=content, **settings) == drawn[:1]


def test_only_the_part_that_is_written_is_rewarded(model):
    seen = []

    def reward(sequences):
        seen.extend(sequences)
        return content(sequences)

    drawn = model.sample(1, template=["ACGTNNNNACGT", "TTTTNNNN"], reward=reward, population=2)
    assert [drawn[0][:4], drawn[0][8:], drawn[1][:4]] == ["ACGT", "ACGT", "TTTT"]
    assert {(len(text), text[:4]) for text in seen} == {(12, "ACGT"), (8, "TTTT")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": 3}, "reward must be a function of a list of sequences"),
        ({"reward": content, "population": 0}, "population=0 must be a whole number"),
        ({"reward": content, "population": 2.5}, "population=2.5 must be a whole number"),
        ({"reward": content, "reward_temperature": 0.0}, "reward_temperature=0.0 must be above 0"),
        ({"reward": content, "sampler": "semi_ar"}, "sampler=semi_ar gives windows away"),
        ({"reward": content, "population": 10**8}, "needs more memory than one batch may have"),
        (
            {"reward": content, "population": 1, "proposal": "bootstrap"},
            "a population of one has nothing to choose from",
        ),
        ({"reward": lambda s: [1.0]}, r"values of shape \(1,\) for \d+ sequences"),
        ({"reward": lambda s: None}, "give one number for each"),
        ({"reward": lambda s: ["x"] * len(s)}, "the reward gave list in place of numbers"),
        ({"reward": lambda s: [np.nan] * len(s)}, "is nan; give a finite number for each"),
        ({"guesses": 8}, "guesses was given but has no effect: there is no reward"),
        ({"population": 8}, "population was given but has no effect"),
        ({"corrected": True}, "give label=NAME"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(model, settings, message):
    with pytest.raises(ConfigError, match=message) as found:
        model.sample(1, 16, **settings)
    assert "\n" not in str(found.value)
