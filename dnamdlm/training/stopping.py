"""When a run stops for a signal, or because its time is over: at the same step on every rank."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from dnamdlm.training.ranks import num_ranks
from dnamdlm.training.signals import StopRequest


class StopAgreement:
    """Lets all ranks stop at the same step when a signal reached any of them, or time is over.

    Signals arrive at different moments, and a rank that stopped alone would leave the others
    waiting. At each step the signal numbers are sent to be compared, and the result is read one
    step later, so that no step waits for it; the exchange is on the CPU and leaves the device
    alone.

    Args:
        request: the signals, and the time, of this process.
    """

    def __init__(self, request: StopRequest) -> None:
        self.request = request
        self._group: dist.ProcessGroup | None = None
        self._sent: tuple[dist.Work | None, Tensor] | None = None

    def begin(self) -> None:
        """Handle signals from here on, together with the other ranks; call it on all of them."""
        self.request.install()
        self.connect()

    def connect(self) -> None:
        """Open the exchange with the other ranks, if there are any."""
        if num_ranks() > 1:
            self._group = dist.new_group(backend="gloo")  # pyright: ignore[reportAttributeAccessIssue]

    def number(self) -> int | None:
        """The signal to stop for, the same on every rank; call it once per step on all of them."""
        if self._group is None:
            return self.request.reason()
        agreed = self.finish()
        largest = torch.tensor(self.request.reason() or 0)
        work = dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._sent = (work, largest)
        return agreed

    def number_of_one(self) -> int | None:
        """The signal to stop for right now, which only a run of one process can know."""
        return self.request.reason() if self._group is None else None

    def finish(self) -> int | None:
        """Wait for pending exchanges, so that no rank leaves while another still sends to it."""
        if self._sent is None:
            return None
        work, largest = self._sent
        if work is not None:
            work.wait()
        self._sent = None
        return int(largest) or None
