"""Fine-tuning a run on a reward: from its draws to a tuned model, resumed, and measured."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import ConfigError
from tests.assembly.test_configs import compose
from tests.helpers.entries import design, train

NETWORK = (
    "config=measured", "optimizer=adamw", "backbone.hidden_size=16", "backbone.num_blocks=1",
    "backbone.num_numbers=0", "backbone.local_radius=0", "backbone.dropout=0.0", "data.length=10",
    "trainer.log_every=1", "trainer.valid_every=4", "trainer.checkpoint_every=2",
    "trainer.valid_windows=8", "trainer.averaging_decay=0.5", "learning_rate.warmup_steps=1",
)  # fmt: skip


def share_of_g(sequences):
    return [text.count("G") / len(text) for text in sequences]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A pre-trained run, a table of its draws with rewards, and a tuned run."""
    folder = tmp_path_factory.mktemp("tuning")
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 10)) for _ in range(64)]
    table = folder / "table.csv"
    table.write_text("sequence,y\n" + "".join(f"{text},{i}\n" for i, text in enumerate(texts)))
    cache = f"data.cache_dir={folder / 'cache'}"
    pre, tuned, samples = folder / "pre", folder / "tuned", folder / "samples.fa"
    train(compose(*NETWORK, f"data.table={table}", "data.numbers=y", cache, f"run_dir={pre}",
                  "trainer.max_steps=2", "trainer.global_batch_size=8"))  # fmt: skip
    design(compose(f"model={pre}", "reward=[{motif: G}]", "num_sequences=200", "length=10",
                   "likelihood_draws=0", "sampler.num_steps=10", "seed=3", "workers=1",
                   f"out={samples}", name="design"))  # fmt: skip
    tilted = (*NETWORK, "data=tilted", f"data.table={samples.with_suffix('.tsv')}",
              "data.temperature=1.0", cache, f"init_from={pre}", "trainer.global_batch_size=32",
              "optimizer.learning_rate=0.02")  # fmt: skip
    train(compose(*tilted, f"run_dir={tuned}", "trainer.max_steps=60"))
    return SimpleNamespace(folder=folder, pre=pre, tuned=tuned, samples=samples, tilted=tilted)


@pytest.mark.slow
def test_tuning_raises_the_reward_towards_that_of_the_tilted_distribution(runs):
    with runs.samples.with_suffix(".tsv").open() as stream:
        rewards = np.array([float(row["reward"]) for row in csv.DictReader(stream, delimiter="\t")])
    weights = np.exp(rewards)
    wanted = (weights * rewards).sum() / weights.sum()
    pre, tuned = dnamdlm.load(str(runs.pre)), dnamdlm.load(str(runs.tuned))
    counts = np.array(
        [
            text.count("G") + text.count("C")
            for text in tuned.sample(200, 10, sampler="first_hitting")
        ]
    )
    before = np.array(
        [text.count("G") + text.count("C") for text in pre.sample(200, 10, sampler="first_hitting")]
    )
    # the motif G counts on either strand.
    assert rewards.mean() == pytest.approx(before.mean(), abs=4 * before.std() / 200**0.5 * 2)
    # three quarters of the way after sixty steps, within four standard errors.
    assert counts.mean() > before.mean() + 0.75 * (wanted - before.mean()) - 4 * (
        counts.std() / 200**0.5
    )
    distance = tuned.divergence(pre, 32, draws=2)
    assert distance.nats > 4 * distance.standard_error
    assert pre.divergence(pre, 4, draws=1).nats == 0


@pytest.mark.slow
def test_a_tuning_that_is_cut_and_resumed_ends_with_the_same_weights(runs):
    weights = []
    for name, stops in (("straight", (4,)), ("resumed", (2, 4))):
        for stop in stops:
            cut = () if stop == 4 else ("trainer.max_minutes=1e-9",)
            train(
                compose(*runs.tilted, f"run_dir={runs.folder / name}", "trainer.max_steps=4", *cut)
            )
        weights.append(load_model(str(runs.folder / name)))
    first, second = (dict(loaded.lm.state_dict()) for loaded in weights)
    assert weights[1].step == 4
    assert all(bool((first[name] == second[name]).all()) for name in first)


def test_a_table_of_paths_weighs_the_draws_of_a_tuned_model(runs):
    pre, tuned = dnamdlm.load(str(runs.pre)), dnamdlm.load(str(runs.tuned))
    out = tuned.reward_table(runs.folder / "second.tsv", share_of_g, 6, 10, reference=pre)
    with out.open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    texts = [row["sequence"] for row in rows]
    assert [float(row["reward"]) for row in rows] == share_of_g(texts)
    assert any(float(row["log_ratio"]) != 0 for row in rows)
    again = tuned.reward_table(
        runs.folder / "again.tsv", share_of_g, 6, 10, reference=pre, batch_size=1
    )
    assert again.read_text() == out.read_text()
    own = pre.reward_table(runs.folder / "own.tsv", share_of_g, 2, 10)
    with own.open() as stream:
        assert {row["log_ratio"] for row in csv.DictReader(stream, delimiter="\t")} == {"0.0"}


def test_experts_do_not_count_samples(runs):
    with pytest.raises(ConfigError, match="data=tilted has samples of a model"):
        train(compose(*runs.tilted, "experts=wildcard", "init_from=null", "run_dir=never",
                      "trainer.max_steps=1"))  # fmt: skip


def test_what_cannot_be_measured_is_one_sentence(runs):
    model = dnamdlm.load(str(runs.pre))
    for wrong, message in (
        ({"num_sequences": 0}, "num_sequences=0 must be a whole number of at least 1"),
        ({"draws": 0}, "draws=0 must be"),
        ({"length": 0}, "length=0 must be"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.divergence(model, **wrong)
    with pytest.raises(ConfigError, match=r"must be a \.tsv file"):
        model.reward_table("x.csv", share_of_g, 2)
