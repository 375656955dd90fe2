"""A trained model that several processes open."""

import shutil
from dataclasses import replace

import pytest
import torch

from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.workers import spread
from dnamdlm.errors import CheckpointError
from dnamdlm.threads import Plan
from tests.helpers.worker_tasks import Logits


def test_results_of_a_model_have_the_same_bytes_from_any_number_of_processes(trained):
    loaded = load_model(str(trained), weights="raw")
    task = Logits(ModelSource.of(loaded))
    rows = torch.randint(7, 11, (6, 2, 64), generator=torch.manual_seed(0)).tolist()
    found = []
    for workers in (1, 2):
        with spread(task, rows, Plan(threads=1, workers=workers)) as results:
            found.append([logits.numpy().tobytes() for logits in results])
    assert found[0] == found[1]
    assert len(set(found[0])) == len(rows)


def test_weights_that_have_changed_are_refused(trained, tmp_path):
    source = ModelSource.of(load_model(str(trained)))
    assert source.open().digest == source.digest
    with pytest.raises(CheckpointError, match="changed while it was in use"):
        replace(source, digest="0" * 64).open()
    # of the run the same checkpoint is opened, whatever is trained meanwhile
    shutil.copytree(source.folder, tmp_path / "copy")
    assert replace(source, folder=str(tmp_path / "copy")).open().digest == source.digest
    with pytest.raises(CheckpointError, match="does not exist"):
        replace(source, folder=str(tmp_path / "gone")).open()
