"""Uniform noise by the commands: trained, resumed, evaluated, sampled, scored, edited."""

import hashlib
import re
from pathlib import Path

import pytest
import torch

from data_prep.text import main
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.models import load_model
from dnamdlm.backbones.dit import DiT
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.lm.checkpoint import AVERAGE, WEIGHTS
from dnamdlm.lm.iupac_lm import IupacDiffusionLM
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.noise_levels import masked_to_level
from dnamdlm.lm.sampling.samplers import AncestralSampler, FirstHittingSampler
from dnamdlm.lm.uniform import UniformDiffusionLM
from dnamdlm.tokens.iupac import with_codes
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, sample, train

SHORT = ("trainer.max_steps=4", "trainer.log_every=1", "trainer.valid_every=2",
         "trainer.checkpoint_every=2", "trainer.valid_windows=4", "data.length=32",
         "backbone.hidden_size=16", "backbone.num_blocks=1", "backbone.num_heads=2",
         "backbone.time_conditioning=true")  # fmt: skip
EDITS = (
    ">one interval=chrI:10-40 seed=9 near a gene\nACGTACGTNNACGTACGTACGTACGTACGTAC\n>two\nGGGCCC\n"
)


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))
        yield


def tree(run_dir, *overrides):
    return compose("config=tiny", *SHORT, f"run_dir={run_dir}", *overrides)


@pytest.fixture(
    scope="module", params=[pytest.param("lm=uniform", marks=pytest.mark.slow), "lm=hybrid"]
)
def run(request, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    train(tree(run_dir, request.param))
    return run_dir


def hashes(run_dir):
    newest = sorted((Path(run_dir) / "checkpoints").iterdir())[-1]
    return [hashlib.sha256((newest / name).read_bytes()).hexdigest() for name in (WEIGHTS, AVERAGE)]


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path):
    hold = ("learning_rate.hold_fraction=1.0", "lm=hybrid")
    for steps in (2, 4):
        allow = "resume.allow=[trainer.max_steps]"
        train(tree(tmp_path / "twice", *hold, allow, f"trainer.max_steps={steps}"))
    train(tree(tmp_path / "once", *hold))
    assert hashes(tmp_path / "twice") == hashes(tmp_path / "once")


def test_a_hybrid_without_uniform_noise_is_trained_to_the_bytes_of_masked_diffusion(tmp_path):
    train(tree(tmp_path / "masked", "lm=mdlm"))
    train(tree(tmp_path / "hybrid", "lm=hybrid", "lm.uniform_share=0.0"))
    assert hashes(tmp_path / "masked") == hashes(tmp_path / "hybrid")
    masked, hybrid = (Model(load_model(str(tmp_path / name))) for name in ("masked", "hybrid"))
    assert masked.sample(2, 24, sampler="first_hitting") == hybrid.sample(
        2, 24, sampler="first_hitting"
    )
    assert masked.fill("ACGTNNNNACGT") == hybrid.fill("ACGTNNNNACGT")


@pytest.mark.parametrize(
    ("overrides", "is_warned"),
    [
        (("lm=uniform", "backbone.time_conditioning=false"), True),
        (("lm=hybrid", "lm.uniform_share=0.0", "backbone.time_conditioning=false"), False),
        (("lm=uniform",), False),
    ],
    ids=["uniform", "masks alone", "sees the time"],
)
def test_one_warning_names_the_setting_that_lets_the_network_see_the_time(
    tmp_path, caplog, overrides, is_warned
):
    with caplog.at_level("WARNING"):
        train(tree(tmp_path / "run", *overrides, "dry_run=true", "trainer.max_steps=1"))
    assert caplog.text.count("give backbone.time_conditioning=true") == is_warned


def test_a_run_is_evaluated_sampled_scored_and_embedded(run, tmp_path):
    evaluate(compose(f"model={run}", "limit=4", "max_order=1", name="evaluate"))
    model = Model(load_model(str(run)))
    assert isinstance(model.loaded.lm, UniformDiffusionLM)
    assert {len(made) for made in model.sample(2, 40, sampler="renoise")} == {40}
    assert model.log_likelihood(["ACGTACGTAC"], draws=2).shape == (1,)
    assert model.embed(["ACGTACGTAC"]).shape == (1, 16)
    (tmp_path / "g.fa").write_text(">c\n" + "ACGTTGCA" * 8 + "\n")
    both = model.score("c:20 T>A", tmp_path / "g.fa", draws=3)
    same = model.score("c:20 T>A", tmp_path / "g.fa", draws=3)
    assert set(both) == {"llr", "delta_elbo", "delta_elbo_se"}
    assert both == same
    table = model.score_variants(["c:20:T:A", "c:20:T:TA"], tmp_path / "g.fa", strands="one")
    assert [values[0] is None for values in table["llr"]] == [False, True]
    assert [isinstance(values[0], float) for values in table["delta_elbo"]] == [True, True]


def test_an_edited_file_keeps_names_and_words_and_says_what_changed(run, tmp_path):
    (tmp_path / "in.fa").write_text(EDITS)
    out = tmp_path / "out.fa"
    settings = (f"model={run}", f"edit={tmp_path / 'in.fa'}", f"out={out}")
    steps = ("sampler.num_steps=6", "noise_level=0.6")
    summary = sample(compose(*settings, *steps, "num_sequences=2", name="sample"))
    records = dict(re.findall(r">(.*)\n([ACGTN\n]*)", out.read_text()))
    names = [header.split()[0] for header in records]
    assert names == ["one_1", "one_2", "two_1", "two_2"]
    first = next(iter(records))
    assert " interval=chrI:10-40 near a gene noise_level=0.6 changed=" in first
    assert first.count("seed=") == 1
    before = dict(zip(names, EDITS.split("\n")[1::2] * 2, strict=False))
    before |= {"one_2": before["one_1"], "two_1": "GGGCCC", "two_2": "GGGCCC"}
    total = 0
    for header, letters in records.items():
        text = letters.replace("\n", "")
        changed = sum(a != b for a, b in zip(text, before[header.split()[0]], strict=True))
        assert f"changed={changed}" in header
        assert (text[8:10] == "NN") == header.startswith("one")
        total += changed
    assert f"{total} of them changed" in summary.sentence
    model = Model(load_model(str(run)))

    made = model.sample(
        2, edit=tmp_path / "in.fa", noise_level=0.6, sampler=AncestralSampler(num_steps=6)
    )
    assert made == [text.replace("\n", "") for text in records.values()]
    strings = model.sample(
        2, edit=[before["one_1"], "GGGCCC"], noise_level=0.6, sampler=AncestralSampler(num_steps=6)
    )
    assert strings == made


def test_an_edit_by_halves_of_bases_noises_whole_ones_as_masked_diffusion_does():
    backbone = DiT(len(with_codes(NUCLEOTIDE_VOCABULARY)), 16, 1, 2)
    lm = IupacDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY).eval()
    ids = torch.from_numpy(NucleotideTokenizer().encode("ACGTACGTNNACGTTGCAAC")).long()
    keys, mask_id = row_keys(1, torch.arange(3)), NUCLEOTIDE_VOCABULARY.mask_id
    noised = masked_to_level(
        ids.expand(3, -1), keys, 0.5, real_ids=NUCLEOTIDE_VOCABULARY.real_ids, mask_id=mask_id
    )
    for sampler in (AncestralSampler(4), FirstHittingSampler()):
        (piece,) = generate_pieces(
            lm, keys, Template(ids.numpy(), None), sampler=sampler, trained_length=20,
            noise_level=0.5,
        )  # fmt: skip
        is_kept = noised != mask_id
        assert is_kept.sum(dim=1).tolist() != [20] * 3
        assert torch.equal(piece.tokens[is_kept], ids.expand(3, -1)[is_kept])
        assert lm.real_tokens[piece.tokens[~is_kept]].all()


def test_what_does_not_fit_is_refused(run, tmp_path):
    model = Model(load_model(str(run)))
    refused = {
        "cannot be conditioned exactly": lambda: model.fill("ACGNN"),
        "cannot be held to some of the bases": lambda: model.sample(1, 8, forbid="A"),
        "edit and template are both given": lambda: model.sample(
            1, edit=tmp_path / "e.fa", template=tmp_path / "t.fa"
        ),
        r"noise_level was given but has no effect": lambda: model.sample(1, 8, noise_level=0.5),
        r"noise_level=0\.0 must be above 0": lambda: model.sample(1, edit="ACGT", noise_level=0.0),
        "log_probs hides bases by masks": lambda: model.log_probs(["ACGT"]),
        "needs masks that are revealed": lambda: model.sample(1, 8, sampler="first_hitting"),
    }
    for message, call in refused.items():
        with pytest.raises(ConfigError, match=message):
            call()
    for text, message in (("ACGX", "sequence 1 holds 'X'"), ("NN", "nothing to edit")):
        with pytest.raises(DataError, match=message):
            model.sample(1, edit=[text])
    for given, message in (([], "names no sequence"), (b"AC", "sequence 1 .* type int")):
        with pytest.raises(DataError, match=message):
            model.sample(1, edit=given)
    (tmp_path / "empty.fa").write_text(">a\n>b\nACGT\n")
    with pytest.raises(DataError, match=r"empty\.fa, record 'a': nothing to edit"):
        model.sample(1, edit=tmp_path / "empty.fa")
    with pytest.raises(ConfigError, match="the objective ExactCount is for masks"):
        train(tree(
            tmp_path / "r", "lm=uniform",
            "+lm.objective._target_=dnamdlm.lm.objectives.ExactCount",
        ))  # fmt: skip
    with pytest.raises(ConfigError, match=r"lm\.uniform_share=-0\.5 must lie in \[0, 1\]"):
        train(tree(tmp_path / "r", "lm=hybrid", "lm.uniform_share=-0.5"))


@pytest.mark.slow
def test_a_model_of_text_is_trained_evaluated_and_sampled_and_does_not_edit(tmp_path):
    (tmp_path / "lines.txt").write_text("the dogs sat on the mat\n" * 60)
    assert main([f"files={tmp_path / 'lines.txt'}", f"out={tmp_path / 'corpus'}"]) == 0
    train(compose(
        "config=text", "lm=uniform", f"data.corpus={tmp_path / 'corpus'}", "backbone=dit", *SHORT,
        "data.length=12", "trainer.accelerator=cpu", f"run_dir={tmp_path / 'run'}",
    ))  # fmt: skip
    evaluate(compose(f"model={tmp_path / 'run'}", "limit=2", "draws=1", name="evaluate"))
    model = Model(load_model(str(tmp_path / "run")))
    (made,) = model.sample(1, 10)
    # one token is one byte, of which some are no letters.
    assert 0 < len(made) <= 10
    (again,) = model.sample(1, 10, sampler="renoise")
    assert again != made
    assert model.log_likelihood(["the mat"], draws=2).shape == (1,)
    with pytest.raises(ConfigError, match="was not trained on DNA"):
        model.sample(1, edit="the mat", noise_level=0.5)
