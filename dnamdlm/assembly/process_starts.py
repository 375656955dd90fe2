"""Ways to start a worker process: a fork of this process, or an interpreter of its own.

A fork has every module that is imported here, and begins within milliseconds instead of seconds.
The copy has only the thread that made it, so that it is sound where no other thread of Python could
hold a lock, and where torch uses one thread: it never asks for the idle ones that libraries keep.
Elsewhere, and where a GPU is in use, an interpreter is started. Either way the process holds
nothing open except its connection, the end of which ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn, Protocol

from dnamdlm.assembly.worker_process import Caught
from dnamdlm.threads import Place, Plan

_INTERRUPTS = {signal.SIGINT, signal.SIGTERM}
_BOOTSTRAP = (
    "import sys; from multiprocessing.connection import Connection; "
    "connection = Connection(int(sys.argv[1])); sys.path[:] = connection.recv(); "
    "from dnamdlm.assembly.worker_process import serve; serve(connection)"
)


class Started(Protocol):
    """A process that was started."""

    def kill(self) -> None:
        """End it now; does nothing where it has ended."""
        ...

    def wait(self) -> int:
        """Wait for its end: the exit status, or minus the number of the signal that ended it."""
        ...


class Fork:
    """A fork of this process, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._status: int | None = None

    def kill(self) -> None:
        """End it now; does nothing where it has ended."""
        # a process that nobody has waited for keeps its number.
        if self._status is None:
            os.kill(self.number, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end: the exit status, or minus the number of the signal that ended it."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        return self._status


def can_fork(plan: Plan) -> bool:
    """Whether the processes of a plan may be forks of this one."""
    return (
        sys.platform == "linux"
        and plan.threads == 1
        and not plan.places
        and threading.active_count() == 1
        and not _uses_gpu()
    )


def _uses_gpu() -> bool:
    """Whether this process has begun to use a GPU, which a fork cannot."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def fork(connection: Connection, serve: Callable[[Connection], object]) -> Fork:
    """A fork of this process that serves its end of a connection.

    Args:
        connection: the end of the new process.
        serve: what it does; it ends with it.
    """
    # an interrupt that struck in the copy of this stack would run what belongs to this process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of every native thread; the fork asks for none of them, see above.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            number = os.fork()
        if number == 0:
            _serve_and_end(connection, serve)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Fork(number)


def _serve_and_end(connection: Connection, serve: Callable[[Connection], object]) -> NoReturn:
    """What the fork does: nothing that belongs to the process it is a copy of."""
    try:
        # Ctrl-C reaches the other process alone, which ends this one; nothing may strike before.
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
        _let_go_of_all_but(connection.fileno())
        with Caught() as caught:
            serve(connection)
        if caught.error is not None:
            os.write(2, "".join(traceback.format_exception(caught.error)).encode())
    finally:
        # no buffer is written and no clean-up is run twice.
        os._exit(1)


def _let_go_of_all_but(kept: int) -> None:
    """Let go of all files but the standard streams and one; output goes to that of errors.

    They become the null device rather than be closed: an object that still names one might close
    what had taken its number.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number != kept:
            os.dup2(null, number)


def interpreter(connection: Connection, place: Place) -> subprocess.Popen[bytes]:
    """An interpreter of its own, which serves its end of a connection.

    The first message to it is `sys.path`.

    Args:
        connection: the end of the new process.
        place: where it runs.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOTSTRAP, str(connection.fileno())],
        pass_fds=[connection.fileno()],
        stdin=subprocess.DEVNULL,
        # standard output belongs to this process.
        stdout=2,
        # Ctrl-C reaches this process alone, which ends the others.
        process_group=0,
        env={**os.environ, **place.environment},
    )
    if place.processors:
        # before it has imported anything, so that its threads inherit them.
        os.sched_setaffinity(process.pid, place.processors)
    return process
