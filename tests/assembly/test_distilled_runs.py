"""Distillation by the commands: a student of a run, its use without the teacher, and refusals."""

import json
import shutil

import pytest
import torch

from dnamdlm.assembly.api import Model
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.lm.distilled import DistilledDiffusionLM
from dnamdlm.lm.sampling import AncestralSampler
from tests.assembly.test_configs import compose
from tests.helpers.entries import evaluate, train

SHORT = ("trainer.max_steps=3", "trainer.log_every=1", "trainer.valid_every=3",
         "trainer.checkpoint_every=3", "trainer.valid_windows=4", "data.length=32",
         "backbone.hidden_size=16", "backbone.num_blocks=1")  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "genomes"))
        yield


def tree(run_dir, *overrides):
    return compose("config=tiny", *SHORT, f"run_dir={run_dir}", *overrides)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "teacher"
    train(tree(run_dir, "lm=mdlm_count"))
    return run_dir


def student_of(teacher, run_dir, *overrides):
    train(tree(run_dir, "lm=distilled", "lm.num_steps=8", f"lm.teacher={teacher}",
               f"init_from={teacher}", *overrides))  # fmt: skip


def test_a_student_is_loaded_evaluated_and_sampled_without_its_teacher(teacher, tmp_path):
    there = tmp_path / "there"
    shutil.copytree(teacher, there)
    student_of(there, tmp_path / "student")
    shutil.rmtree(there)
    loaded = load_model(str(tmp_path / "student"))
    assert isinstance(loaded.lm, DistilledDiffusionLM)
    assert (loaded.lm.num_steps, loaded.lm.teacher, loaded.lm.has_teacher) == (8, None, False)
    before = load_model(str(teacher)).lm
    apart = [(a - b).abs().max() for a, b in zip(
        loaded.lm.parameters(), before.parameters(), strict=True)]  # fmt: skip
    assert 0 < torch.stack(apart).max() < 0.1
    model = Model(loaded)
    assert len(model.sample(2, 20, sampler=AncestralSampler(num_steps=4))) == 2
    evaluate(compose(f"model={tmp_path / 'student'}", "limit=2", "draws=1", "max_order=1",
                     name="evaluate"))  # fmt: skip
    found = json.loads((tmp_path / "student" / "evaluation" / "test.json").read_text())
    assert found["likelihood"]["rows"][-1]["kind"] == "upper bound"
    again = Model(load_model(str(model.export(tmp_path / "folder"))))
    assert again.sample(2, 20, seed=4) == model.sample(2, 20, seed=4)
    readme = (tmp_path / "folder" / "README.md").read_text()
    assert "for half the steps of another" in readme
    assert str(there) not in (tmp_path / "folder" / "config.json").read_text()


def test_a_student_of_another_size_is_a_teacher_in_turn(teacher, tmp_path):
    other = ("lm=distilled", "trainer.max_steps=1", "backbone.hidden_size=32")
    train(tree(tmp_path / "first", *other, "lm.num_steps=4", f"lm.teacher={teacher}"))
    again = (f"lm.teacher={tmp_path / 'first'}", "lm.num_steps=2")
    train(tree(tmp_path / "second", *other, *again))
    assert load_model(str(tmp_path / "second")).step == 1


def test_what_does_not_fit_is_refused(teacher, tmp_path):
    with pytest.raises(ConfigError, match=r"lm\.teacher is not given, and lm=distilled learns"):
        train(tree(tmp_path / "run", "lm=distilled"))
    with pytest.raises(CheckpointError, match=r"lm\.teacher=nowhere does not exist"):
        train(tree(tmp_path / "run", "lm=distilled", "lm.teacher=nowhere"))
    with pytest.raises(ConfigError, match=r"lm\.num_steps=7 must be even"):
        student_of(teacher, tmp_path / "run", "lm.num_steps=7")
    with pytest.raises(ConfigError, match=r"time_conditioning is False in lm\.teacher and True"):
        train(tree(tmp_path / "run", "lm=distilled", f"lm.teacher={teacher}",
                   "backbone.time_conditioning=true"))  # fmt: skip
    assert not (tmp_path / "run").exists()
