"""One task over numbered items, in this process or spread over several.

A `Task` is a small object that can be pickled: `open` makes what the work needs, such as a loaded
model, once in each process, and `work` turns an item into a result. Results come in the order of
the items. They do not depend on the number of processes: the caller says what an item is, and every
process has the same number of threads.

A process is a fork of this one where that is sound, and an interpreter of its own elsewhere
(`process_starts`). Either way it opens its own context and ends as soon as its connection closes
(`worker_process`), so that none outlives this process, however this one ends.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack, closing
from itertools import chain, islice
from multiprocessing import Pipe
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, TypeVar

from dnamdlm.assembly import process_starts
from dnamdlm.assembly.process_starts import Started
from dnamdlm.assembly.worker_process import (
    BEFORE_THE_FIRST,
    Advance,
    Caught,
    Counted,
    Failed,
    Finished,
    Numbered,
    Opened,
    Setup,
    Task,
    Warned,
    encoded,
    serve,
)
from dnamdlm.errors import WorkerLost
from dnamdlm.threads import Place, Plan, running_with

Context = TypeVar("Context")
Item = TypeVar("Item")
Result = TypeVar("Result")

START_SECONDS = 2.5
"""What an interpreter costs before its first item: imports and the model."""

# one item is in work and the next is at hand, so that no process waits for this one.
_ITEMS_PER_WORKER = 2
# results that wait for an earlier, slower one are held; more than this are not begun.
_ITEMS_AHEAD_PER_WORKER = 4


def spread(
    task: Task[Context, Item, Result],
    items: Iterable[Item],
    plan: Plan,
    *,
    opened: Context | None = None,
    advance: Advance | None = None,
    expected: float = 0.0,
) -> closing[Generator[Result, None, None]]:
    """The results of all items in their order, as a context that ends the processes on leaving.

    With one worker the work is done here. With several, each opens a context of its own and holds
    at most two items. Under a patient plan this process is one of them: it begins alone and starts
    the others as soon as it is known that the work repays their start, which forks do at once.

    Args:
        task: what is done to each item.
        items: picklable, fetched as they are needed; the length, where there is one, tells a
            patient plan how much is left.
        plan: number of processes, and of threads in each.
        opened: the context for work in this process, where it exists already.
        advance: called in this process with the progress of all.
        expected: seconds that all items take at least in one process, as far as is known before.

    Fetching a result raises what `task` raised for its item, or `WorkerLost` if a process ended
    before its work was done.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Power:
    ...     base: int
    ...     def open(self):
    ...         return self.base
    ...     def work(self, context, item, advance):
    ...         return context**item
    >>> with spread(Power(2), range(5), Plan(threads=None, workers=1)) as powers:
    ...     list(powers)
    [1, 2, 4, 8, 16]
    """
    return closing(_results(task, items, plan, opened, advance or _ignore, expected=expected))


def _ignore(amount: int) -> None:
    del amount


def _results(
    task: Task[Context, Item, Result],
    items: Iterable[Item],
    plan: Plan,
    opened: Context | None,
    advance: Advance,
    *,
    expected: float,
) -> Generator[Result, None, None]:
    total = len(items) if isinstance(items, Sized) else None
    stream, done, spent = iter(items), 0, 0.0

    def work(item: Item) -> Result:
        nonlocal opened
        with running_with(plan.threads):
            opened = task.open() if opened is None else opened
            return task.work(opened, item, advance)

    forks = process_starts.can_fork(plan)
    # a fork costs next to nothing.
    waits = plan.is_patient and not forks and expected < 4 * START_SECONDS
    if plan.workers == 1 or waits:
        for item in stream:
            began = time.monotonic()
            result = work(item)
            done, spent = done + 1, spent + time.monotonic() - began
            yield result
            if waits and _is_worth_starting(done, total, spent):
                break
        else:
            return
    # no process is started that would have nothing to do.
    first = list(islice(stream, plan.workers))
    own = work if plan.is_patient else None
    with ExitStack() as stack:
        number = len(first) - (own is not None)
        places = plan.places or (Place(),) * number
        workers = [
            stack.enter_context(_Worker(i + 1, None if forks else places[i])) for i in range(number)
        ]
        for worker in workers:
            worker.begin(Setup(task, plan.threads))
        exchange = _Exchange(workers, advance, own, begins_at_once=forks)
        yield from exchange.results(chain(first, stream))


def _is_worth_starting(done: int, total: int | None, spent: float) -> bool:
    """Whether the rest of the work, at the rate so far, repays the start of other processes.

    This process works on while the others start, so that a rest of one start gains nothing, and of
    two starts a quarter. Where the number of items is not known, as many are expected to be left
    as are done.
    """
    left = done if total is None else total - done
    return left > 1 and spent / done * left > 2 * START_SECONDS


class _Worker:
    """A process and the connection to it; it is ended on leaving.

    Attributes:
        number: from 1.
        place: where an interpreter of its own runs; None for a fork of this process.
        in_flight: items that it holds.
    """

    def __init__(self, number: int, place: Place | None) -> None:
        self.number = number
        self.place = place
        self.in_flight = 0

    def __enter__(self) -> _Worker:
        self.connection, other_end = Pipe()
        with other_end:
            self.process: Started
            if self.place is None:
                self.process = process_starts.fork(other_end, serve)
            else:
                self.process = process_starts.interpreter(other_end, self.place)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()
        # it has nothing to save.
        self.process.kill()
        self.process.wait()

    def begin(self, setup: Setup) -> None:
        """Send what it works with."""
        if self.place is not None:
            self.send(sys.path)
        self.send(setup)

    def send(self, message: object) -> None:
        """Send a message; the process always reads, so that this does not wait for its work.

        Raises:
            WorkerLost: if the process has ended.
        """
        try:
            self.connection.send_bytes(encoded(message))
        except OSError:
            raise self._lost() from None

    def receive(self) -> object:
        """The next message; waits for it.

        Raises:
            WorkerLost: if the process has ended.
        """
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None

    def _lost(self) -> WorkerLost:
        code = self.process.wait()
        if code >= 0:
            return WorkerLost(
                f"worker process {self.number} ended early with exit status {code}; run again with "
                "workers=1 to see why"
            )
        name = signal.Signals(-code).name
        why = ", probably because memory ran out" if name == "SIGKILL" else ""
        return WorkerLost(
            f"worker process {self.number} was ended by {name}{why}; run again with fewer workers "
            "or a smaller batch_size"
        )


class _Exchange:
    """Hands items out and puts results in order.

    Where this process has an `own` way to work, it takes an item whenever the others have enough,
    and gives them none before they can begin, unless they begin at once. No process has two items
    while another has none.
    """

    def __init__(
        self,
        workers: Sequence[_Worker],
        advance: Advance,
        own: Callable[[Any], Any] | None,
        *,
        begins_at_once: bool,
    ) -> None:
        self.workers = workers
        self.advance = advance
        self.own = own
        self.opened = [] if own is not None and not begins_at_once else list(workers)
        self.arrived: dict[int, Finished | Failed] = {}
        self.warned: set[Warned] = set()

    def results(self, items: Iterable[Any]) -> Iterator[Any]:
        """The results of items in their order."""
        numbered = _Ahead(Numbered(number, item) for number, item in enumerate(items))
        ahead = _ITEMS_AHEAD_PER_WORKER * (len(self.workers) + (self.own is not None))
        handed_out, wanted = 0, 0
        while True:
            while handed_out < wanted + ahead and (worker := self._free_worker()) is not None:
                # a last item that would wait there is for this process.
                needed = 2 if worker.in_flight and self.own is not None else 1
                if not numbered.has(needed):
                    break
                worker.send(numbered.take())
                worker.in_flight += 1
                handed_out += 1
            if wanted in self.arrived:
                yield _result_of(self.arrived.pop(wanted))
                wanted += 1
            elif self.own is not None and self._receive(0):
                continue
            elif self.own is not None and handed_out < wanted + ahead and numbered.has(1):
                handed_out += 1
                following = numbered.take()
                self.arrived[following.number] = _worked_here(self.own, following)
            elif wanted == handed_out:
                return
            else:
                self._receive(None)

    def _free_worker(self) -> _Worker | None:
        """The worker with the fewest items, if it may have another."""
        least = min(self.opened, key=lambda worker: worker.in_flight, default=None)
        return least if least is not None and least.in_flight < _ITEMS_PER_WORKER else None

    def _receive(self, seconds: float | None) -> bool:
        """Take a message from each worker that has sent any; wait for one, or so long at most."""
        ready = wait([worker.connection for worker in self.workers], seconds)
        for worker in self.workers:
            if worker.connection in ready:
                self._take(worker, worker.receive())
        return bool(ready)

    def _take(self, worker: _Worker, message: object) -> None:
        match message:
            case Opened():
                if worker not in self.opened:
                    self.opened.append(worker)
            case Counted():
                self.advance(message.amount)
            case Warned():
                # once, not once for each process.
                if message not in self.warned:
                    self.warned.add(message)
                    logging.getLogger(message.name).log(message.level, "%s", message.text)
            case Failed(number=number) if number == BEFORE_THE_FIRST:
                _result_of(message)
            case Failed() | Finished():
                worker.in_flight -= 1
                self.arrived[message.number] = message


class _Ahead:
    """Items that are fetched as they are needed, of which the next few can be asked for."""

    def __init__(self, items: Iterator[Numbered]) -> None:
        self.items = items
        self.fetched: deque[Numbered] = deque()

    def has(self, number: int) -> bool:
        """Whether as many are left."""
        self.fetched.extend(islice(self.items, max(0, number - len(self.fetched))))
        return len(self.fetched) >= number

    def take(self) -> Numbered:
        """The next one."""
        return self.fetched.popleft()


def _worked_here(work: Callable[[Any], Any], numbered: Numbered) -> Finished | Failed:
    """The result of an item in this process; an error waits for its turn."""
    with Caught() as caught:
        return Finished(numbered.number, work(numbered.item))
    assert caught.error is not None
    return Failed(numbered.number, caught.error, "")


def _result_of(message: Finished | Failed) -> Any:
    """The result; raises the error in its place, with the traceback of the process as a note."""
    if isinstance(message, Failed) and not message.trace:
        raise message.error
    if isinstance(message, Failed):
        message.error.add_note(f"In the worker process:\n{message.trace}")
        raise message.error
    return message.result
