"""Damaged checkpoints: every damage is found before a tensor is used."""

import json
import random
import shutil
import signal

import pytest
import torch

from dnamdlm.assembly.models import load_model
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import newest_valid, verify_checkpoint
from tests.faults.harness import STEPS, state

pytestmark = pytest.mark.faults

NEWEST = f"step_{STEPS:09d}"


@pytest.fixture
def broken(unbroken, tmp_path):
    """A copy of the unbroken run."""
    return shutil.copytree(unbroken, tmp_path / "run")


@pytest.fixture(scope="module")
def contents(unbroken):
    return {path.name: path.read_bytes() for path in (unbroken / "checkpoints" / NEWEST).iterdir()}


def refused(folder):
    """Whether a checkpoint is refused without a tensor being read."""
    try:
        verify_checkpoint(folder)
    except CheckpointError:
        return True
    return False


def test_a_thousand_flipped_bits_are_found(contents, tmp_path):
    choice = random.Random(19)
    folder = tmp_path / NEWEST
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    assert not refused(folder)
    found = 0
    for number in range(1000):
        # every file equally often, so that the small ones are hit as well
        name = sorted(contents)[number % len(contents)]
        bit = choice.randrange(8 * len(contents[name]))
        flipped = bytearray(contents[name])
        flipped[bit // 8] ^= 1 << (bit % 8)
        (folder / name).write_bytes(flipped)
        found += refused(folder)
        (folder / name).write_bytes(contents[name])
    assert found == 1000


def test_every_truncation_is_found(contents, tmp_path):
    folder = tmp_path / NEWEST
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    for name, content in contents.items():
        for part in range(50):
            (folder / name).write_bytes(content[: len(content) * part // 50])
            assert refused(folder), (name, part)
        (folder / name).write_bytes(content)
    assert not refused(folder)


def _missing(folder, other):
    del other
    (folder / "trainer.safetensors").unlink()


def _extra(folder, other):
    shutil.copy(other / "weights.safetensors", folder / "weights2.safetensors")


def _swapped(folder, other):
    del other
    (folder / "weights.safetensors").rename(folder / "x")
    (folder / "average.safetensors").rename(folder / "weights.safetensors")
    (folder / "x").rename(folder / "average.safetensors")


def _foreign_shard(folder, other):
    shutil.copy(other / "weights.safetensors", folder / "weights.safetensors")


def _foreign_manifest(folder, other):
    shutil.copy(other / "manifest.json", folder / "manifest.json")


def _other_step(folder, other):
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


def _link(folder, other):
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").symlink_to(other / "weights.safetensors")


def _directory(folder, other):
    del other
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").mkdir()


def _no_files(folder, other):
    del other
    (folder / "manifest.json").write_text('{"format_version": 1, "files": []}')


def _outside(folder, other):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../../x"] = manifest["files"]["model.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(other / "model.json", folder.parent.parent / "x")


DAMAGES = (
    _missing, _extra, _swapped, _foreign_shard, _foreign_manifest, _other_step, _link, _directory,
    _no_files, _outside,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_a_damage_is_found_and_the_checkpoint_before_is_taken(broken, caplog, damage):
    folder = broken / "checkpoints" / NEWEST
    before = broken / "checkpoints" / "step_000000009"
    damage(folder, before)
    assert newest_valid(broken / "checkpoints") == before
    assert str(folder) in caplog.text
    assert load_model(str(broken)).step == 9


def test_a_run_goes_on_from_the_newest_good_one(trainer, unbroken, broken):
    path = broken / "checkpoints" / NEWEST / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    ended = trainer.finish(broken)
    assert f"{path} does not have the content it was written with" in ended.text
    assert "resuming from step 9" in ended.text
    assert state(broken) == state(unbroken)


def test_killed_after_the_damage_it_still_ends_alike(trainer, unbroken, broken):
    (broken / "checkpoints" / NEWEST / "model.json").write_text("{}")
    fault = {"place": "save_file", "step": STEPS, "count": 2}
    assert trainer.run(broken, faults=[fault]).code == -signal.SIGKILL
    trainer.finish(broken)
    assert state(broken) == state(unbroken)


def test_a_resumed_run_has_the_average_and_the_moments_of_its_checkpoint(unbroken):
    loaded = load_model(str(unbroken), weights="average")
    raw = load_model(str(unbroken), weights="raw")
    names = [name for name, value in raw.lm.state_dict().items() if value.is_floating_point()]
    assert any(
        not torch.equal(loaded.lm.state_dict()[name], raw.lm.state_dict()[name]) for name in names
    )
