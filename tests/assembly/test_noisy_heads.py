"""Heads trained on noisy sequences: trained, as rewards, and as values of steering."""

from types import SimpleNamespace

import numpy as np
import pytest

import dnamdlm
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.design.design_call import designs_of
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.noisy_heads import NoisyHead, NoisyValue, value_of
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.samplers import AncestralSampler
from dnamdlm.rewards.reward import gradient_of, rewards_of
from tests.assembly.test_configs import compose
from tests.assembly.test_numbers import SHORT as MEASURED
from tests.helpers.entries import train

SHORT = tuple(
    text for text in MEASURED if "num_numbers" not in text and not text.startswith("config=")
)
QUICK = {"sampler": AncestralSampler(num_steps=3), "likelihood_draws": 0}
TEXTS = ["ACGTACGTACGT", "GGGGGGGGGGGG", "TATATATATATA"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A language model, and a regression of noisy sequences on two numbers."""
    folder = tmp_path_factory.mktemp("noisy")
    rng = np.random.default_rng(0)
    lines = ["sequence,activity,other"]
    for row in range(60):
        text = "".join(rng.choice(list("ACGT"), 12))
        lines.append(f"{text},{10 + 5 * text.count('G')},{row if row % 2 else ''}")
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    data = (f"data.table={table}", f"data.cache_dir={folder / 'cache'}", "data=table")
    head = ("config=noisy_regression", "data.numbers=[activity,other]", "lm.num_numbers=2")
    train(compose(*SHORT, *data, *head, f"run_dir={folder / 'head'}"))
    own = ("config=measured", "data.numbers=[activity]")
    train(compose(*SHORT, *data, *own, f"run_dir={folder / 'model'}"))
    return SimpleNamespace(
        folder=folder, head=str(folder / "head"), model=load_model(str(folder / "model"))
    )


def test_the_training_says_how_much_of_the_numbers_is_explained(runs):
    first = (runs.folder / "head/metrics.csv").read_text().splitlines()[0]
    assert "valid_bits_per_number,valid_explained_share" in first
    loaded = load_model(runs.head)
    assert [scale.name for scale in loaded.scales] == ["activity", "other"]
    with pytest.raises(ConfigError, match=r"a regression of noisy sequences, .* as value="):
        _ = loaded.language_model


def test_as_a_reward_it_reads_complete_sequences_in_their_own_unit(runs):
    reward = dnamdlm.reward(runs.head, reward_class="activity", device="cpu")
    loaded = load_model(runs.head)
    ids = loaded.modality.rows(TEXTS, seed=0, batch_size=3)
    batch = next(iter(ids))[0]
    scale = loaded.scales[0]
    expected = loaded.lm.outputs(batch.tokens, batch.tokens[:, 0] * 0.0)[:, 0] * scale.scale
    expected = (expected + scale.mean).detach().numpy()
    np.testing.assert_allclose(rewards_of(reward, TEXTS), expected, rtol=1e-5)
    values, slopes = gradient_of(reward, TEXTS)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert slopes.shape == (3, 12, 4)
    assert np.abs(slopes).max() > 0


def test_a_class_that_is_written_as_a_number_is_read_as_its_name(runs):
    with pytest.raises(ConfigError, match="reward_class=3 is not predicted by"):
        dnamdlm.reward([{"head": runs.head, "class": 3}])


def test_as_a_value_it_steers_without_a_reward_of_unfinished_sequences(runs):
    calls = []

    def reward(texts):
        calls.extend(texts)
        return [float(text.count("G")) for text in texts]

    settings = {"temperature": 0.5, "population": 4, "value_class": "activity", **QUICK}
    found = designs_of(runs.model, reward, 3, 12, value=runs.head, baselines=False, **settings)
    cost = found.report["cost"]
    # the two of a trial, the members when they are complete, and the designs; no guesses.
    assert cost["reward_sequences"] <= 2 + 3 * 4 + 3 + 2
    assert cost["value_sequences"] > 0
    # a value that needs no guess takes no call of the network for it either.
    assert cost["network_calls"] <= 3 * 4 * 3
    model = Model(runs.model)
    drawn = model.sample(
        3, 12, reward=reward, reward_temperature=0.5, population=4, value=runs.head,
        value_class="activity", sampler=QUICK["sampler"],
    )  # fmt: skip
    assert drawn == found.sequences
    assert np.isfinite(drawn.log_z).all()


def test_its_time_is_that_at_which_as_much_is_masked(runs):
    head = NoisyHead(load_model(runs.head), "activity", "value")
    value = NoisyValue(head, runs.model, 2.0)
    batch = next(iter(runs.model.modality.rows(TEXTS, seed=0, batch_size=3)))[0]
    time = batch.tokens[:, 0].double() * 0 + 0.25
    expected = head.numbers(batch.tokens, time.float()) / 2.0
    np.testing.assert_allclose(value(batch.tokens, time), expected.detach(), rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "output", "message"),
    [
        ("likelyy", None, r"value=likelyy is unknown \(did you mean likely\?\); choose"),
        ("head", "activityy", r"value_class=activityy is not predicted by .*did you mean activity"),
        ("head", None, r"predicts activity, other; say which one is wanted as value_class=NAME"),
        ("model", None, r"is a MaskedDiffusionLM and predicts no reward"),
        ("draws", "activity", r"value_class was given but has no effect"),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(runs, value, output, message):
    settings = {"temperature": 0.5, "population": 4, **QUICK}
    place = str(runs.folder / value) if value in ("head", "model") else value
    with pytest.raises(ConfigError, match=message) as found:
        designs_of(
            runs.model, lambda texts: [0.0] * len(texts), 3, 12, value=place, value_class=output,
            **settings,
        )  # fmt: skip
    assert "\n" not in str(found.value)


def test_names_of_lookaheads_stay_what_they_are(runs):
    assert value_of("likely", None, runs.model, 1.0) == "likely"


def test_designs_may_be_asked_for_a_number(runs):
    settings = {"guidance": 2.0, "temperature": 1.0, "pool": 8, "baselines": True, **QUICK}
    asked = {"activity": 20.0}
    found = designs_of(runs.model, lambda texts: [0.0] * len(texts), 8, 12, condition=asked,
                       **settings)  # fmt: skip
    drawn = Model(runs.model).sample(8, 12, condition=asked, guidance=2.0, sampler=QUICK["sampler"])
    # all weights are equal, so that every draw of the pool is taken.
    assert found.sequences == drawn
    assert " condition=activity:20 guidance=2" in found.note
    names = [row["name"] for row in found.report["compared"]]
    assert names[1:] == [
        "guidance alone, no reward", "rejection sampling", "draws that pass, no reward",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="this model has no number 'activityy'"):
        designs_of(runs.model, lambda texts: [0.0] * len(texts), 3, 12, condition="activityy:1")
    with pytest.raises(ConfigError, match="label and condition are both given"):
        designs_of(runs.model, lambda texts: [0.0] * len(texts), 3, 12, condition=asked, label="x")
