"""Runs with pointers: trained, resumed, stored, evaluated, and refused where they do not suit."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import dnamdlm
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.train.fitting import fit
from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.checkpoint import AVERAGE, WEIGHTS, read_tensors
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from dnamdlm.lm.pointer_channel import Pointer
from dnamdlm.lm.sampling.samplers import AncestralSampler
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model, evaluate, sample

LENGTH = 32
SMALL = {
    "device": "cpu", "threads": 1, "length": LENGTH, "valid": ["r2"], "test": ["r3"],
    "global_batch_size": 16, "warmup_steps": 2, "valid_every": 60, "valid_windows": 4,
    "valid_draws": 1, "log_every": 20, "checkpoint_every": 60, "learning_rate": 0.02,
}  # fmt: skip
POINTER = Pointer(word_length=12, share=0.9, substitutions=0.05)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def written(path, seed):
    """Half of each record is a repeat that all have, in which few bases differ."""
    rng = np.random.default_rng(seed)
    repeat = rng.choice(list("ACGT"), 640)
    records = []
    for number in range(1, 6):
        copied = repeat.copy()
        copied[rng.integers(0, 640, 10)] = "A"
        row = np.concatenate([rng.choice(list("ACGT"), 640), copied])
        records.append(f">r{number}\n{''.join(row)}\n")
    path.write_text("".join(records))
    return path


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    return written(tmp_path_factory.mktemp("genome") / "my.fa", seed=0)


def made(pointer=POINTER):
    torch.manual_seed(0)
    network = DiT(12, 16, 2, 2)
    objective = ExactCount()
    return MaskedDiffusionLM(network, NUCLEOTIDE_VOCABULARY, objective=objective, pointer=pointer)


@pytest.fixture(scope="module")
def run(genome, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    fit(made(), genome, run_dir=run_dir, max_steps=300, **SMALL)
    return run_dir


def newest(run_dir):
    return sorted((Path(run_dir) / "checkpoints").iterdir())[-1]


def figures(run_dir, out, *more):
    options = (f"model={run_dir}", f"out={out}", "draws=4", "max_order=2", "repeat_length=12")
    evaluate(compose(*options, *more, name="evaluate"))
    likelihood = json.loads(Path(out).read_text())["likelihood"]
    return {row["name"]: row for row in likelihood["rows"]}, likelihood


def bits(row, name="all"):
    return row["classes"][name]["bits_per_base"]


def test_the_split_that_templates_are_from_is_stored_by_its_hash(run):
    name = "pointer_channel.digest"
    stored = read_tensors(newest(run) / WEIGHTS)[name]
    assert stored.dtype == torch.uint8
    assert stored.any()
    assert name not in read_tensors(newest(run) / AVERAGE)
    loaded = load_model(str(run)).lm
    assert loaded.pointer == POINTER
    assert torch.equal(loaded.pointer_channel.digest, stored)
    assert loaded.pointer_channel.letters.any()


def test_a_resumed_run_ends_with_the_same_bytes(genome, tmp_path):
    small = SMALL | {"hold_fraction": 1.0, "checkpoint_every": 4, "valid_every": 8}
    for max_steps in (4, 8):
        fit(made(), genome, run_dir=tmp_path / "twice", max_steps=max_steps,
            allow=["trainer.max_steps"], **small)  # fmt: skip
    fit(made(), genome, run_dir=tmp_path / "once", max_steps=8, **small)
    hashes = [
        hashlib.sha256((newest(tmp_path / name) / file).read_bytes()).hexdigest()
        for name in ("twice", "once")
        for file in (WEIGHTS, AVERAGE)
    ]
    assert hashes[:2] == hashes[2:]


def test_the_pointer_copies_repeats_and_pays_for_its_choice(run, tmp_path):
    rows, likelihood = figures(run, tmp_path / "out.json", "pointer=true")
    model, pointer, tighter = rows["model"], rows["pointer"], rows["pointer_posterior"]
    # 3 of 5 records are for training, with N between and after them.
    addresses = 2 * (3 * 1280 + 3)
    assert pointer["bits_per_pointer"] == pytest.approx(math.log2(addresses))
    assert 0.2 < pointer["pi"] < 0.8
    assert pointer["kind"] == "upper bound"
    # random sequence takes two bits, of which a copy saves most and pays 13 a window of 32.
    assert 1.9 < bits(model) < 2.1
    assert bits(pointer, "repeats") < bits(model, "repeats") - 0.5
    assert bits(pointer, "repeats") > (pointer["bits_per_pointer"] - 2) / LENGTH
    assert bits(pointer, "unique windows") == pytest.approx(
        bits(model, "unique windows") - math.log2(1 - pointer["pi"]) / LENGTH, abs=1e-6
    )
    assert bits(tighter) <= bits(pointer) + 1e-9
    names = [entry["baseline"] for entry in likelihood["differences"]]
    assert {"pointer", "pointer_posterior"} <= set(names)


def test_without_pointer_evaluation_is_that_of_the_network_alone(run, tmp_path):
    rows, _ = figures(run, tmp_path / "with.json", "pointer=true")
    alone, _ = figures(run, tmp_path / "without.json")
    assert "pointer" not in alone
    assert bits(alone["model"]) == bits(rows["model"])


def sampled(run_dir, out, *more):
    sample(compose(f"model={run_dir}", f"out={out}", "num_sequences=12", "sampler.num_steps=16",
                   *more, name="sample"))  # fmt: skip
    lines = Path(out).read_text().splitlines()
    return lines[0], lines[1::2]


def test_nothing_is_copied_unless_it_is_asked_for(run, tmp_path, caplog):
    head, plain = sampled(run, tmp_path / "plain.fa")
    assert "pointer" not in head
    assert "novelty" not in caplog.text
    model = dnamdlm.load(str(run), device="cpu")
    model.loaded.lm.pointer_channel = None
    assert model.sample(12, sampler=AncestralSampler(16)) == plain


def test_samples_with_a_pointer_copy_and_say_so(run, tmp_path, caplog):
    caplog.set_level("INFO")
    head, copied = sampled(run, tmp_path / "copied.fa", "pointer=1.0")
    assert " pointer=1" in head
    (said,) = [line for line in caplog.messages if line.startswith("novelty: ")]
    # by chance the longest match of 32 bases with 3,840 has seven or eight.
    assert float(said.split()[-2]) > 12
    _, plain = sampled(run, tmp_path / "plain.fa")
    # the same noise, and another distribution.
    assert plain != copied
    _, some = sampled(run, tmp_path / "some.fa", "pointer=0.5", "batch_size=5")
    is_copy = [row in copied for row in some]
    assert all(row in copied or row in plain for row in some)
    assert 0 < sum(is_copy) < 12
    model = dnamdlm.load(str(run), device="cpu")
    assert model.sample(12, pointer=0.5, sampler=AncestralSampler(16)) == some


def test_samplers_and_models_that_cannot_copy_are_refused(run, tmp_path):
    out = tmp_path / "out.fa"
    with pytest.raises(ConfigError, match="sampler=semi_ar makes many; use sampler=ancestral"):
        sample(compose(f"model={run}", f"out={out}", "pointer=0.5", "sampler=semi_ar",
                       name="sample"))  # fmt: skip
    both = dnamdlm.load(str(run), device="cpu", strands="both")
    with pytest.raises(
        ConfigError, match="and this model reads another strand or both; use strands=one"
    ):
        both.sample(1, pointer=0.5)
    with pytest.raises(DataError, match=r"gone\.fa"):
        sampled(run, out, "pointer=0.5", f"data.fasta={tmp_path / 'gone.fa'}")
    with pytest.raises(ConfigError, match=r"pointer=1\.5|pointer"):
        sampled(run, out, "pointer=1.5")
    other = written(tmp_path / "other.fa", seed=1)
    with pytest.raises(ConfigError, match="training split of its own training, and these data"):
        sampled(run, out, "pointer=0.5", f"data.fasta={other}")


def test_templates_of_another_genome_are_refused(run, tmp_path):
    other = written(tmp_path / "other.fa", seed=1)
    with pytest.raises(ConfigError, match="training split of its own training, and these data"):
        figures(run, tmp_path / "out.json", "pointer=true", f"data.fasta={other}")
    with pytest.raises(ConfigError, match="training split of its own training, and these data"):
        fit(load_model(str(run)).lm, other, run_dir=tmp_path / "run", max_steps=1, **SMALL)


def test_a_genome_that_is_not_at_hand_is_one_sentence(run, genome, tmp_path):
    gone = tmp_path / "gone.fa"
    with pytest.raises(DataError, match=r"gone\.fa"):
        figures(run, tmp_path / "out.json", "pointer=true", f"data.fasta={gone}")
    with pytest.raises(DataError, match="a validation split to choose the weight by"):
        figures(run, tmp_path / "out.json", "pointer=true", f"data.fasta={genome}",
                "data.train=[r1]", "data.test=[r3]", "data.valid=[]")  # fmt: skip


def test_a_model_without_pointers_is_refused(genome, tmp_path):
    small = SMALL | {"valid_every": 2, "checkpoint_every": 2}
    fit(made(None), genome, run_dir=tmp_path / "run", max_steps=2, **small)
    with pytest.raises(ConfigError, match="trained with copying=pointer, and this one was not"):
        figures(tmp_path / "run", tmp_path / "out.json", "pointer=true")
    with pytest.raises(ConfigError, match=r"pointer=0\.1 needs a model that was trained with"):
        sampled(tmp_path / "run", tmp_path / "out.fa", "pointer=0.1")


def test_both_strands_at_once_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="template of one strand; use strands=one"):
        figures(run, tmp_path / "out.json", "pointer=true", "strands=both")


def test_weights_with_pointers_are_not_divided(genome, tmp_path):
    with pytest.raises(ConfigError, match="fsdp2 cannot divide a network with pointers"):
        fit(made(), genome, run_dir=tmp_path / "run", max_steps=1, strategy="fsdp2", **SMALL)


def test_the_switch_of_the_command_names_its_settings():
    tree = compose("config=demo", "copying=pointer", "lm.pointer.word_length=16")
    assert build_language_model(tree, seed=1).pointer == Pointer(word_length=16)
    assert "pointer" not in compose("config=demo")["lm"]
    tree = compose("config=tiny", "data.annotation=null", "backbone=caduceus_ps", "copying=pointer")
    with pytest.raises(ConfigError, match="CaduceusPS does not take; use backbone=dit"):
        build_language_model(tree, seed=1)
    with pytest.raises(ConfigError, match="another vocabulary; use copying=none"):
        build_language_model(compose("config=text8", "data.corpus=x", "copying=pointer"), seed=1)
