"""Fine-tuned heads as rewards: their derivatives, alone and combined, and steering by them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import dnamdlm
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.design.design_call import designs_of
from dnamdlm.assembly.finetune.prediction import load_head
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.sample.sampling import sampled_strings
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.lm.sampling.samplers import AncestralSampler
from dnamdlm.rewards.reward import gradient_of
from dnamdlm.tokens.nucleotide import NucleotideTokenizer
from tests.helpers.entries import build_language_model
from tests.helpers.head_runs import small_tree, write_heads, write_text_head
from tests.helpers.rounding import rounding

TEXTS = ["ACGTACGTTA", "GGCGATATCC", "TTTTTTTTTT"]
QUICK = {"sampler": AncestralSampler(num_steps=2), "likelihood_draws": 0, "baselines": False}


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    write_heads(folder / "numbers", kind="regression", names=["activity"], scale=(5.0, 2.5))
    write_heads(folder / "classes", kind="classes", names=["on", "off", "dim"], seeds=2)
    write_heads(folder / "short", kind="regression", names=["a"], window=8, long="refuse")
    return folder


@pytest.fixture(scope="module")
def loaded():
    lm = build_language_model(small_tree(), seed=3).eval()
    model_config = ModelConfig(small_tree())
    return LoadedModel(lm, model_config, 1, "0123456789abcdef", Path("x"), None)


def soft_of(classifier, texts):
    ids = [NucleotideTokenizer().encode(text) for text in texts]
    windows = classifier.collate(ids)
    soft = functional.one_hot(windows.batch.tokens, classifier.lm.backbone.vocab_size)
    return windows, soft.float().requires_grad_()


def test_the_derivatives_of_a_number_are_in_its_own_unit(heads):
    reward = dnamdlm.reward(str(heads / "numbers"), device="cpu")
    values, slopes = gradient_of(reward, TEXTS)
    allowed = rounding(40, np.abs(values).max())
    np.testing.assert_allclose(values, reward.batch(TEXTS), rtol=0, atol=allowed)
    classifier = load_head(heads / "numbers/splits/model_seed_1")[0]
    windows, soft = soft_of(classifier, TEXTS)
    (expected,) = torch.autograd.grad(2.5 * classifier(windows, soft).sum(), soft)
    np.testing.assert_allclose(slopes, expected[..., 7:11], rtol=1e-4, atol=1e-6)


def test_the_derivatives_of_a_class_are_those_of_the_log_of_its_mean_probability(heads):
    reward = dnamdlm.reward(str(heads / "classes"), reward_class="off", device="cpu")
    values, slopes = gradient_of(reward, TEXTS)
    np.testing.assert_allclose(values, reward.batch(TEXTS), rtol=1e-5, atol=1e-6)
    shares, inputs = [], []
    for seed in (1, 2):
        classifier = load_head(heads / f"classes/splits/model_seed_{seed}")[0]
        windows, soft = soft_of(classifier, TEXTS)
        shares.append(classifier(windows, soft).double().softmax(dim=1)[:, 1])
        inputs.append(soft)
    total = torch.stack(shares).mean(dim=0).log().sum()
    expected = sum(torch.autograd.grad(total, inputs))[..., 7:11]
    np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(slopes).max() > 1e-3


def test_combined_rewards_have_the_derivatives_of_their_parts(heads):
    run = str(heads / "numbers")
    first = gradient_of(dnamdlm.reward(run, device="cpu"), TEXTS)
    strong = gradient_of(dnamdlm.reward([{"gc": [0.4, 0.45]}]), TEXTS)
    # TTTTTTTTTT has 0.4 too little, each G or C adds a tenth.
    assert strong[1][2, 0].tolist() == [0.0, 0.1, 0.1, 0.0]
    assert strong[1][1, 0].tolist() == [0.0, -0.1, -0.1, 0.0]
    assert not strong[1][0].any()
    parts = [{"head": run}, {"gc": [0.4, 0.45], "weight": 3}]
    mean = gradient_of(dnamdlm.reward([{"mean": parts}], device="cpu"), TEXTS)
    product = gradient_of(dnamdlm.reward([{"product": parts}], device="cpu"), TEXTS)
    for number in (0, 1):
        expected = (first[number] + 3 * strong[number]) / 2
        np.testing.assert_allclose(mean[number], expected, rtol=1e-12)
    np.testing.assert_allclose(product[0], 3 * first[0] * strong[0], rtol=1e-12)
    sizes = [item[0][:, None, None] for item in (first, strong)]
    expected = 3 * (first[1] * sizes[1] + strong[1] * sizes[0])
    np.testing.assert_allclose(product[1], expected, rtol=1e-12)


def test_a_head_steers_samples_and_designs_by_its_derivatives(heads, loaded):
    reward = dnamdlm.reward(str(heads / "numbers"), device="cpu")
    plain = SampleSettings("x", "", num_sequences=8, length=16, sampler=QUICK["sampler"])
    steered = SampleSettings(
        "x", "", num_sequences=8, length=16, sampler=QUICK["sampler"], reward="given",
        reward_temperature=0.05, population=2, value="likely", proposal="gradient",
    )  # fmt: skip
    before = reward.batch(list(sampled_strings(loaded, plain)))
    after = reward.batch(list(sampled_strings(loaded, steered, reward=reward)))
    assert after.mean() > before.mean() + before.std()
    settings = {"temperature": 0.05, "population": 2, "proposal": "gradient", "value": "likely"}
    found = designs_of(loaded, str(heads / "numbers"), 3, 16, **settings, **QUICK)
    assert np.mean(found.columns["reward"]) > before.mean()


def test_a_head_that_reads_shorter_windows_alone_is_refused_before_any_draw(heads, loaded):
    message = r"reads at most 8 bases, .* sequence of 16; .* length=8"
    for proposal in ("bootstrap", "gradient"):
        with pytest.raises(DataError, match=message) as found:
            designs_of(
                loaded, str(heads / "short"), 2, 16, temperature=1.0, population=2,
                proposal=proposal, **QUICK,
            )  # fmt: skip
        assert "\n" not in str(found.value)


def test_a_head_of_another_vocabulary_is_refused(loaded, tmp_path):
    changes = {"vocabulary": "0" * 16}
    folder = write_heads(tmp_path / "run", kind="regression", names=["a"], changes=changes)
    with pytest.raises(CheckpointError, match="another vocabulary") as found:
        designs_of(loaded, str(folder), 2, 16, temperature=1.0, population=2, **QUICK)
    assert "\n" not in str(found.value)


def test_a_head_of_text_is_no_reward(tmp_path):
    folder = write_text_head(tmp_path / "run")
    message = r"reward=.*run is a head for text, and designs are DNA; give a head that was"
    with pytest.raises(ConfigError, match=message) as found:
        dnamdlm.reward(str(folder), reward_class="good", device="cpu")
    assert "\n" not in str(found.value)
