"""Threads and processes of a command, chosen so that it uses a machine and can share it.

Three decisions, all of which a user can take instead:

- What threads do while they have no work. The OpenMP libraries let them spin for long, which saves
  microseconds on an idle machine and costs most of the time on a busy one: a spinning thread
  occupies the processor that the thread it is waiting for needs. Here they soon sleep.
- How many threads a process uses. Each matrix product is divided among them, which pays only where
  the products are large.
- How many processes share the items of a command: as many as fill the processors.

Neither torch nor numpy is imported at the top, because the first decision must precede torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dnamdlm.errors import ConfigError

# the variables of libgomp, of every OpenMP library, and of libomp and libiomp.
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
# libgomp: 500 turns are a few microseconds, about the gap between two operations of one step.
_SLEEP = {"GOMP_SPINCOUNT": "500", "KMP_BLOCKTIME": "0"}
_NUMBER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

WORK_PER_THREAD = 100_000_000
"""Multiply-adds of a matrix product per thread where processes can share the items instead."""

WORK_PER_THREAD_OF_ONE_PROCESS = 15_000_000
"""The same where they cannot, as in a step of training: about 0.5 ms of a product."""


class _Weights(Protocol):
    """What is read of a parameter of a network."""

    @property
    def ndim(self) -> int: ...

    def numel(self) -> int: ...


@dataclass(frozen=True)
class Place:
    """Where a process runs.

    Attributes:
        processors: that it may use; none named leaves them all.
        environment: variables that it has besides those of the process that starts it, such as
            the GPU that it sees.
    """

    processors: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How a command uses the processors.

    Attributes:
        threads: threads of a process; None leaves the number that torch has.
        workers: processes that share the items, at most.
        is_patient: whether this process works, too, and others that take seconds to start are
            started only once the work proves long enough to repay them.
        reason: why, for people.
        places: where each of the processes runs; none where they share the machine.
    """

    threads: int | None
    workers: int = 1
    is_patient: bool = False
    reason: str = ""
    places: tuple[Place, ...] = field(default=(), repr=False)


def let_idle_threads_sleep(environment: MutableMapping[str, str] | None = None) -> bool:
    """Let idle threads soon sleep, unless the user has chosen; call before torch is imported.

    The OpenMP library reads the variables when torch loads it, and so do the processes that this
    one starts.

    Args:
        environment: variables of the process; `os.environ` by default.

    Returns:
        Whether the policy was set here: not if a variable of `WAITING` was set, or if torch is
        imported already.
    """
    variables = os.environ if environment is None else environment
    if "torch" in sys.modules or any(name in variables for name in WAITING):
        return False
    variables.update(_SLEEP)
    return True


def available_processors() -> int:
    """Processors that this process may use: its affinity, or less where a container has a quota."""
    if hasattr(os, "sched_getaffinity"):
        number = len(os.sched_getaffinity(0))
    else:
        number = os.cpu_count() or 1
    quota = _container_quota(Path("/sys/fs/cgroup/cpu.max"))
    return number if quota is None else max(1, min(number, round(quota)))


def _container_quota(path: Path) -> float | None:
    """Processors that a control group grants, version 2; None without a limit."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def work_of_a_call(weights: Iterable[_Weights], positions: int) -> int:
    """Multiply-adds of one matrix product in a forward pass, averaged over the weight matrices.

    Args:
        weights: parameters of the network; vectors and scalars are passed over.
        positions: positions (sequences times length) that go through the network together.
    """
    sizes = [parameter.numel() for parameter in weights if parameter.ndim >= 2]
    return positions * sum(sizes) // max(1, len(sizes))


def plan(
    work: int | None,
    *,
    threads: int | None = None,
    workers: int | None = 1,
    on_cpu: bool = True,
    processes: int = 1,
    work_per_thread: int = WORK_PER_THREAD,
) -> Plan:
    """How many threads, and how many processes, a command uses.

    What is given is taken. Otherwise a process has one thread for each `work_per_thread`
    multiply-adds of a matrix product, at least one and at most its share of the processors, and as
    many processes work as these threads leave processors for.

    Args:
        work: `work_of_a_call`; None where it is not known, which leaves the number of threads.
        threads: the setting `threads`; None is chosen here.
        workers: the setting `workers`; None is chosen here.
        on_cpu: whether the network runs on the CPU; a GPU is left to one process.
        processes: processes that share the machine already, such as the ranks of a training.
        work_per_thread: multiply-adds that repay a thread.

    Raises:
        ConfigError: if a number is below 1, or several processes are to share a GPU.

    >>> plan(work=25_000_000, threads=2, workers=3)
    Plan(threads=2, workers=3, is_patient=False, reason='threads=2 is set')
    """
    for name, value in (("threads", threads), ("workers", workers)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value} must be at least 1")
    if not on_cpu and workers is not None and workers > 1:
        raise ConfigError(
            f"workers={workers} is for CPUs, and this command runs on a GPU, which one process "
            "fills; leave workers out, or give device=cpu"
        )
    processors = max(1, available_processors() // processes)
    share = max(1, processors // (workers or 1))
    number, reason = _threads_of_a_process(
        work, threads, share, on_cpu=on_cpu, work_per_thread=work_per_thread
    )
    if workers is not None:
        return Plan(number, workers, False, reason)
    fitting = processors // number if number is not None and on_cpu else 1
    return Plan(number, max(1, fitting), fitting > 1, reason)


def _threads_of_a_process(
    work: int | None, given: int | None, share: int, *, on_cpu: bool, work_per_thread: int
) -> tuple[int | None, str]:
    """Threads of one process, and why."""
    if given is not None:
        return given, f"threads={given} is set"
    for name in _NUMBER:
        # a list has a number for each level of nesting.
        first = os.environ.get(name, "").split(",")[0].strip()
        if first.isdigit() and int(first) > 0:
            return int(first), f"{name}={first} is set"
    if not on_cpu or work is None:
        return None, "left to torch"
    number = max(1, min(share, work // work_per_thread))
    return number, (
        f"one for each {work_per_thread // 10**6} million multiply-adds of a matrix product, of "
        f"which there are {work / 1e6:,.0f} million; at most {share}"
    )


@contextmanager
def running_with(threads: int | None) -> Iterator[None]:
    """Within it torch uses so many threads; afterwards as many as before. None changes nothing."""
    if threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    if threads != before:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads != before:
            torch.set_num_threads(before)


def describe() -> list[str]:
    """Two sentences for `doctor`: how many threads and processes, and what idle threads do."""
    processors = available_processors()
    chosen = next((name for name in _NUMBER if os.environ.get(name)), None)
    if chosen is not None:
        number = f"{os.environ[chosen]} in each process, because {chosen} is set"
    else:
        number = (
            f"1 to {processors} in each process, one for each {WORK_PER_THREAD // 10**6} million "
            "multiply-adds of a matrix product "
            f"({WORK_PER_THREAD_OF_ONE_PROCESS // 10**6} million in training); "
            "threads=N or OMP_NUM_THREADS=N sets the number"
        )
    return [
        f"Threads on the CPU: {number}; {processors} of {os.cpu_count()} processors are available.",
        f"Idle threads: {_waiting()}.",
    ]


def _waiting() -> str:
    """What idle threads do, and who chose it."""
    found = ", ".join(f"{name}={os.environ[name]}" for name in WAITING if name in os.environ)
    if not found:
        return (
            "spin, because torch was imported before dnamdlm could choose; this is slow on a busy "
            "machine, and OMP_WAIT_POLICY=passive changes it"
        )
    if all(os.environ.get(name) == value for name, value in _SLEEP.items()):
        return f"soon sleep ({found}), so that other work on the machine does not slow them"
    return f"as the environment says ({found})"
