"""What two real processes check; `tests/training/test_ranks.py` starts them with torchrun."""

import copy
import signal
import time

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from dnamdlm.errors import ConfigError
from dnamdlm.training.averaging import MovingAverage
from dnamdlm.training.ranks import num_ranks, rank, require_same, sum_over_ranks
from dnamdlm.training.sharding import cut_optimizer_state, gathered, shard, whole
from dnamdlm.training.signals import TIME_LIMIT, StopRequest
from dnamdlm.training.stopping import StopAgreement
from tests.helpers.rounding import rounding


def sums_are_over_all():
    assert (num_ranks(), rank()) == (2, dist.get_rank())
    assert sum_over_ranks(torch.tensor([1, rank()])).tolist() == [2, 1]


def a_signal_to_one_stops_both_at_the_same_step():
    request = StopRequest()
    agreement = StopAgreement(request)
    agreement.connect()
    seen = []
    for step in range(5):
        if (step, rank()) == (2, 1):
            request.receive(signal.SIGUSR1, None)
        seen.append(agreement.number())
    agreement.finish()
    both = [None, None]
    dist.all_gather_object(both, seen)
    assert both[0] == both[1]
    assert seen[:3] == [None] * 3
    assert seen[3] == signal.SIGUSR1


def the_time_of_one_is_over_for_both_at_the_same_step():
    request = StopRequest(deadline=time.monotonic() if rank() == 1 else None)
    request.has_progress = True
    agreement = StopAgreement(request)
    agreement.connect()
    assert [agreement.number() for _ in range(3)] == [None, TIME_LIMIT, TIME_LIMIT]
    agreement.finish()


def a_difference_is_refused_on_both():
    require_same({"data": "abc", "checkpoint": None})
    with pytest.raises(ConfigError, match=r"rank 1 has another checkpoint than rank 0 \(step_1,"):
        require_same({"data": "abc", "checkpoint": f"step_{rank()}"})


class Model(nn.Module):
    """Blocks in a list, a tied weight, and sizes that two does not divide."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Module()
        self.net.blocks = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.net.head = nn.Linear(5, 3)
        self.net.tail = nn.Linear(5, 3, bias=False)
        self.net.tail.weight = self.net.head.weight
        self.net.forward = self.compute
        # float64: AdamW turns a rounding of a small gradient into a step.
        self.double()

    def compute(self, x):
        for block in self.net.blocks:
            x = block(x).tanh()
        return self.net.head(x) + self.net.tail(x)


def trained(model, optimizer, average, steps, sharded):
    for step in steps:
        rows = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(4, 5) * (step + 1)
        # with shards, each rank has half of the rows, and FSDP averages the two gradients.
        rows = rows[2 * rank() : 2 * rank() + 2] if sharded else rows
        optimizer.zero_grad()
        model.net(rows).square().mean().backward()
        optimizer.step()
        average.update(model)


def made():
    model = Model()
    return model, MovingAverage(model, 0.9)


def optimizer_of(model):
    return torch.optim.AdamW(model.parameters(), lr=0.1)


def assert_alike(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        # averages are float32.
        torch.testing.assert_close(value, right[name], rtol=rounding(1), atol=1e-12)


def shards_train_as_whole_weights_do_and_go_on_from_them():
    mesh = init_device_mesh("cpu", (2,))
    plain, plain_average = made()
    plain_optimizer = optimizer_of(plain)
    trained(plain, plain_optimizer, plain_average, range(3), sharded=False)
    # what a run of one process left is cut and continued.
    weights = {name: value.clone() for name, value in plain.state_dict().items()}
    moments = copy.deepcopy(plain_optimizer.state_dict())
    cut, average = made()
    cut.load_state_dict(weights)
    shard(cut, mesh)
    average.follow(cut)
    average.load(plain_average.gathered(), plain_average.num_updates)
    optimizer = optimizer_of(cut)
    optimizer.load_state_dict(cut_optimizer_state(moments, optimizer))
    trained(plain, plain_optimizer, plain_average, range(3, 6), sharded=False)
    trained(cut, optimizer, average, range(3, 6), sharded=True)
    assert all(isinstance(value, DTensor) for value in cut.state_dict().values())
    assert_alike(gathered(dict(cut.state_dict())), dict(plain.state_dict()))
    assert_alike(average.gathered(), plain_average.shadow)
    for number, entry in gathered(optimizer.state_dict())["state"].items():
        assert_alike(entry, plain_optimizer.state_dict()["state"][number])
    # validation puts the average into the shards, and takes it out again.
    rows = torch.ones(2, 5, dtype=torch.float64)
    before = cut.net(rows).detach()
    with average.applied_to(cut), torch.no_grad():
        inside = cut.net(rows)
    with plain_average.applied_to(plain), torch.no_grad():
        torch.testing.assert_close(inside, plain.net(rows), rtol=rounding(20), atol=rounding(20))
    torch.testing.assert_close(cut.net(rows).detach(), before)
    assert not torch.allclose(inside, before)
    assert whole(cut.net.head.weight).shape == (3, 5)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    sums_are_over_all()
    a_signal_to_one_stops_both_at_the_same_step()
    the_time_of_one_is_over_for_both_at_the_same_step()
    a_difference_is_refused_on_both()
    shards_train_as_whole_weights_do_and_go_on_from_them()
    dist.destroy_process_group()
    print(f"rank {rank()} is done")
