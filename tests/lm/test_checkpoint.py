"""Checkpoint folders: whole or absent, and every damage is found before a tensor is used."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.backbones.dit import DiT
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import (
    json_writer,
    list_checkpoints,
    newest_valid,
    read_json,
    read_tensors,
    remove_partial,
    tensors_writer,
    verify_folder,
    write_folder,
)
from dnamdlm.lm.module_weights import load_weights


def _write(folder, step, value=1.0):
    return write_folder(
        folder / f"step_{step:09d}",
        {
            "weights.safetensors": tensors_writer({"w": torch.full((3,), value)}),
            "model.json": json_writer({"step": step}),
        },
    )


def test_what_was_written_is_read_back(tmp_path):
    folder = _write(tmp_path, 7, 2.5)
    verify_folder(folder)
    assert read_json(folder / "model.json") == {"step": 7}
    assert read_tensors(folder / "weights.safetensors")["w"].tolist() == [2.5] * 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("whole"), 1)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_flipped_bit_is_found(checkpoint, tmp_path_factory, data):
    copy = tmp_path_factory.mktemp("flip") / "step_000000001"
    shutil.copytree(checkpoint, copy)
    path = data.draw(
        st.sampled_from(sorted(p for p in copy.iterdir() if p.name != "manifest.json"))
    )
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, 8 * len(content) - 1))
    content[position // 8] ^= 1 << (position % 8)
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"SHA-256 differs"):
        verify_folder(copy)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.98])
def test_a_truncated_file_is_found(tmp_path, fraction):
    folder = _write(tmp_path, 1)
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="bytes instead of"):
        verify_folder(folder)


def test_a_missing_file_and_a_link_are_found(tmp_path):
    folder = _write(tmp_path, 1)
    path = folder / "weights.safetensors"
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is missing"):
        verify_folder(folder)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is missing"):
        verify_folder(folder)


def test_the_newest_good_checkpoint_is_taken_when_the_last_is_damaged(tmp_path, caplog):
    _write(tmp_path, 1)
    _write(tmp_path, 2)
    (tmp_path / "step_000000002" / "model.json").write_text("{}")
    assert newest_valid(tmp_path) == tmp_path / "step_000000001"
    assert "step_000000002" in caplog.text


def test_a_failed_write_leaves_the_old_checkpoint_and_nothing_else(tmp_path):
    _write(tmp_path, 1)

    def disk_full(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left on device"):
        write_folder(tmp_path / "step_000000002", {"weights.safetensors": disk_full})
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001"]


def test_leftovers_of_a_killed_write_are_no_checkpoints_and_are_removed(tmp_path):
    _write(tmp_path, 1)
    (tmp_path / ".partial-step_000000002-1").mkdir()
    assert len(list_checkpoints(tmp_path)) == 1
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"weight": torch.zeros(2, 2)}, "lacks 1 tensors"),
        ({"weight": torch.zeros(2, 2), "bias": torch.zeros(2), "x": torch.zeros(1)}, "unknown"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, "reshapes"),
    ],
    ids=["missing", "foreign", "reshaped"],
)
def test_weights_of_another_model_are_refused(tmp_path, weights, message):
    with pytest.raises(CheckpointError, match=message):
        load_weights(torch.nn.Linear(2, 2), weights, tmp_path)


def test_weights_that_differ_do_not_fill_one_tied_tensor(tmp_path):
    network = DiT(12, 16, 1, 2, tie_embeddings=True)
    weights = dict(DiT(12, 16, 1, 2).state_dict())
    with pytest.raises(CheckpointError, match=r"embedding\.weight and head\.weight, which are one"):
        load_weights(network, weights, tmp_path)
    weights["head.weight"] = weights["embedding.weight"]
    load_weights(network, weights, tmp_path)
    assert torch.equal(network.head.weight, weights["embedding.weight"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    module = torch.nn.Linear(2, 2)
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    weights["bias"][1] = value
    with pytest.raises(CheckpointError, match="1 of 2 numbers of bias are NaN or infinite"):
        load_weights(module, weights, tmp_path / "weights.safetensors")
    assert all(tensor.isfinite().all() for tensor in module.state_dict().values())
