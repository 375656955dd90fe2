"""Times of training: strata of the global batch."""

import torch

from dnamdlm.diffusion.times import Stratified, Uniform


def test_each_stratum_of_the_global_batch_gets_one_time():
    u = torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    row = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    t = Stratified()(u, row, 16)
    assert torch.equal((t * 16).floor().long(), row)


def test_times_do_not_depend_on_how_the_global_batch_is_divided():
    u = torch.rand(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    row = torch.arange(8)
    whole = Stratified()(u, row, 8)
    parts = [Stratified()(u[part], row[part], 8) for part in (slice(0, 3), slice(3, 8))]
    assert torch.equal(whole, torch.cat(parts))


def test_uniform_times_are_the_uniforms():
    u = torch.tensor([0.1, 0.9])
    assert torch.equal(Uniform()(u, torch.tensor([0, 1]), 2), u)
