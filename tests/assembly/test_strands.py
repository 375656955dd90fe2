"""The setting `strands`: an average over both strands, or nothing where none is needed."""

import json
import logging

import pytest
import torch

import dnamdlm
from dnamdlm.assembly.strands import with_strands
from dnamdlm.backbones.equivariance import OtherStrand, StrandAverage
from dnamdlm.errors import ConfigError
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model, evaluate, train

SMALL = ("config=tiny", "backbone.hidden_size=8", "backbone.num_blocks=1")


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
    lm = build_language_model(compose(*SMALL, f"backbone={backbone}"), seed=1).double()
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
        (("lm=ar", "backbone=ar"), "both", "sees both sides, which a CausalLM does not"),
        (("lm=ar", "backbone=ar"), "other", "strands=other turns a network over"),
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
    assert isinstance(model.loaded.lm.backbone, StrandAverage)
    assert model.embed(["ACGT"]).shape == (1, model.loaded.lm.backbone.backbone.hidden_size)
    with pytest.raises(ConfigError, match="strands=all is unknown"):
        dnamdlm.load(str(run_dir), strands="all")
