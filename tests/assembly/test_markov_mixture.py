"""`evaluate mixture=markov`: rows besides that of the network, and what is refused."""

import json

import numpy as np
import pytest

from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.gathering import GatherSettings, gather
from dnamdlm.errors import ConfigError, DataError
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, train

SMALL = [
    "config=tiny", "backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2",
    "trainer.max_steps=2", "trainer.accelerator=cpu", "trainer.valid_windows=4", "threads=1",
]  # fmt: skip
CHEAP = ["max_order=9", "draws=2", "device=cpu", "workers=1", "mixture=markov"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mixture")


@pytest.fixture(scope="module")
def genome(folder):
    """Three records of random bases; half of the second and third are a repeat of the first."""
    rng = np.random.default_rng(0)
    unit = "".join(rng.choice(list("ACGT"), 40))
    texts = {}
    for name in ("r1", "r2", "r3"):
        random = "".join(rng.choice(list("ACGT"), 6400))
        texts[name] = random[:3200] + unit * 80 + random[3200:]
    path = folder / "g.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    return path


@pytest.fixture(scope="module")
def run(folder, genome):
    data = [f"data.fasta={genome}", "data.annotation=null", "data.valid=[r2]", "data.test=[r3]"]
    train(compose(*SMALL, *data, f"run_dir={folder}/run"))
    return folder / "run"


def evaluated(run, *overrides):
    path, headline = evaluate(compose(f"model={run}", *CHEAP, *overrides, name="evaluate"))
    section = json.loads(path.read_text())["likelihood"]
    return {row["name"]: row for row in section["rows"]}, section, headline


def test_the_mixture_has_its_rows_beside_the_network(run, tmp_path):
    rows, section, headline = evaluated(run, f"out={tmp_path}/e.json")
    names = list(rows)
    assert names[-3:] == ["mixture_markov", "mixture_markov_posterior", "model"]
    by_rule, posterior, model = (rows[name] for name in names[-3:])
    bits = [row["classes"]["all"]["bits_per_base"] for row in (by_rule, posterior, model)]
    assert bits[1] <= bits[0] < bits[2]
    assert {row["kind"] for row in (by_rule, posterior)} == {"upper bound"}
    assert (by_rule["shares"], posterior["shares"]) == ("rule", "posterior")
    assert list(by_rule["weights"]) == ["markov_interpolated_8", "markov_interpolated_9"]
    assert sum(by_rule["weights"].values()) == pytest.approx(by_rule["pi"])
    found = [entry["baseline"] for entry in section["differences"]]
    assert found[-2:] == ["mixture_markov", "mixture_markov_posterior"]
    assert "repeats" in model["classes"]
    said = f"Mixture with Markov models, pi = {by_rule['pi']:.3f} on average: {bits[0]:.4f}"
    assert said in headline
    by_window = by_rule["weights_by_window"]
    # two models, and what they make of 16 and 64 bases.
    assert (len(by_window["slopes"]), len(by_window["parts"])) == (4, 2)
    assert section["best_markov"].startswith("markov_")


def test_copies_are_a_baseline_and_a_component_of_their_own(run, tmp_path):
    rows, section, headline = evaluated(run, f"out={tmp_path}/e.json", "mixture=copies")
    copies = rows["markov_interpolated_9_copies"]
    assert (copies["family"], copies["kind"]) == ("copies", "exact")
    assert (copies["seed_lengths"], copies["reach"], copies["order"]) == ([16, 24], 256, 9)
    bits, plain = (
        rows[name]["classes"]["all"]["bits_per_base"]
        for name in ("markov_interpolated_9_copies", "markov_interpolated_9")
    )
    # half of the genome is a repeat of 40 bases, which order 9 does not always tell apart.
    assert bits < plain
    mixture = rows["mixture_markov"]
    assert list(mixture["weights"])[-1] == "markov_interpolated_9_copies"
    assert section["repeats"]["best_markov_by_class"]["repeats"] == "markov_interpolated_9_copies"
    assert f"Mixture with Markov models and copies, pi = {mixture['pi']:.3f}" in headline
    assert "Markov order 9 with copies that tolerate substitutions" in headline
    found = [entry["baseline"] for entry in section["differences"]]
    assert "markov_interpolated_9_copies" in found


def test_a_training_split_that_cannot_be_indexed_is_refused_before_any_work(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr("dnamdlm.assembly.evaluate.markov_mixture.MAX_BASES", 100)
    with pytest.raises(DataError, match="at most 100 bases, and this one has 9,600; use mixture="):
        evaluated(run, f"out={tmp_path}/e.json", "mixture=copies")


def figures(path):
    content = json.loads(path.read_text())
    # what says who made them, and how long it took.
    del content["provenance"]["command"], content["likelihood"]["seconds"]
    return content


@pytest.mark.slow
@pytest.mark.parametrize("mixture", ["markov", "copies"])
def test_a_mixture_is_gathered_from_shards_and_parts(run, tmp_path, mixture):
    words = [*CHEAP[:-1], f"mixture={mixture}", "limit=24", "batch_size=3", f"model={run}"]

    def made(name, *given):
        return evaluate(compose(*words, f"out={tmp_path}/{name}.json", *given, name="evaluate"))

    whole, headline = made("whole", "part_rows=100000")
    assert "Mixture with Markov models" in headline
    assert made("parts", "part_rows=1")[1] == headline
    for number in (2, 3, 1):
        folder, _ = made("shards", "part_rows=30", f"shard={number}/3")
        assert folder.name == "shards.json.parts"
    path, said = gather(GatherSettings(f"{tmp_path}/shards.json"))
    assert said.endswith(headline)
    assert figures(path) == figures(tmp_path / "parts.json") == figures(whole)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("pi", [0, 0.3])
def test_the_weight_of_the_markov_models_can_be_given(run, tmp_path, pi):
    rows, _, _ = evaluated(run, f"out={tmp_path}/e.json", f"pi={pi}", "limit=20")
    assert rows["mixture_markov"]["pi"] == pytest.approx(pi)
    assert rows["mixture_markov"]["weights_by_window"] is None
    if pi == 0:
        for name, figures in rows["model"]["classes"].items():
            found = rows["mixture_markov"]["classes"][name]["bits_per_base"]
            assert found == pytest.approx(figures["bits_per_base"], rel=1e-12)


def test_nothing_is_mixed_unless_it_is_asked_for(run, tmp_path):
    options = [*CHEAP[:-1], "limit=2", f"out={tmp_path}/e.json"]
    path, headline = evaluate(compose(f"model={run}", *options, name="evaluate"))
    rows = json.loads(path.read_text())["likelihood"]["rows"]
    assert "mixture" not in {row["family"] for row in rows}
    assert "Mixture" not in headline


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pi=1.5"], "pi=1.5 must be"),
        (["pi=-0.1"], "pi=-0.1 must be"),
        (["mixture=network"], "mixture=network is unknown; choose markov"),
    ],
)
def test_a_value_outside_of_its_range_is_refused(run, overrides, message):
    with pytest.raises(ConfigError, match=message):
        evaluated(run, *overrides)


def test_a_weight_without_a_mixture_is_refused():
    settings = EvaluateSettings("run", pi=0.1)
    assert list(settings.without_effect()) == ["pi"]
    assert not EvaluateSettings("run", mixture="markov", pi=0.1).without_effect()


def test_markov_models_of_another_genome_are_refused(run, tmp_path):
    rng = np.random.default_rng(1)
    other = tmp_path / "other.fa"
    other.write_text(
        "".join(f">{name}\n{''.join(rng.choice(list('ACGT'), 3000))}\n" for name in "abc")
    )
    with pytest.raises(ConfigError, match=r"these data are not those that .* was trained on"):
        evaluated(run, f"data.fasta={other}", "data.valid=[b]", "data.test=[c]")
    with pytest.raises(ConfigError, match="these data are not those"):
        evaluated(run, "data.valid=[]", "data.test=[r2,r3]")
