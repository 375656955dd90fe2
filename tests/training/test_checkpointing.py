"""Lightning's checkpoint dictionary survives the trip through safetensors and JSON."""

import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.errors import CheckpointError
from dnamdlm.training.checkpointing import (
    FolderCheckpointIO,
    decode_tree,
    encode_tree,
    prune,
)

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), inner, max_size=3),
    ),
    max_leaves=10,
)


@given(TREES)
def test_a_tree_of_plain_values_comes_back(tree):
    assert decode_tree(encode_tree(tree, {}), {}) == tree


def test_a_foreign_object_is_refused_with_its_place():
    with pytest.raises(CheckpointError, match="/callbacks/mine is a object"):
        encode_tree({"callbacks": {"mine": object()}}, {})


def _checkpoint(step):
    return {
        "global_step": step,
        "state_dict": {"lm.w": torch.arange(3.0)},
        "average": {"weights": {"w": torch.ones(3)}, "num_updates": step},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": [{}]}],
    }


def test_a_checkpoint_is_read_as_it_was_saved(tmp_path):
    io = FolderCheckpointIO({"config": {}, "vocabulary": "abc"})
    io.save_checkpoint(_checkpoint(3), tmp_path / "step_000000003")
    loaded = io.load_checkpoint(tmp_path / "step_000000003")
    assert loaded["state_dict"]["lm.w"].tolist() == [0.0, 1.0, 2.0]
    assert loaded["average"]["weights"]["w"].tolist() == [1.0] * 3
    assert loaded["average"]["num_updates"] == loaded["global_step"] == 3
    assert loaded["optimizer_states"][0]["state"][0]["step"].item() == 4.0


@pytest.mark.parametrize(
    ("place", "file"),
    [
        (("state_dict", "lm.w"), "weights"),
        (("average", "weights", "w"), "average"),
        (("optimizer_states", 0, "state", 0, "step"), "trainer"),
    ],
    ids=["weights", "average", "moments"],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_does_not_resume_from_what_is_not_finite(tmp_path, place, file, value):
    checkpoint = node = _checkpoint(3)
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = torch.tensor([1.0, value])
    io = FolderCheckpointIO({"config": {}, "vocabulary": "abc"})
    io.save_checkpoint(checkpoint, tmp_path / "step_000000003")
    with pytest.raises(CheckpointError, match=f"{file}.safetensors: 1 of 2 numbers of .* NaN or"):
        io.load_checkpoint(tmp_path / "step_000000003")


@pytest.mark.parametrize(
    "content", ["[]", "7", '{"x": 1}', '{"dict": 7}', '{"dict": [["a", {}]]}', '{"tensor": "no"}',
                '{"dict": [["average", {"list": []}]]}'],
)  # fmt: skip
def test_a_state_that_is_not_ours_is_refused(tmp_path, content):
    folder = tmp_path / "step_000000003"
    FolderCheckpointIO({"config": {}, "vocabulary": "abc"}).save_checkpoint(_checkpoint(3), folder)
    (folder / "trainer.json").write_text(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["trainer.json"] = {
        "bytes": len(content), "sha256": hashlib.sha256(content.encode()).hexdigest()
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"trainer.json is not what dnamdlm wrote"):
        FolderCheckpointIO({}).load_checkpoint(folder)


def test_pruning_keeps_the_newest_and_never_trusts_a_damaged_one(tmp_path):
    io = FolderCheckpointIO({})
    for step in (1, 2, 3):
        io.save_checkpoint(_checkpoint(step), tmp_path / f"step_{step:09d}")
    (tmp_path / "mine").mkdir()
    prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mine",
        "step_000000002",
        "step_000000003",
    ]
    (tmp_path / "step_000000003" / "model.json").write_text("{}")
    with pytest.raises(CheckpointError):
        prune(tmp_path, 1)
    assert (tmp_path / "step_000000002").is_dir()
