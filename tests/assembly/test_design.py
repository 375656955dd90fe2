"""The `design` entry without a shell: constraints, selection, files, comparisons and mistakes."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dnamdlm.assembly import workers
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.design import design_draws, designing
from dnamdlm.assembly.design.candidates import passing_draws
from dnamdlm.assembly.design.design_call import designs_of
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.sample.sampling import sampled_strings
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError, DataError, DnamdlmError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.sampling.samplers import AncestralSampler
from dnamdlm.rewards import ForbiddenWord, GcShare
from dnamdlm.rewards.word_matches import Word
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.entries import settings_of

WINDOW = 12
DATA = {
    "_target_": "dnamdlm.data.genome.genome_settings.GenomeData", "fasta": "x", "length": WINDOW,
}  # fmt: skip
SAMPLER = AncestralSampler(num_steps=3)
QUICK = {"sampler": SAMPLER, "likelihood_draws": 0}
POOL = 120


def strong(sequences):
    return [float(text.count("G") + text.count("C")) for text in sequences]


@pytest.fixture(scope="module")
def loaded():
    torch.manual_seed(0)
    backbone = DiT(12, 16, 1, 2)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    lm = MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform())
    return LoadedModel(lm, ModelConfig({"data": DATA}), 1, "0123456789abcdef", Path("x"), None)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """The model of these tests has no folder that another process could open."""
    monkeypatch.setattr(workers, "_is_worth_starting", lambda *_: False)


@pytest.fixture
def natural(tmp_path):
    rng = np.random.default_rng(5)
    sequences = ["".join(rng.choice(list("ACGT"), WINDOW)) for _ in range(60)]
    table = pd.DataFrame({"sequence": sequences, "activity": strong(sequences)})
    table.to_csv(tmp_path / "natural.tsv", sep="\t", index=False)
    return tmp_path / "natural.tsv"


@pytest.fixture(scope="module")
def draws(loaded):
    """What `sample` makes of the same numbers."""
    settings = SampleSettings("x", "", num_sequences=POOL, length=WINDOW, sampler=SAMPLER)
    return list(sampled_strings(loaded, settings))


def test_without_a_tilt_the_designs_are_the_draws_of_the_model_that_pass(loaded, draws):
    found = designs_of(loaded, strong, 6, avoid=["GC", "AA"], gc=(0.3, 0.8), **QUICK)

    def passes(text):
        # the reverse complement of GC is GC, that of AA is TT.
        return not {"GC", "AA", "TT"} & {a + b for a, b in itertools.pairwise(text)} and (
            0.3 <= strong([text])[0] / WINDOW <= 0.8
        )

    expected = [number for number, text in enumerate(draws) if passes(text)][:6]
    assert found.sequences == [draws[number] for number in expected]
    assert found.columns["draw"] == [number + 1 for number in expected]
    assert found.columns["reward"] == strong(found.sequences)
    cost = found.report["cost"]
    assert (cost["pool"], cost["draws"]) == (6, expected[-1] + 1)
    used = draws[: cost["draws"]]
    assert cost["refused"]["avoid=GC"] == sum("GC" in text for text in used)


def test_the_draws_do_not_depend_on_the_batch_size(loaded):
    one = designs_of(loaded, strong, 5, avoid="CG", batch_size=1, **QUICK)
    many = designs_of(loaded, strong, 5, avoid="CG", batch_size=64, **QUICK)
    assert one.sequences == many.sequences


def test_the_best_are_those_of_highest_reward_in_the_pool(loaded, draws):
    found = designs_of(loaded, strong, 4, select="best", pool=POOL, **QUICK)
    assert found.columns["reward"] == sorted(strong(draws), reverse=True)[:4]
    assert [draws[number - 1] for number in found.columns["draw"]] == found.sequences
    assert "a selection, not draws" in found.report["cost"]["distribution"]


def test_a_tilt_resamples_the_pool_by_its_weights(loaded, draws):
    found = designs_of(loaded, strong, 60, temperature=1.0, pool=POOL, **QUICK)
    shares = np.exp(strong(draws))
    shares /= shares.sum()
    copies = np.bincount(np.array(found.columns["draw"]) - 1, minlength=POOL)
    # systematic resampling: the number of copies is the expected one, rounded down or up.
    assert (copies >= np.floor(60 * shares - 1e-9)).all()
    assert (copies <= np.ceil(60 * shares + 1e-9)).all()
    cost = found.report["cost"]
    assert cost["effective_size"] == pytest.approx(1 / (shares**2).sum(), rel=1e-12)
    assert cost["log_mean_weight"] == pytest.approx(np.log(np.exp(strong(draws)).mean()), rel=1e-12)
    assert cost["distinct"] == len(set(found.columns["draw"]))
    assert np.mean(found.columns["reward"]) > np.mean(strong(draws)) + 0.5


def test_populations_draw_designs_of_higher_reward(loaded, draws):
    settings = {"temperature": 0.7, "population": 5, "value": "likely", **QUICK}
    found = designs_of(loaded, strong, 6, gc=(0.2, 0.9), avoid="CGCG", **settings)
    assert len(set(found.sequences)) > 4
    assert np.mean(strong(found.sequences)) > np.mean(strong(draws)) + 1
    cost = found.report["cost"]
    assert (cost["pool"], cost["population"]) == (6, 5)
    assert 1 <= cost["population_effective_size"] <= 5
    # one value per member, step and draw, and those of the finished designs.
    assert cost["reward_sequences"] > 6 * 5
    assert "with populations of 5" in cost["distribution"]
    names = [row["name"] for row in found.report["compared"]]
    assert names == ["designs", "draws that pass, no reward", "rejection sampling"]
    again = designs_of(
        loaded, strong, 6, gc=(0.2, 0.9), avoid="CGCG", **settings | {"batch_size": 7}
    )
    assert again.sequences == found.sequences


def test_a_pool_of_populations_is_resampled_by_their_estimates_of_z(loaded):
    settings = {"temperature": 0.7, "population": 4, "value": "likely", "baselines": False, **QUICK}
    asked = SampleSettings(
        "x", "", num_sequences=20, length=WINDOW, sampler=SAMPLER, reward="given",
        reward_temperature=0.7, population=4, value="likely",
    )  # fmt: skip
    steered = sampled_strings(loaded, asked, reward=strong)
    found = designs_of(loaded, strong, 8, pool=20, **settings)
    shares = np.exp(steered.log_z - steered.log_z.max())
    shares /= shares.sum()
    copies = np.bincount(np.array(found.columns["draw"]) - 1, minlength=20)
    assert (copies >= np.floor(8 * shares - 1e-9)).all()
    assert (copies <= np.ceil(8 * shares + 1e-9)).all()
    assert found.sequences == [steered[number - 1] for number in found.columns["draw"]]
    best = designs_of(loaded, strong, 3, pool=20, select="best", **settings)
    assert best.columns["reward"] == sorted(strong(steered), reverse=True)[:3]


def test_constraints_that_steer_hold_in_every_draw(loaded):
    settings = {"avoid": ["GC", "AA"], "require": "TRC+", "longest_run": 2, "gc": (0.3, 0.6)}
    rejected = designs_of(loaded, strong, 2, most_draws=10_000, **settings, **QUICK)
    assert rejected.report["cost"]["acceptance"] < 0.2
    steered = settings | QUICK | {"constraints": "steer", "population": 3, "baselines": False}
    found = designs_of(loaded, strong, 6, **steered)
    cost = found.report["cost"]
    assert cost["draws"] == 6
    assert set(cost["refused"].values()) == {0}
    assert "steered to the constraints" in cost["distribution"]
    tilted = designs_of(loaded, strong, 6, **steered | {"temperature": 0.2, "population": 8})
    assert np.mean(strong(tilted.sequences)) > np.mean(strong(found.sequences))


def test_conditions_that_are_impossible_together_are_named(loaded):
    with pytest.raises(ConfigError) as found:
        designs_of(loaded, strong, 1, avoid=["AW", "TW"], gc=(0.0, 0.4), **QUICK)
    assert str(found.value) == (
        "no sequence satisfies avoid=AW, avoid=TW, gc=[0,0.4], length=12 together; leave one of "
        "them out"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 4}, "give temperature=NUMBER, or constraints=steer"),
        ({"population": 1, "temperature": 1}, "nothing to choose from"),
        ({"value": "likely"}, "value was given but has no effect: nothing steers"),
        ({"constraints": "steer", "avoid": "GC"}, "give its size, such as population=8"),
        ({"constraints": "steer", "population": 4}, "has nothing to satisfy"),
        (
            {"constraints": "steer", "population": 4, "avoid": "GC", "temperature": 1.0,
             "proposal": "first_order"},
            "leave one out",
        ),
        ({"population": 10**7, "temperature": 1.0}, "needs more memory than one batch may have"),
        ({"population": 4, "temperature": 1.0, "proposal": "gradient"}, "needs derivatives"),
        ({"population": 4, "temperature": 1.0, "sampler": "semi_ar"}, "gives windows away"),
    ],
)  # fmt: skip
def test_populations_that_cannot_be_are_one_sentence(loaded, settings, message):
    with pytest.raises(ConfigError, match=message) as found:
        designs_of(loaded, strong, 2, **{**QUICK, **settings})
    assert "\n" not in str(found.value)


def test_what_is_given_is_satisfied_by_construction(loaded):
    found = designs_of(loaded, strong, 8, motif=["TATA@2", "GR@8"], longest_run=4, **QUICK)
    assert all(text[2:6] == "TATA" and text[8] == "G" and text[9] in "AG"
               for text in found.sequences)  # fmt: skip
    filled = designs_of(loaded, strong, 3, template="ACGTNNNNNNNN", **QUICK)
    assert all(text.startswith("ACGT") and len(text) == 12 for text in filled.sequences)


def test_no_design_copies_a_given_sequence(loaded, draws):
    found = designs_of(loaded, strong, 5, unlike=draws[:4], **QUICK)
    assert found.sequences == draws[4:9]
    assert found.report["cost"]["refused"] == {"unlike=sequences": 4}


def test_files_hold_the_designs_with_their_rewards(loaded, natural, tmp_path, monkeypatch):
    monkeypatch.setattr(designing, "load_model", lambda *_args, **_settings: loaded)
    settings = settings_of(
        "design", "model=x", "reward=[{motif:G,strand:one},{motif:C,strand:one}]",
        f"out={tmp_path}/d.fa", "num_sequences=5", "select=best", "pool=40", "motif=TATA@3",
        "sampler.num_steps=3", f"natural={natural}", "natural_column=activity", "audit=kmer",
    )  # fmt: skip
    path, text = designing.design(settings)
    before = path.read_bytes()
    # earlier designs are replaced.
    assert designing.design(settings)[0].read_bytes() == before
    table = pd.read_csv(tmp_path / "d.tsv", sep="\t")
    report = json.loads((tmp_path / "d.json").read_text())
    records = {
        name: "".join("ACGT"[code] for code in codes) for name, codes in read_fasta(path).items()
    }
    assert list(records) == table.name.tolist()
    assert list(records.values()) == table.sequence.tolist()
    assert table.reward.tolist() == strong(table.sequence)
    assert table.columns.tolist() == [
        "name", "sequence", "reward", "draw", "audit", "gc", "kmer_divergence", "nearest",
        "nearest_identity", "bits_per_base",
    ]  # fmt: skip
    first = path.read_text().splitlines()[0]
    assert first.startswith(f">design_000001 length=12 reward={table.reward[0]:g} audit=")
    assert " model=0123456789ab sampler=ancestral steps=3 " in first
    assert first.endswith("select=best motif=TATA@3")
    assert [row["name"] for row in report["compared"]] == [
        "designs", "draws that pass, no reward", "most active natural", "mutation with selection",
    ]  # fmt: skip
    rows = {row["name"]: row for row in report["compared"]}
    known = pd.read_csv(natural, sep="\t")
    limit = np.percentile(known.activity, 99)
    assert report["natural"]["predicted_reward"][0] == pytest.approx(limit, rel=1e-12)
    assert rows["designs"]["reward_above_99"] == (table.reward > limit).mean()
    best = known.activity.nlargest(5).mean()
    assert rows["most active natural"]["reward_mean"] == pytest.approx(best, rel=1e-12)
    assert rows["most active natural"]["nearest_identity"] == 1
    assert all("audit_shuffled" in row for row in report["compared"])
    assert "  shuffled" in text
    # 4 of 40 rewards are left for mutation after reading five parents seven times more.
    assert rows["mutation with selection"]["reward_mean"] >= best
    assert text.endswith("wrote 5 sequences to " + f"{tmp_path}/d.fa, d.tsv, d.json, d.html")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d.tsv", "designs have a file of that name"),
        ("d.json", "designs have a file of that name"),
        ("mine.fa", r"would replace .*mine\.tsv, which is not a file of designs"),
        ("none/d.fa", "lies in a folder that does not exist"),
    ],
)
def test_a_target_that_would_harm_another_file_is_refused(tmp_path, name, message):
    (tmp_path / "mine.tsv").write_text("gene\tvalue\n")
    settings = settings_of("design", "model=x", "reward={motif:A}", f"out={tmp_path}/{name}")
    with pytest.raises(DnamdlmError, match=message):
        designing.design(settings)
    assert (tmp_path / "mine.tsv").read_text() == "gene\tvalue\n"


def test_rounds_do_not_change_which_draws_pass():
    made = []

    def draw(first, count):
        made.append((first, count))
        return ["G" * (number % 7 == 3) + "A" for number in range(first, first + count)]

    pool = passing_draws(draw, [GcShare(0.1, 1.0)], wanted=20, most=10_000)
    assert pool.numbers == [3 + 7 * i for i in range(20)]
    assert (pool.draws, pool.refused) == (137, {"gc=[0.1,1]": 117})
    assert pool.acceptance == pytest.approx(20 / 137, rel=1e-12)
    assert [first for first, _ in made] == list(np.cumsum([0, *[n for _, n in made[:-1]]]))
    assert len(made) <= 4


def test_a_limit_that_is_reached_says_how_many_passed_and_what_refused_most():
    words = [ForbiddenWord(Word("GA")), ForbiddenWord(Word("CCC"))]

    def draw(first, count):
        return ["GA" if number % 10 else "AC" for number in range(first, first + count)]

    with pytest.raises(DataError) as found:
        passing_draws(draw, words, wanted=50, most=100)
    assert str(found.value) == (
        "only 10 of the 50 sequences that are wanted passed among 100 draws; avoid=GA refused "
        "most, 90 draws: loosen it, give a larger most_draws, or num_sequences=10 or fewer"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"motif": "GAATTC@3", "avoid": "EcoRI"}, r"avoid=EcoRI \(GAATTC\) contradicts motif="),
        ({"motif": "TATAAT@8"}, "ends at 14, but the sequence has 12 bases"),
        ({"motif": "AAAAAAAAAA@0", "gc": (0.5, 0.6)}, r"gc=\[0.5,0.6\] contradicts motif="),
        ({"require": "EcoRI", "avoid": "EcoRI"}, r"require=EcoRI .* contradicts avoid=EcoRI"),
        ({"require": "ACGTACGTACGTACGT"}, "has 16 bases and cannot fit in length=12"),
        ({"avoid": "EcoR1"}, r"avoid=EcoR1 is neither .*did you mean EcoRI"),
        ({"template": "ACGTNNNN", "length": 8}, "template and length are both given"),
        ({"select": "best", "temperature": 1.0}, "select=best and temperature are both given"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"pool": 100}, "pool was given but has no effect"),
        ({"label": "x"}, "was trained without classes"),
        ({"gc": (0.6, 0.4)}, "must be two shares in order"),
        ({"length": 10**9}, "length=1,000,000,000 is more than the 5,000,000 bases that a design"),
        ({"gc": 0.5}, r"gc=0.5 must be two shares in order, such as \[0.4,0.6\]"),
        ({"gc": (0.5,)}, "must be two shares in order"),
        ({"temperature": float("inf")}, "temperature=inf must be finite"),
        ({"condition": ()}, r"condition=\[\] asks for no number"),
    ],
)
def test_what_cannot_be_designed_is_one_sentence(loaded, settings, message, monkeypatch):
    monkeypatch.setattr(design_draws, "generated", None)
    with pytest.raises(ConfigError, match=message) as found:
        designs_of(loaded, strong, 4, **settings)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda texts: [float("nan")] * len(texts), "gave nan for 2 of 2"),
        (lambda texts: [1.0], r"shape \(1,\) for 2 sequences"),
        (lambda texts: None, r"shape \(\) for 2 sequences"),
        (lambda texts: ["high"] * len(texts), "gave list in place of numbers"),
        (lambda texts: texts.missing, "failed with AttributeError: 'list' object has no attribute"),
        (lambda texts, more: 1.0, "failed with TypeError: .* missing 1 required positional"),
    ],
)
def test_a_reward_that_is_no_number_is_found_before_anything_is_drawn(
    loaded, reward, message, monkeypatch
):
    monkeypatch.setattr(design_draws, "generated", None)
    with pytest.raises(DataError, match=message):
        designs_of(loaded, reward, 4)
    with pytest.raises(DataError, match=message):
        designs_of(loaded, strong, 4, audit=reward)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sequence\tactivity\nACGT\t1\n", "has 1 sequences of A, C, G and T"),
        ("sequence\tactivity\nACGT\thigh\n", "row 1 has 'high' in the column activity"),
        ("sequence\tactivity\nACGT\t1e308\n", "'1e308' in the column activity, which is not a n"),
        (
            "sequence\tother\nACGT\t1\n",
            "has no column activity; name .* natural_column=NAME, one of sequence, other",
        ),
    ],
)
def test_natural_sequences_that_cannot_be_used_are_one_sentence(loaded, tmp_path, content, message):
    (tmp_path / "n.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        designs_of(loaded, strong, 4, natural=tmp_path / "n.tsv", natural_column="activity")


def test_activities_that_are_all_equal_teach_no_audit(loaded, tmp_path):
    rows = "".join(f"{'ACGT' * 3}\t1\n" for _ in range(30))
    (tmp_path / "n.tsv").write_text(f"sequence\tactivity\n{rows}")
    with pytest.raises(DataError, match="has the activity 1 in every row, from which a regression"):
        designs_of(loaded, strong, 4, natural=tmp_path / "n.tsv", audit="kmer")
