"""A loaded model in Python: what it says of itself, and what it computes from strings."""

import numpy as np
import pytest

import dnamdlm
from dnamdlm.diffusion import StepRule, draw_tokens
from dnamdlm.errors import ConfigError, DataError
from tests.helpers.rounding import additions, rounding
from tests.helpers.small_runs import train_small


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(2)
    text = "".join(f">{name}\n{''.join(rng.choice(list('ACGT'), 300))}\n" for name in "abc")
    (folder / "g.fa").write_text(text)
    train_small(folder)
    return dnamdlm.load(folder / "run", device="cpu")


def test_it_says_what_it_is_and_how_it_was_trained(model):
    shown = repr(model)
    for part in ("MaskedDiffusionLM, DiT", "windows of 32", "2 steps on", "g.fa", "evaluate"):
        assert part in shown
    assert model._repr_html_().startswith("<table>")
    assert "<th" in model._repr_html_()


def test_the_likelihood_of_a_sequence_does_not_depend_on_its_place_in_the_list(model):
    alone = model.log_likelihood(["ACGTTGCA"])
    among = model.log_likelihood(["TTTT", "ACGTTGCA", "A" * 20, "ACGTTGCA"])
    # another batch, and another row of it, may be rounded otherwise.
    allowed = rounding(additions(model.loaded.lm))
    assert among[1] == pytest.approx(alone[0], rel=allowed)
    assert among[3] == pytest.approx(alone[0], rel=allowed)
    assert model.log_likelihood(["ACGTTGCA"], seed=1)[0] != alone[0]


def test_log_probs_are_conditional_distributions_in_the_order_of_acgt(model):
    (found,) = model.log_probs(["ACGTNACG"])
    assert found.shape == (8, 4)
    known = [0, 1, 2, 3, 5, 6, 7]
    assert np.isnan(found[4]).all()
    # float32: a sum over four bases and the exponential of numbers down to -2.
    total = np.exp(found[known].astype(float)).sum(axis=1)
    np.testing.assert_allclose(total, 1.0, rtol=0, atol=rounding(6, scale=2.0))
    # what stands at a hidden position cannot matter: only its neighbours are seen.
    (other,) = model.log_probs(["CCGTNACG"])
    allowed = rounding(additions(model.loaded.lm), scale=2.0)
    np.testing.assert_allclose(other[0], found[0], rtol=0, atol=allowed)
    assert (other[1] != found[1]).any()
    (visible,) = model.log_probs(["ACGTNACG"], hide="none")
    assert (visible[known] != found[known]).any()
    with pytest.raises(ConfigError, match="hide"):
        model.log_probs(["ACGT"], hide="all")


def test_a_sampler_is_a_name_a_rule_or_an_object(model):
    class RightToLeft(StepRule):
        is_paced = False

        def __call__(self, step, log_probs):
            hidden_from_here = step.hidden.flip(1).cumsum(1).flip(1)
            return draw_tokens(step, log_probs, step.hidden & (hidden_from_here == 1))

    made = model.sample(3, 20, sampler=RightToLeft())
    assert [len(text) for text in made] == [20] * 3
    assert set("".join(made)) <= set("ACGT")
    assert model.sample(3, 20, sampler="first_hitting") != made
    with pytest.raises(ConfigError, match="ancestral"):
        model.sample(1, sampler="frist_hitting")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.log_likelihood("ACGT"), DataError, "put it into a list"),
        (lambda m: m.log_likelihood(["ACGT"], batch_size=0), ConfigError, "batch_size=0"),
        (lambda m: m.log_likelihood(["ACGT"], draws=0), ConfigError, "draws=0"),
        (lambda m: m.log_likelihood(["ACGT", ""]), DataError, "sequence 2 is empty"),
        (lambda m: m.sample(1, -3), ConfigError, "length=-3 must be at least 1"),
        (lambda m: m.sample(0), ConfigError, "num_sequences=0 must be at least 1"),
        (lambda m: m.sample(1, batch_size=0), ConfigError, "batch_size=0 must be at least 1"),
        (lambda m: m.sample(1, temperature=0), ConfigError, "temperature=0.0 must be above 0"),
        (lambda m: m.sample(1, flank=3), ConfigError, "flank was given but has no effect"),
        (lambda m: m.sample(1, prompt="x"), ConfigError, "prompt is for models of text"),
        (lambda m: m.sample(1, template="ACGT"), DataError, "nothing to fill"),
        (lambda m: m.fill("ACGU!"), DataError, "not a nucleotide code"),
        (lambda m: m.embed([]), DataError, "nothing to embed"),
        (lambda m: m.embed("ACGT"), DataError, "put it into a list"),
        (lambda m: m.classify(["A"]), ConfigError, "does not classify"),
        (lambda m: m.score("chr1 A>G", "x.fa"), ConfigError, "not a valid variant"),
        (lambda m: m.to("tpu9"), ConfigError, "device=tpu9 is not available"),
    ],
)
def test_a_mistake_is_one_sentence(model, call, error, message):
    with pytest.raises(error, match=message) as found:
        call(model)
    assert "\n" not in str(found.value)


def test_it_moves_to_a_device(model):
    moved = model.to("cpu")
    assert moved.loaded.device.type == "cpu"
    assert moved.sample(1, 10) == model.sample(1, 10)
