"""Ranks that torchrun starts for a model that does not fit one device.

Rank 0 runs the command, as it would alone. The other ranks run nothing of it: each keeps a share of
the weights on its device, and sends it when rank 0 asks for the weights of a block
(`divided_network`). So whatever the command is, rank 0 alone reads, computes, writes and prints.

Rank 0 begins each exchange with one message of four numbers, which a rank reads on the CPU.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from enum import IntEnum
from itertools import count
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from dnamdlm.errors import ConfigError, WorkerLost
from dnamdlm.training.launch import is_torchrun_worker, launched_local_rank, launched_rank
from dnamdlm.training.ranks import is_lost_connection, num_ranks

ENTRIES = ("score", "evaluate", "embed", "predict", "tracks", "sample", "interpret")
"""Commands whose model the ranks share."""
_OTHERS = ("train", "doctor")
# rank 0 may read a genome or join parts for hours; a lost connection is noticed at once.
_PATIENCE = timedelta(days=365)
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Act(IntEnum):
    """What a message asks for."""

    KEEP = 0
    SEND = 1
    FORGET = 2
    END = 3


class Lender:
    """The side of rank 0: hands out shares of weights, and gets them back to compute with them.

    Attributes:
        ranks: how many share, rank 0 included.
    """

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self._numbers = count()
        self._own: dict[int, Tensor] = {}
        self._unused: list[int] = []

    def lend(self, content: Tensor) -> int:
        """Divide bytes among the ranks; `content` may be dropped afterwards.

        Args:
            content: of a multiple of `ranks` bytes, on the device where each keeps its share.

        Returns:
            The number under which they are asked for.

        Raises:
            WorkerLost: if a rank has ended.
        """
        number = next(self._numbers)
        shares = list(content.chunk(self.ranks))
        share = torch.empty_like(shares[0])
        with _noticing_loss():
            self._announce(_Act.KEEP, number, len(share), int(content.is_cuda))
            dist.scatter(share, shares, src=0)
        self._own[number] = share
        return number

    def collect(self, number: int, into: Tensor) -> None:
        """Write the bytes of `lend` to `into`, which is of their size.

        Raises:
            WorkerLost: if a rank has ended.
        """
        with _noticing_loss():
            while self._unused:
                self._announce(_Act.FORGET, self._unused.pop())
            self._announce(_Act.SEND, number)
            dist.gather(self._own[number], list(into.chunk(self.ranks)), dst=0)

    def drop(self, numbers: Sequence[int]) -> None:
        """Let the ranks forget shares, before the next exchange; sends nothing itself."""
        for number in numbers:
            del self._own[number]
        self._unused += numbers

    def end(self, code: int) -> None:
        """Let the other ranks end with an exit status; those that are lost have ended."""
        with suppress(WorkerLost), _noticing_loss():
            self._announce(_Act.END, code)

    def _announce(self, act: _Act, *numbers: int) -> None:
        message = torch.tensor([act, *numbers, 0, 0, 0][:4])
        dist.broadcast(message, src=0)


_lender: Lender | None = None


def lender() -> Lender | None:
    """The shares of this command, if it runs on several ranks."""
    return _lender


def has_several_ranks(entry: str) -> bool:
    """Whether torchrun started several processes of a command whose model they are to share.

    Raises:
        ConfigError: if it did so for a command that has no use for them.
    """
    if not is_torchrun_worker() or int(os.environ["WORLD_SIZE"]) == 1 or entry in _OTHERS:
        return False
    if entry not in ENTRIES:
        raise ConfigError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes of dnamdlm {entry}, which is a "
            "command of one process; start it without torchrun"
        )
    return True


@contextmanager
def sharing_weights() -> Iterator[None]:
    """On rank 0, run the block with a `lender`; on another rank, serve it and exit in its place.

    All ranks end with the exit status of rank 0.
    """
    global _lender  # noqa: PLW0603
    on_gpu = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    if launched_rank() > 0:
        _serve()
    _lender, code = Lender(num_ranks()), 1
    try:
        yield
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
        raise
    finally:
        _lender.end(code)
        _lender = None
        # its threads must not outlive it; NCCL may wait for a rank that is lost.
        if code == 0 or not on_gpu:
            dist.destroy_process_group()


def _serve() -> NoReturn:
    """Keep and send shares until rank 0 ends or is lost, then exit: there is nothing to save."""
    # what ends rank 0 ends this one; torchrun passes signals on to both.
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    kept: dict[int, Tensor] = {}
    message = torch.zeros(4, dtype=torch.int64)
    try:
        while True:
            dist.broadcast(message, src=0)
            act, number, size, on_gpu = message.tolist()
            match act:
                case _Act.KEEP:
                    device = f"cuda:{launched_local_rank()}" if on_gpu else "cpu"
                    kept[number] = torch.empty(size, dtype=torch.uint8, device=device)
                    dist.scatter(kept[number], src=0)
                case _Act.SEND:
                    dist.gather(kept[number], dst=0)
                case _Act.FORGET:
                    del kept[number]
                case _:
                    os._exit(number)
    except RuntimeError as error:
        if not is_lost_connection(error):
            raise
        # torchrun reports how rank 0 ended.
        os._exit(WorkerLost.exit_code)


@contextmanager
def _noticing_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_lost_connection(error):
            raise
        raise WorkerLost(
            "another rank has ended, and with it its share of the weights; run the same command "
            "again, which resumes if parts are kept"
        ) from error
