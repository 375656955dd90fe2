"""Runs with experts: counted at the start, stored, and the same in every command."""

import hashlib
import json
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
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.words.kmers import kmer_counts
from tests.assembly.test_configs import compose
from tests.helpers.entries import build_language_model, evaluate, train

SMALL = {
    "device": "cpu", "threads": 1, "length": 32, "valid": ["r2"], "global_batch_size": 4,
    "warmup_steps": 2, "valid_every": 4, "valid_windows": 4, "valid_draws": 1, "log_every": 1,
    "checkpoint_every": 4,
}  # fmt: skip
EXPERTS = Experts((2, 1), chain=2)


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """Three records; A is as frequent as all other bases together."""
    folder = tmp_path_factory.mktemp("genome")
    return written(folder / "my.fa", seed=0)


def written(path, seed, length=400):
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (3, length), p=[0.5, 0.2, 0.2, 0.1])
    path.write_text("".join(f">r{i}\n{''.join(row)}\n" for i, row in enumerate(letters, start=1)))
    return path


def made(experts=EXPERTS):
    torch.manual_seed(0)
    return MaskedDiffusionLM(DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY, experts=experts)


@pytest.fixture(scope="module")
def run(genome, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    fit(made(), genome, run_dir=run_dir, max_steps=8, **SMALL)
    return run_dir


def newest(run_dir):
    return sorted((Path(run_dir) / "checkpoints").iterdir())[-1]


def test_the_words_of_the_training_split_are_counted_on_both_strands(run, genome):
    lines = genome.read_text().split()
    records = [np.array(["ACGT".index(b) for b in lines[i]], np.uint8) for i in (1, 5)]
    expected = kmer_counts(records, 5)
    lm = load_model(str(run)).lm
    for member, k in zip(lm.expert_gates.members, (5, 3, 3), strict=True):
        assert member.counts.tolist() == expected[k - 1].tolist()


def test_counts_are_stored_once_beside_the_averaged_weights(run):
    name = "expert_gates.members.0.counts"
    assert read_tensors(newest(run) / WEIGHTS)[name].dtype == torch.int32
    average = read_tensors(newest(run) / AVERAGE)
    assert name not in average
    assert "expert_gates.weight" in average


def test_a_resumed_run_ends_with_the_same_bytes(run, genome, tmp_path):
    for max_steps in (4, 8):
        fit(made(), genome, run_dir=tmp_path / "twice", max_steps=max_steps,
            allow=["trainer.max_steps"], **SMALL | {"hold_fraction": 1.0})  # fmt: skip
    fit(made(), genome, run_dir=tmp_path / "once", max_steps=8, **SMALL | {"hold_fraction": 1.0})
    hashes = [
        hashlib.sha256((newest(tmp_path / name) / file).read_bytes()).hexdigest()
        for name in ("twice", "once")
        for file in (WEIGHTS, AVERAGE)
    ]
    assert hashes[:2] == hashes[2:]


def test_every_command_uses_the_stored_experts(run):
    model = dnamdlm.load(str(run), device="cpu")
    lm = model.loaded.lm
    assert lm.experts == EXPERTS
    assert lm.expert_gates.is_counted
    state = torch.full((1, 6), NUCLEOTIDE_VOCABULARY.mask_id)
    # after eight steps the model is near its first expert: on both strands A has a share of 0.3.
    assert lm.denoise(state).exp()[0, :, 7].min() > 0.26
    assert model.embed(["ACGTACGT"]).shape == (1, 8)
    both = dnamdlm.load(str(run), device="cpu", strands="both")
    assert both.embed(["ACGTACGT"]).shape == (1, 8)
    for loaded in (model, both):
        (sample,) = loaded.sample(1, length=40, seed=1)
        assert len(sample) == 40


def test_the_switch_of_the_command_trains_and_evaluates(genome, tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "genomes"))
    short = ("config=tiny", f"data.fasta={genome}", "data.annotation=null", "data.valid=[r2]",
             "data.test=[r3]", "trainer.max_steps=2", "trainer.valid_every=1",
             "trainer.checkpoint_every=1", "trainer.valid_windows=2", "data.length=32",
             f"run_dir={tmp_path / 'run'}")  # fmt: skip
    run_dir = train(compose(*short, "experts=wildcard", "lm.experts.wildcards=[1]"))
    out = tmp_path / "out.json"
    options = (f"model={run_dir}", f"out={out}", "limit=2", "draws=1", "max_order=0")
    evaluate(compose(*options, name="evaluate"))
    assert json.loads(out.read_text())["likelihood"]["rows"]
    tree = compose(*short)
    assert "experts" not in tree
    assert "experts" not in tree["lm"]


def test_a_split_without_a_word_is_refused(tmp_path):
    short = "".join(f">r{i}\n{'ACGTN' * 20}\n" for i in (1, 2, 3))
    (tmp_path / "n.fa").write_text(short)
    with pytest.raises(DataError, match="no word of 9 bases without N, which the experts count"):
        fit(made(Experts((4,))), tmp_path / "n.fa", run_dir=tmp_path / "run", max_steps=1,
            **SMALL | {"max_n_fraction": 0.5})  # fmt: skip


def test_experts_of_another_genome_are_refused(run, tmp_path):
    lm = load_model(str(run)).lm
    other = written(tmp_path / "other.fa", seed=1)
    with pytest.raises(ConfigError, match="counted the words of another training split"):
        fit(lm, other, run_dir=tmp_path / "run", max_steps=1, **SMALL)


def test_weights_with_experts_are_not_divided(genome, tmp_path):
    with pytest.raises(ConfigError, match="fsdp2 cannot divide a network with experts"):
        fit(made(), genome, run_dir=tmp_path / "run", max_steps=1, strategy="fsdp2", **SMALL)


def test_experts_of_text_are_refused_by_name():
    tree = compose("config=text8", "data.corpus=x", "experts=wildcard")
    with pytest.raises(ConfigError, match="another vocabulary; use experts=none"):
        build_language_model(tree, seed=1)
