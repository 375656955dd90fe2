"""What designs are compared with: rejection, guidance alone, motifs, and what each took."""

import json

import numpy as np
import pytest

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.design.audits import shuffled_mean
from dnamdlm.assembly.design.baseline_draws import GUIDED, PLAIN, REJECTED, accepted
from dnamdlm.assembly.design.design_call import designs_of
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.errors import DataError
from dnamdlm.lm.sampling.samplers import AncestralSampler
from dnamdlm.rewards import FunctionReward
from tests.helpers.entries import build_language_model
from tests.helpers.head_runs import small_tree

QUICK = {"sampler": AncestralSampler(num_steps=2), "likelihood_draws": 0}
LENGTH = 12


def strong(texts):
    return [float(text.count("G") + text.count("C")) for text in texts]


def model(*overrides, **facts):
    tree = small_tree(*overrides)
    lm = build_language_model(tree, seed=3).eval()
    given = {"lm": lm, "config": ModelConfig(tree), "step": 1, "digest": "0123456789abcdef"}
    return LoadedModel(*given.values(), None, None, **facts)


@pytest.fixture(scope="module")
def loaded():
    return model()


def rows_of(found):
    return {row["name"]: row for row in found.report["compared"]}


def test_rejection_accepts_in_proportion_to_the_tilt():
    rewards = np.repeat([0.0, 1.0, 2.0], 40_000)
    found = accepted(rewards, 0.5, np.random.default_rng(4))
    shares = np.bincount(found // 40_000, minlength=3) / 40_000
    # a binomial share of 40,000 draws is within four standard errors, 0.0025 each at most.
    np.testing.assert_allclose(shares, np.exp([-4.0, -2.0, 0.0]), rtol=0, atol=0.01)


def test_rejection_from_a_pool_costs_what_the_pool_costs(loaded):
    found = designs_of(loaded, strong, 5, LENGTH, temperature=1.0, pool=60, baselines=True, **QUICK)
    rows = rows_of(found)
    assert list(rows) == ["designs", PLAIN, REJECTED]
    assert rows[REJECTED]["network_calls"] == rows["designs"]["network_calls"] == 60 * 2
    assert rows[PLAIN]["network_calls"] == 5 * 2
    assert rows[REJECTED]["reward_sequences"] == 60
    assert 1 <= rows[REJECTED]["sequences"] <= 5
    # what is accepted is better than what is not chosen.
    assert rows[REJECTED]["reward_mean"] > rows[PLAIN]["reward_mean"]


def test_rejection_beside_populations_makes_as_many_network_calls(loaded):
    found = designs_of(
        loaded, strong, 4, LENGTH, temperature=0.5, population=6, value="likely", **QUICK
    )
    rows = rows_of(found)
    calls = rows["designs"]["network_calls"]
    assert calls > 4 * 2
    assert calls - 2 < rows[REJECTED]["network_calls"] <= calls
    assert rows[REJECTED]["reward_sequences"] == rows[REJECTED]["network_calls"] // 2
    assert list(found.report["figures"]["values"]["reward"]) == list(rows)


def test_motifs_are_counted_beside_active_natural_sequences(loaded, tmp_path):
    rng = np.random.default_rng(5)
    texts = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(40)]
    lines = [f"{text}\t{value}" for text, value in zip(texts, strong(texts), strict=True)]
    (tmp_path / "n.tsv").write_text("\n".join(["sequence\tactivity", *lines]) + "\n")
    sites = {"RICH": "GCGCGCGCGCGC", "POOR": "ATTATATTAATA"}
    counts = [
        f"{base} [ {' '.join('9' if letter == base else '0' for letter in word)} ]"
        for word in sites.values()
        for base in "ACGT"
    ]
    matrices = [">MA0.1 RICH", *counts[:4], ">MA0.2 POOR", *counts[4:]]
    (tmp_path / "m.jaspar").write_text("\n".join(matrices) + "\n")
    found = designs_of(
        loaded, strong, 3, 20, motif="ATTATATTAATA@2", natural=tmp_path / "n.tsv",
        motifs=tmp_path / "m.jaspar", **QUICK,
    )  # fmt: skip
    section = found.report["figures"]["motifs"]
    assert section["num_motifs"] == 2
    # three designs of 20 bases with one match each at least.
    assert section["per_kilobase"]["generated"][1] >= 50 - 1e-9
    assert found.page("d").count("<svg") == 4
    assert json.loads(json.dumps(found.report["figures"])) == found.report["figures"]
    with pytest.raises(DataError, match="none"):
        designs_of(
            loaded, strong, 3, 20, natural=tmp_path / "n.tsv", motifs=tmp_path / "none", **QUICK
        )


def test_guidance_alone_stands_beside_guided_designs():
    guided = model("backbone.num_classes=2", labels=("on", "off"))
    found = designs_of(
        guided, strong, 3, LENGTH, temperature=1.0, pool=12, label="on", guidance=2.0,
        baselines=True, **QUICK,
    )  # fmt: skip
    assert list(rows_of(found)) == ["designs", GUIDED, REJECTED, PLAIN]


def audited(loaded, folder, audit):
    """Figures of designs that begin with TATA, and of what they are compared with."""
    texts = ["".join(text) for text in np.random.default_rng(1).choice(list("ACGT"), (30, LENGTH))]
    lines = "".join(f"{text}\t{value}\n" for text, value in zip(texts, strong(texts), strict=True))
    (folder / "n.tsv").write_text(f"sequence\tactivity\n{lines}")
    return rows_of(
        designs_of(
            loaded,
            strong,
            4,
            LENGTH,
            motif="TATA@0",
            natural=folder / "n.tsv",
            audit=audit,
            **QUICK,
        )
    )


def test_an_audit_of_composition_gives_letters_in_random_order_the_same(loaded, tmp_path):
    rows = audited(loaded, tmp_path, lambda texts: [text.count("G") / 3 for text in texts])
    assert set(rows) >= {"designs", "most active natural"}
    for row in rows.values():
        assert row["audit_shuffled"] == pytest.approx(row["audit_mean"], rel=1e-12, abs=1e-12)


def test_an_audit_of_order_gives_letters_in_random_order_less(loaded, tmp_path):
    read = []

    def begins(texts):
        read.extend(texts)
        return [text.startswith("TATA") for text in texts]

    row = audited(loaded, tmp_path, begins)["designs"]
    assert row["audit_mean"] == 1
    # of 12 letters few orders begin with TATA.
    assert row["audit_shuffled"] < 0.5
    # of more sequences fewer orders are read, and each at least once.
    for count, orders in ((4, 8), (125, 8), (400, 2), (2000, 1)):
        read.clear()
        shuffled_mean(FunctionReward(begins, "begins"), ["ACGT"] * count, seed=1)
        assert len(read) == count * orders


class OfWindows:
    """A reward that reads windows of eight bases, as a head may."""

    window = 8

    def __init__(self, name):
        self.name = name

    def batch(self, texts):
        return np.array(strong(texts))


@pytest.mark.parametrize(
    "steered", [{}, {"temperature": 0.5, "population": 4, "value": "likely", "baselines": False}]
)
def test_windows_that_are_shorter_than_the_designs_are_warned_of_once(loaded, caplog, steered):
    reward, audit = OfWindows("one"), OfWindows("two")
    designs_of(loaded, reward, 2, LENGTH, audit=audit, **steered, **QUICK)
    found = [item.getMessage() for item in caplog.records if "windows" in item.getMessage()]
    assert found == [
        f"{name} reads windows of 8 bases, and sequences have 12; what it predicts for them is "
        "pooled over windows"
        for name in ("reward=one", "audit=two")
    ]
