"""IUPAC diffusion by the commands: trained, resumed, evaluated, sampled, scored, exported."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.text import main as prepare_text
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.checkpoint import AVERAGE, WEIGHTS
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.tokens.iupac import BASES_OF_CODE
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, sample, train

SHORT = ("trainer.max_steps=4", "trainer.log_every=1", "trainer.valid_every=2",
         "trainer.checkpoint_every=2", "trainer.valid_windows=4", "data.length=32",
         "backbone.hidden_size=16", "backbone.num_blocks=1")  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))
        yield


def tree(run_dir, *overrides):
    return compose("config=tiny", *SHORT, "lm=iupac_count", f"run_dir={run_dir}", *overrides)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    train(tree(run_dir, "experts=wildcard", "lm.experts.wildcards=[2]"))
    return run_dir


def hashes(run_dir):
    newest = sorted((Path(run_dir) / "checkpoints").iterdir())[-1]
    return [hashlib.sha256((newest / name).read_bytes()).hexdigest() for name in (WEIGHTS, AVERAGE)]


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path):
    hold = ("learning_rate.hold_fraction=1.0", "lm=iupac")
    for steps in (2, 4):
        allow = "resume.allow=[trainer.max_steps]"
        train(tree(tmp_path / "twice", *hold, allow, f"trainer.max_steps={steps}"))
    train(tree(tmp_path / "once", *hold))
    assert hashes(tmp_path / "twice") == hashes(tmp_path / "once")


@pytest.mark.slow
def test_a_run_is_evaluated_sampled_and_read_again(run, tmp_path):
    evaluate(compose(f"model={run}", "limit=2", "draws=1", "max_order=1", name="evaluate"))
    likelihood = json.loads((run / "evaluation" / "test.json").read_text())["likelihood"]
    assert likelihood["rows"][-1]["kind"] == "upper bound"
    letters = "ACRYNNSWKMBNNTG"
    (tmp_path / "template.fa").write_text(f">t\n{letters}\n")
    out = tmp_path / "made.fa"
    settings = (f"model={run}", f"template={tmp_path / 'template.fa'}", f"out={out}")
    sample(compose(*settings, "num_sequences=3", name="sample"))
    made = out.read_text().split("\n")[1::2]
    for sequence in made[:3]:
        assert all(x in BASES_OF_CODE[y] for x, y in zip(sequence, letters, strict=True))
    model = Model(load_model(str(run)))
    assert isinstance(model.loaded.lm, IupacDiffusionLM)
    assert made[:3] == model.sample(3, template=letters)
    assert model.fill(letters, seed=2) != model.fill(letters, seed=3)


def test_codes_in_strings_are_evidence(run):
    model = Model(load_model(str(run)))
    (seen,) = model.log_probs(["ACGTRACGT"])
    assert np.isneginf(seen[4]).tolist() == [False, True, False, True]
    np.testing.assert_allclose(np.exp(seen).sum(axis=1), 1, rtol=1e-5)
    (unknown,) = model.log_probs(["ACGTBACGT"])
    assert np.isnan(unknown[4]).all()
    scores = model.log_likelihood(["ACGTRACGT", "ACGTNACGT"], draws=2)
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]
    assert model.embed(["ACGTRACGT"]).shape == (1, 16)


def test_an_exported_folder_is_the_same_model(run, tmp_path):
    model = Model(load_model(str(run)))
    again = Model(load_model(str(model.export(tmp_path / "folder"))))
    assert again.sample(2, 20, seed=4) == model.sample(2, 20, seed=4)
    assert "IUPAC diffusion" in (tmp_path / "folder" / "README.md").read_text()


def test_what_does_not_fit_is_refused(run, tmp_path):
    train(compose("config=tiny", *SHORT, "lm=mdlm_count", f"run_dir={tmp_path / 'masked'}"))
    with pytest.raises(CheckpointError, match="it belongs to another model"):
        train(tree(tmp_path / "next", f"init_from={tmp_path / 'masked'}"))
    with pytest.raises(ConfigError, match=r"lm\.coding=ry is unknown; choose mixed, ry_sw"):
        train(tree(tmp_path / "next", "lm.coding=ry"))
    model = Model(load_model(str(run)))
    with pytest.raises(ConfigError, match="a population weighs sequences of bases and masks"):
        model.sample(1, 8, reward=lambda texts: [0.0] * len(texts))
    with pytest.raises(ConfigError, match="left_to_right needs an autoregressive model"):
        model.sample(1, 8, sampler="left_to_right")


def test_text_is_refused(tmp_path):
    (tmp_path / "lines.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    corpus = tmp_path / "corpus"
    arguments = [f"files={tmp_path / 'lines.txt'}", "tokenizer=text8", f"out={corpus}"]
    assert prepare_text(arguments) == 0
    with pytest.raises(ConfigError, match="this vocabulary is not that of DNA; use lm=mdlm"):
        train(compose("config=text8", *SHORT, "lm=iupac", f"data.corpus={corpus}",
                      f"run_dir={tmp_path / 'run'}"))  # fmt: skip
