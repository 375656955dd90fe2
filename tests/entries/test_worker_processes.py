"""The setting `workers`: more processes give the same bytes, and none of them is left behind."""

import json

import numpy as np
import pytest

from tests.helpers import entries
from tests.helpers.small_runs import train_small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    letters = np.random.default_rng(2).choice(list("ACGT"), (3, 1500))
    text = "".join(f">{name}\n{''.join(row)}\n" for name, row in zip("abc", letters, strict=True))
    (folder / "g.fa").write_text(text)
    train_small(folder)
    return folder


def command(folder, name, *overrides):
    return getattr(entries, name)(entries.composed(name, f"model={folder}/run", *overrides))


def test_sequences_are_the_same_whatever_the_number_of_processes(folder, tmp_path):
    made = {}
    for workers in (1, 2):
        out = tmp_path / f"{workers}.fa"
        summary = command(
            folder, "sample", f"out={out}", "num_sequences=6", "length=200", "batch_size=2",
            "sampler.num_steps=4", f"workers={workers}",
        )  # fmt: skip
        made[workers] = (out.read_bytes(), summary.network_calls, summary.num_filled)
    assert made[1] == made[2]


def test_figures_are_the_same_whatever_the_number_of_processes(folder, tmp_path):
    found = {}
    for workers in (1, 2):
        path, headline = command(
            folder, "evaluate", f"out={tmp_path}/{workers}.json", "batch_size=16", "draws=2",
            "max_order=1", f"workers={workers}",
        )  # fmt: skip
        content = json.loads(path.read_text())["likelihood"]
        del content["seconds"]
        found[workers] = (content, headline)
    assert found[1] == found[2]
