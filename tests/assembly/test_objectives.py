"""Every language model by its YAML: built, trained for a few steps, evaluated, passed on."""

import json
from pathlib import Path

import pytest
import torch

from dnamdlm.assembly.api import Model
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.train.initial_weights import fill_start, initialise_from
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.classifier import NoisyClassifier
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import DiscreteTime
from dnamdlm.lm.regressor import NoisyRegressor
from dnamdlm.lm.uniform import UniformDiffusionLM
from tests.assembly.test_configs import FOLDER, compose
from tests.helpers.entries import build_language_model, evaluate, train

MODELS = sorted(path.stem for path in (FOLDER / "lm").glob("*.yaml"))
SHORT = ("trainer.max_steps=2", "trainer.log_every=1", "trainer.valid_every=2",
         "trainer.checkpoint_every=2", "trainer.valid_windows=4")  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))


def _tree(run_dir, *overrides):
    return compose("config=tiny", *SHORT, f"run_dir={run_dir}", *overrides)


def _overrides(model):
    return (
        (f"lm={model}", "backbone=ar", "backbone.hidden_size=16", "backbone.num_blocks=1")
        if (model == "ar")
        else (f"lm={model}",)
    )


@pytest.mark.parametrize("model", MODELS)
def test_every_language_model_builds_from_its_yaml(model):
    lm = build_language_model(compose("config=tiny", *_overrides(model)), seed=1)
    expected = {"ar": CausalLM, "classifier": NoisyClassifier}
    expected |= dict.fromkeys(["block", "block_time"], BlockDiffusionLM)
    expected |= {"classifier_uniform": NoisyClassifier, "regressor": NoisyRegressor}
    expected |= dict.fromkeys(["uniform", "uniform_discrete", "hybrid"], UniformDiffusionLM)
    assert isinstance(lm, expected.get(model, MaskedDiffusionLM))


@pytest.mark.parametrize("model", ["ar", "d3pm", "mlm", "sedd"])
def test_a_language_model_is_trained_stored_and_evaluated(tmp_path, model):
    run_dir = train(_tree(tmp_path / "run", *_overrides(model)))
    loaded = load_model(str(run_dir))
    assert loaded.step == 2
    tree = compose(
        f"model={run_dir}", "limit=2", "draws=1", "max_order=1", "split=valid", name="evaluate"
    )
    path = evaluate(tree)
    path = path[0] if isinstance(path, tuple) else path
    likelihood = json.loads(path.read_text())["likelihood"]
    kind = likelihood["rows"][-1]["kind"]
    assert kind == ("exact" if model == "ar" else "upper bound")
    strings = Model(loaded).sample(2, 9, seed=5)
    assert strings == Model(loaded).sample(2, 9, seed=5, batch_size=1)
    assert {len(string) for string in strings} == {9}
    assert set("".join(strings)) <= set("ACGT")


def test_the_estimator_is_chosen_on_the_command_line_and_recorded(tmp_path):
    run_dir = train(_tree(tmp_path / "run"))
    tree = compose(
        f"model={run_dir}", "limit=1", "max_order=0", "split=valid", "estimator=margin",
        name="evaluate",
    )  # fmt: skip
    path = evaluate(tree)
    content = json.loads((path[0] if isinstance(path, tuple) else path).read_text())
    assert content["likelihood"]["rows"][-1]["kind"] == "exact"
    assert content["provenance"]["estimator"] == "margin"
    for estimator, message in (("best", "estimator=best is unknown"), ("objective", "no bound")):
        with pytest.raises(ConfigError, match=message):
            evaluate(tree | {"estimator": estimator})


def test_diffusion_training_starts_from_the_weights_of_another_objective(tmp_path):
    source = train(_tree(tmp_path / "mlm", "lm=mlm"))
    expected = load_model(str(source)).lm.state_dict()
    lm = build_language_model(compose("config=tiny", "lm=mdlm_discrete"), seed=9)
    assert isinstance(lm, MaskedDiffusionLM)
    assert isinstance(lm.objective, DiscreteTime)
    initialise_from(lm, str(source))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in lm.state_dict().items())
    overrides = (f"init_from={source}", "learning_rate=constant",
                 "optimizer.learning_rate=1e-12", "optimizer.weight_decay=0.0")  # fmt: skip
    target = train(_tree(tmp_path / "mdlm", *overrides))
    reached = load_model(str(target)).lm.state_dict()
    for name, tensor in reached.items():
        # two steps of 1e-12 do not move float32 weights of order one.
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("backbone", "condition", "labels"),
    [
        ("dit_tiny", "num_classes=3", torch.tensor([0, 2])),
        ("dit_tiny", "num_numbers=2", torch.tensor([[0.5, -1.0], [2.0, float("nan")]])),
        ("caduceus_ps", "num_numbers=2", torch.tensor([[0.5, -1.0], [2.0, float("nan")]])),
    ],
)
def test_a_conditioned_network_starts_as_one_that_knows_no_condition(
    tmp_path, backbone, condition, labels, caplog
):
    shape = (f"backbone={backbone}", "backbone.hidden_size=16", "backbone.num_blocks=1")
    source = train(_tree(tmp_path / "plain", *shape))
    lm = build_language_model(compose("config=tiny", *shape, f"backbone.{condition}"), seed=9)
    with caplog.at_level("INFO"):
        initialise_from(lm, str(source))
    meaning = condition.partition("=")[0].removeprefix("num_")
    assert f"knows no {meaning}; what the network adds for them begins at zero" in caplog.text
    tokens = torch.randint(0, 4, (2, 9), generator=torch.Generator().manual_seed(1))
    plain = load_model(str(source)).lm
    with torch.no_grad():
        expected = plain.backbone(tokens)
        assert torch.equal(lm.eval().backbone(tokens, label=labels), expected)
        assert torch.equal(lm.backbone(tokens), expected)


def test_a_condition_of_which_a_part_is_missing_is_damage_and_not_a_new_one():
    lm = build_language_model(compose("config=tiny", "backbone.num_numbers=2"), seed=9)
    whole = {name: tensor + 1 for name, tensor in lm.state_dict().items()}
    fill_start(lm, whole, Path("x"))
    assert bool((lm.backbone.number_embedding.unknown == 1).all())
    part = {name: item for name, item in whole.items() if not name.endswith("unknown")}
    with pytest.raises(CheckpointError, match="lacks 1 tensors"):
        fill_start(lm, part, Path("x"))
    none = {name: item for name, item in part.items() if "number_embedding" not in name}
    fill_start(lm, none, Path("x"))


def test_weights_that_do_not_fit_are_refused_before_the_genome_is_opened(tmp_path):
    source = train(_tree(tmp_path / "mlm", "lm=mlm"))
    for overrides, message in (
        (("backbone.hidden_size=16",), "reshapes"),
        (("backbone.num_blocks=3",), "lacks"),
        (("backbone.time_conditioning=true",), "lacks"),
        (("backbone.num_heads=1",), r"train with backbone\.num_heads=2$"),
        (("backbone.attention_window=3",), r"train with backbone\.attention_window=0$"),
    ):
        tree = _tree(tmp_path / "other", f"init_from={source}", "data.fasta=no/such.fa", *overrides)
        with pytest.raises(CheckpointError, match=message):
            train(tree)
    with pytest.raises(CheckpointError, match=r"init_from=no/such/run does not exist"):
        train(_tree(tmp_path / "other", "init_from=no/such/run"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("lm=ar",), "use backbone=ar"),
        (("lm=mdlm", "backbone=ar"), "use backbone=dit"),
        (("lm=mlm", "backbone.time_conditioning=true"), "MaskedPrediction has no time for"),
        (("lm=mdlm_discrete", "times=importance"), "does not suit the objective DiscreteTime"),
        (("lm=mdlm_discrete", "lm.objective.num_steps=0"), r"num_steps=0 must be at least 1"),
        (("lm=mlm", "+lm.objective.rat=0.2"), r"did you mean lm\.objective\.rate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_parts_that_do_not_fit_together_get_one_sentence(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_language_model(compose("config=tiny", *overrides), seed=1)
