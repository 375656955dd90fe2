"""The setting `strands`: an average over both strands, or nothing where none is needed."""

import json
import logging

import numpy as np
import pytest
import torch

import dnamdlm
from dnamdlm.assembly.strands import with_strands
from dnamdlm.backbones.equivariance import OtherStrand, StrandAverage
from dnamdlm.errors import ConfigError
from dnamdlm.lm.expert_gates import Experts
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model, evaluate, train
from tests.lm.test_experts import model as model_with_experts

SMALL = ("config=tiny", "backbone.hidden_size=8", "backbone.num_blocks=1")


def randomised(lm):
    """The same model in float64 with other weights, since the first ones give logits of zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return lm.double().eval()


def test_both_strands_get_the_mean_of_their_logits():
    lm = build_language_model(compose(*SMALL, "backbone=caduceus_ph"), seed=1).double()
    complement = torch.tensor(lm.vocabulary.complement)
    tokens = torch.tensor([[7, 8, 3, 10, 11, 9]])
    turned = complement[tokens.flip(1)]
    expected = (lm.backbone(tokens) + lm.backbone(turned).flip(1)[..., complement]) / 2
    assert with_strands(lm, "one") is lm
    plain, lm = lm, with_strands(lm, "both")
    assert isinstance(lm.backbone, StrandAverage)
    assert not isinstance(plain.backbone, StrandAverage)
    assert plain.backbone is lm.backbone.backbone
    torch.testing.assert_close(lm.backbone(tokens), expected)
    found = lm.denoise(turned).flip(1)[..., complement]
    torch.testing.assert_close(found.exp(), lm.denoise(tokens).exp())


@pytest.mark.parametrize("backbone", ["dit", "caduceus_ph"])
def test_the_other_strand_is_read_alone_and_both_are_the_mean(backbone):
    lm = randomised(build_language_model(compose(*SMALL, f"backbone={backbone}"), seed=1))
    complement = torch.tensor(lm.vocabulary.complement)
    tokens = torch.tensor([[7, 8, 3, 10, 11, 9]])
    turned = complement[tokens.flip(1)]
    other = with_strands(lm, "other")
    assert isinstance(other.backbone, OtherStrand)
    assert not isinstance(lm.backbone, OtherStrand)
    expected = lm.backbone(turned).flip(1)[..., complement]
    torch.testing.assert_close(other.backbone(tokens), expected)
    # as a network that gives its states and their logits apart, which scores use.
    states = other.backbone.hidden(tokens)
    torch.testing.assert_close(states, lm.backbone.hidden(turned).flip(1))
    torch.testing.assert_close(other.backbone.head(states), expected)
    both = with_strands(lm, "both").backbone(tokens)
    torch.testing.assert_close((lm.backbone(tokens) + other.backbone(tokens)) / 2, both)
    assert (lm.backbone(tokens) - expected).abs().max() > 1e-2
    # padding stays where its bases are.
    present = torch.tensor([[True] * 4 + [False] * 2])
    padded = other.backbone(tokens, present=present)
    expected = lm.backbone(turned, present=present.flip(1)).flip(1)[..., complement]
    torch.testing.assert_close(padded[:, :4], expected[:, :4])


@pytest.mark.parametrize("second", ["one", "other", "both"])
@pytest.mark.parametrize("first", ["one", "other", "both"])
@pytest.mark.parametrize("has_experts", [False, True])
def test_the_last_setting_of_strands_holds(has_experts, first, second):
    lm = build_language_model(compose(*SMALL, "backbone=dit"), seed=1)
    lm = model_with_experts(Experts((2, 1))) if has_experts else randomised(lm)
    tokens = torch.tensor([[7, 8, 3, 10, 11, 9]])
    wanted = with_strands(lm, second).logits(tokens)
    assert torch.equal(with_strands(with_strands(lm, first), second).logits(tokens), wanted)
    if first != second:
        assert not torch.allclose(with_strands(lm, first).logits(tokens), wanted)


def test_a_network_for_both_strands_stays_as_it_is_and_the_log_says_so(caplog):
    lm = build_language_model(compose(*SMALL, "backbone=caduceus_ps"), seed=1)
    before = lm.backbone
    with caplog.at_level(logging.INFO):
        for strands in ("both", "other"):
            lm = with_strands(lm, strands)
    assert lm.backbone is before
    assert "strands=other changes nothing" in caplog.text
    assert "changes nothing: CaduceusPS always reads both strands" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "strands", "message"),
    [
        ((), "two", "strands=two is unknown; choose one, other or both"),
        (("lm=ar", "backbone=ar"), "both", "both sides of a position, and a CausalLM does not"),
        (("lm=ar", "backbone=ar"), "other", "strands=other needs a network that sees both sides"),
    ],
    ids=["unknown", "causal", "causal, other"],
)
def test_what_cannot_be_done_is_refused(overrides, strands, message):
    lm = build_language_model(compose("config=tiny", *overrides), seed=1)
    with pytest.raises(ConfigError, match=message):
        with_strands(lm, strands)


def test_evaluation_and_python_read_both_strands(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))
    short = ("trainer.max_steps=1", "trainer.log_every=1", "trainer.valid_every=1",
             "trainer.checkpoint_every=1", "trainer.valid_windows=1")  # fmt: skip
    tree = compose(*SMALL, *short, "backbone=caduceus_ph", f"run_dir={tmp_path / 'run'}")
    run_dir = train(tree)
    bits = {}
    for strands in ("one", "both"):
        out = tmp_path / f"{strands}.json"
        options = (f"model={run_dir}", f"strands={strands}", f"out={out}", "limit=2", "draws=1",
                   "max_order=0")  # fmt: skip
        evaluate(compose(*options, name="evaluate"))
        content = json.loads(out.read_text())
        assert content["provenance"]["strands"] == strands
        bits[strands] = content["likelihood"]["rows"][-1]["classes"]["all"]["bits_per_base"]
    assert bits["one"] != bits["both"]
    model = dnamdlm.load(str(run_dir), device="cpu", strands="both")
    states = {given: model.embed(["ACGTTGCA"], strands=given) for given in ("one", "both", None)}
    assert np.array_equal(states[None], states["both"])
    assert not np.allclose(states["one"], states["both"])
    assert isinstance(model.loaded.lm.backbone, StrandAverage)
    assert model.embed(["ACGT"]).shape == (1, model.loaded.lm.backbone.backbone.hidden_size)
    with pytest.raises(ConfigError, match="strands=all is unknown"):
        dnamdlm.load(str(run_dir), strands="all")
