"""How long a run takes, said before and while it trains, and the time that a command may take."""

import csv
import logging
import re

import pytest

from dnamdlm.assembly.train.fitting import fit
from dnamdlm.errors import ConfigError
from dnamdlm.lm.checkpoint import list_checkpoints, read_tensors
from dnamdlm.training import signals
from tests.assembly.test_configs import compose
from tests.helpers.entries import check_tree, train

STEPS = 6
SMALL = [
    "config=tiny", "backbone.hidden_size=8", "backbone.num_blocks=1", "backbone.num_heads=2",
    "backbone.dropout=0.1", f"trainer.max_steps={STEPS}", "trainer.accelerator=cpu",
    "trainer.valid_every=3", "trainer.valid_windows=100", "trainer.valid_draws=1",
    "trainer.log_every=1", "threads=1",
]  # fmt: skip
# over before the first step ends, on any machine.
NO_TIME = "trainer.max_minutes=1e-9"


def run(folder, *overrides):
    train(compose(*SMALL, f"run_dir={folder}", *overrides))


def newest(folder):
    path = list_checkpoints(folder / "checkpoints")[-1]
    names = ("weights.safetensors", "average.safetensors", "trainer.safetensors")
    return path.name, [(path / name).read_bytes() for name in names]


def rows(folder):
    with (folder / "metrics.csv").open() as stream:
        found = list(csv.DictReader(stream))
    timed = ("seconds", "bases_per_second")
    return [{key: value for key, value in row.items() if key not in timed} for row in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(folder)
    return folder


def test_a_command_whose_time_is_over_saves_its_step_and_ends_well(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(tmp_path / "run", NO_TIME)
    assert newest(tmp_path / "run")[0] == "step_000000001"
    assert "trainer.max_minutes=1e-09 is reached after step 1 of 6" in caplog.messages[-1]
    assert "the same command resumes" in caplog.messages[-1]


@pytest.mark.slow
def test_a_run_of_many_short_commands_ends_as_the_unbroken_one(tmp_path, whole):
    folder = tmp_path / "run"
    for done in range(1, STEPS + 2):
        run(folder, NO_TIME)
        # the last command makes up for the validation that the time had cut after its first batch.
        assert newest(folder)[0] == f"step_{min(done, STEPS):09d}"
        is_validated = bool(rows(folder)[-1]["valid_bits_per_base"])
        assert is_validated == (done > STEPS)
    assert newest(folder) == newest(whole)
    assert rows(folder) == rows(whole)


def test_a_limit_may_be_left_out_or_changed_when_a_run_is_resumed(tmp_path, whole):
    run(tmp_path / "run", NO_TIME)
    run(tmp_path / "run", "trainer.max_minutes=600")
    assert newest(tmp_path / "run") == newest(whole)
    assert rows(tmp_path / "run") == rows(whole)


def test_a_limit_that_is_not_reached_changes_nothing(tmp_path, whole):
    run(tmp_path / "run", "trainer.max_minutes=600")
    assert newest(tmp_path / "run") == newest(whole)


def test_a_signal_is_reported_before_the_time():
    request = signals.StopRequest(deadline=0.0)
    assert request.reason() is None
    request.has_progress = True
    assert request.reason() == signals.TIME_LIMIT
    request.receive(signals.signal.SIGTERM, None)
    assert request.reason() == signals.signal.SIGTERM


def test_fit_takes_a_limit_and_returns_the_model_so_far(tmp_path, whole):
    from dnamdlm.assembly.models import load_model

    lm = load_model(str(whole)).lm
    settings = {"valid": ["chrXV"], "test": ["chrXVI"], "length": 64, "global_batch_size": 4}
    loaded = fit(
        lm, "embedded:yeast", run_dir=tmp_path / "run", max_steps=5, max_minutes=1e-9,
        device="cpu", valid_windows=4, **settings,
    )  # fmt: skip
    assert loaded.step == 1
    average = read_tensors(tmp_path / "run/checkpoints/step_000000001/average.safetensors")
    assert all((loaded.lm.state_dict()[name] == value).all() for name, value in average.items())


@pytest.mark.parametrize("minutes", ["0", "-1", ".inf", ".nan"])
def test_a_limit_that_is_no_time_is_refused(minutes):
    with pytest.raises(ConfigError, match=r"trainer\.max_minutes"):
        check_tree(compose("config=tiny", f"trainer.max_minutes={minutes}"))


TIME = r"a step takes [\d.]+ s, so that {steps} steps and {validations} take about [\d.]+ (s|min)$"


def test_a_dry_run_says_how_long_the_run_takes_and_writes_nothing(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(tmp_path / "run", "dry_run=true")
    assert re.match(TIME.format(steps="6", validations="2 validations"), caplog.messages[-1])
    assert not list(tmp_path.iterdir())


def test_a_dry_run_of_a_run_that_has_begun_counts_what_is_left(tmp_path, caplog):
    run(tmp_path / "run", NO_TIME)
    before = newest(tmp_path / "run")
    caplog.set_level(logging.INFO)
    run(tmp_path / "run", "dry_run=true")
    assert re.match(TIME.format(steps="5", validations="2 validations"), caplog.messages[-1])
    assert newest(tmp_path / "run") == before


def test_a_run_says_how_long_it_takes_once_three_steps_are_done(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(tmp_path / "run")
    expected = TIME.format(steps="6", validations="2 validations")
    (place,) = [i for i, line in enumerate(caplog.messages) if re.match(expected, line)]
    assert caplog.messages[place + 1].startswith("step 3/6")


@pytest.mark.parametrize("recipe", ["quick"])
def test_the_quick_recipe_is_the_demo_without_the_names_of_yeast(recipe):
    quick, demo = compose(f"config={recipe}", "data.fasta=x.fa"), compose("config=demo")
    assert quick.pop("data") == {
        **demo.pop("data"), "fasta": "x.fa", "annotation": None, "valid": None, "test": None,
    }  # fmt: skip
    assert (quick.pop("name"), quick.pop("run_dir")) == ("quick", "runs/quick")
    assert (demo.pop("name"), demo.pop("run_dir")) == ("demo", "runs/demo")
    assert quick == demo
