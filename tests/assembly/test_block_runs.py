"""Block diffusion by the commands: trained, resumed, evaluated, sampled, started elsewhere."""

import hashlib
import json
from pathlib import Path

import pytest

from data_prep.text import main as prepare_text
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.checkpoint import AVERAGE, WEIGHTS
from dnamdlm.lm.sampling.samplers import AncestralSampler
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
    return compose("config=tiny", *SHORT, "lm=block", "lm.block_length=8", f"run_dir={run_dir}",
                   *overrides)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    train(tree(run_dir, "experts=wildcard", "lm.experts.wildcards=[2]"))
    return run_dir


def hashes(run_dir):
    newest = sorted((Path(run_dir) / "checkpoints").iterdir())[-1]
    return [hashlib.sha256((newest / name).read_bytes()).hexdigest() for name in (WEIGHTS, AVERAGE)]


def test_a_resumed_run_ends_with_the_same_bytes(tmp_path):
    hold = ("learning_rate.hold_fraction=1.0",)
    for steps in (2, 4):
        allow = "resume.allow=[trainer.max_steps]"
        train(tree(tmp_path / "twice", *hold, allow, f"trainer.max_steps={steps}"))
    train(tree(tmp_path / "once", *hold))
    assert hashes(tmp_path / "twice") == hashes(tmp_path / "once")


@pytest.mark.slow
def test_any_block_length_is_evaluated_and_sampled_from_one_network(run):
    settings = (f"model={run}", "limit=4", "max_order=1")
    evaluate(compose(*settings, name="evaluate"))
    evaluate(compose(*settings, "block_length=1", name="evaluate"))
    folder = run / "evaluation"
    files = [folder / name for name in ("test.json", "test.block_length_1.json")]
    own, ones = (json.loads(file.read_text()) for file in files)
    assert [part["provenance"]["block_length"] for part in (own, ones)] == [8, 1]
    kinds = [
        next(row["kind"] for row in part["likelihood"]["rows"] if row["family"] == "model")
        for part in (own, ones)
    ]
    assert kinds == ["upper bound", "exact"]
    # figures of another block length are not those that later commands quote.
    held_out = json.loads((run / "held_out.json").read_text())
    assert json.dumps(held_out).count("model_sha256") == 1
    model = Model(load_model(str(run)))
    assert isinstance(model.loaded.lm, BlockDiffusionLM)
    made = {n: model.sample(2, 80, block_length=n, seed=3) for n in (None, 8, 4)}
    assert made[None] == made[8] != made[4]
    assert {len(sequence) for sequence in made[4]} == {80}
    assert model.log_likelihood(["ACGTACGTAC"], draws=2).shape == (1,)
    assert model.embed(["ACGTACGTAC"]).shape == (1, 16)


@pytest.mark.slow
@pytest.mark.parametrize("start", [["lm=mdlm_count"], ["lm=ar", "backbone=ar"]], ids=["mdlm", "ar"])
def test_a_run_starts_from_the_weights_of_another_kind(tmp_path, start):
    sizes = ["backbone.hidden_size=16", "backbone.num_blocks=1", "backbone.num_heads=2"]
    train(compose("config=tiny", *start, *SHORT, *sizes, f"run_dir={tmp_path / 'first'}"))
    train(tree(tmp_path / "next", *sizes, f"init_from={tmp_path / 'first'}"))
    assert hashes(tmp_path / "next") != hashes(tmp_path / "first")


def test_a_network_that_sees_time_has_the_bound_of_continuous_time(tmp_path):
    times = ("backbone.time_conditioning=true", "times=clipped")
    run_dir = train(tree(tmp_path / "run", "lm=block_time", *times))
    assert load_model(str(run_dir)).lm.chosen_estimator("auto") == "time"


def infilled(run, folder, bases, *overrides):
    """What is written for 24 to 40 of a record with these bases."""
    (folder / "g.fa").write_text(f">c\n{bases}\n")
    (folder / "i.bed").write_text("c\t24\t40\n")
    out = folder / "out.fa"
    settings = (f"model={run}", f"infill={folder / 'i.bed'}", f"data.fasta={folder / 'g.fa'}")
    sample(compose(*settings, "num_sequences=1", f"out={out}", "sampler.num_steps=3", *overrides,
                   name="sample"))  # fmt: skip
    header, filled = out.read_text().splitlines()
    out.unlink()
    return header, filled


def test_an_interval_is_filled_given_what_lies_to_its_left_alone(run, tmp_path):
    bases = "ACGTTGCAAGCT" * 6
    header, filled = infilled(run, tmp_path, bases)
    assert " interval=c:24-40 context=left" in header
    assert len(filled) == 16
    to_the_right = bases[:24] + "N" * 16 + "T" * 32
    assert infilled(run, tmp_path, to_the_right)[1] == filled
    model = Model(load_model(str(run)))
    # windows have 32 bases, half of which are context.
    (tmp_path / "t.fa").write_text(f">t\n{bases[8:24]}{'N' * 16}\n")
    (whole,) = model.sample(1, template=tmp_path / "t.fa", sampler=AncestralSampler(3))
    assert whole[16:] == filled
    with pytest.raises(ConfigError, match="sees only what lies to the left of an interval"):
        infilled(run, tmp_path, bases, "flank=4")


@pytest.mark.slow
def test_text_is_trained_scored_and_continued(tmp_path):
    (tmp_path / "lines.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    corpus = tmp_path / "corpus"
    arguments = [f"files={tmp_path / 'lines.txt'}", "tokenizer=text8", f"out={corpus}"]
    assert prepare_text(arguments) == 0
    more = ("trainer.accelerator=cpu", "trainer.global_batch_size=4", "backbone.num_heads=2",
            "trainer.valid_draws=1")  # fmt: skip
    run_dir = tmp_path / "run"
    train(compose("config=text8", *SHORT, "lm=block", f"data.corpus={corpus}", *more,
                  f"run_dir={run_dir}"))  # fmt: skip
    model = Model(load_model(str(run_dir)))
    assert model.log_likelihood(["the quick fox"], draws=2)[0] < 0
    (text,) = model.sample(1, 40, prompt="the quick ")
    assert text.startswith("the quick ")


def test_what_does_not_fit_is_refused(run, tmp_path):
    refused = {
        "lm.block_length=5": r"does not divide the windows of data\.length=32; use 2 or 4",
        "backbone=caduceus_ps": "lm=block reads blocks from left to right, which a CaduceusPS",
    }
    for override, message in refused.items():
        with pytest.raises(ConfigError, match=message):
            train(tree(tmp_path / "run", override))
    model = Model(load_model(str(run)))
    with pytest.raises(ConfigError, match="longer than the windows of 32"):
        model.sample(1, 40, block_length=64)
    with pytest.raises(ConfigError, match="position 8 is given"):
        model.fill("NNNNNNNNACGT")
    with pytest.raises(ConfigError, match="does not see later blocks"):
        model.log_probs(["ACGT"])
