"""Sets of samples are compared with real windows, each with its own noise."""

import numpy as np
import pytest
import torch

from benchmarks.quality.distinguished import areas, result_table, sets_of
from dnamdlm.data.genome.genome_settings import GenomeData
from tests.helpers.tiny_models import HEADS
from tests.helpers.tiny_models import model as tiny


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return GenomeData(
        fasta="embedded:yeast", length=64, valid=("chrXV",), test=("chrI",), cache_dir=str(cache)
    ).open()


def test_what_is_far_from_real_is_distinguished_and_real_windows_are_not(genome):
    far = [np.zeros(512, np.uint8) for _ in range(20)]
    found = areas([far, far], genome)
    assert min(found["Generated"]) > 0.99
    assert all(0.2 < area < 0.8 for area in found["Real, another sample"])
    assert [len(of_sets) for of_sets in found.values()] == [2] * 5
    first = result_table(found, (), report=lambda line: None).rows[0]
    assert first[0] == "Generated"
    assert first[3] <= first[1] <= first[4]


def test_each_set_has_its_own_noise():
    model = tiny(*HEADS)
    first, second = sets_of(model, sets=2, size=3, length=16, num_steps=4)
    (again,) = sets_of(model, sets=1, size=3, length=16, num_steps=4)
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, second))
    assert torch.tensor(np.stack(first)).max() < 4
