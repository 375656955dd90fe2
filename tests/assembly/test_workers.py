"""Items spread over processes: order, bytes, errors, and no process that is left behind."""

import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dnamdlm.assembly import process_starts, workers
from dnamdlm.assembly.workers import spread
from dnamdlm.errors import DataError, WorkerLost
from dnamdlm.threads import Plan
from tests.helpers.worker_tasks import (
    Squares,
    ThreadsSeen,
    Warned,
    is_alive,
    wait_for,
)

ROOT = Path(__file__).resolve().parents[2]
# this many seconds are more than any end of processes needs, and less than an item that sleeps.
SOON, LONG = 10.0, 600.0


def plan(number, **more):
    return Plan(threads=None, workers=number, **more)


@pytest.fixture(autouse=True, params=["fork", "interpreter"])
def started_as(request, monkeypatch):
    """How other processes are started."""
    monkeypatch.setattr(process_starts, "can_fork", lambda plan: request.param == "fork")
    return request.param


def processes(folder):
    """Processes that opened a task."""
    return [int(path.name) for path in folder.iterdir()]


def items_begun(folder):
    return sorted(int(line) for path in folder.iterdir() for line in path.read_text().split())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_results_come_in_order_whatever_the_number_of_processes(tmp_path, number):
    # the first item takes longest, so that later ones are ready before it
    task = Squares(str(tmp_path), seconds=(0.3, 0.0))
    with spread(task, range(20), plan(number)) as results:
        assert list(results) == [n * n for n in range(20)]
    assert len(processes(tmp_path)) == number
    assert (os.getpid() in processes(tmp_path)) == (number == 1)
    assert items_begun(tmp_path) == list(range(20))
    assert not any(is_alive(process) for process in processes(tmp_path) if process != os.getpid())


def test_no_more_processes_are_started_than_there_are_items(tmp_path):
    with spread(Squares(str(tmp_path)), [5, 6], plan(4)) as results:
        assert list(results) == [25, 36]
    assert len(processes(tmp_path)) <= 2
    with spread(Squares(str(tmp_path)), [], plan(4)) as results:
        assert list(results) == []


def test_few_items_are_fetched_ahead_of_the_results(tmp_path):
    fetched = []

    def items():
        for n in range(1000):
            fetched.append(n)
            yield n

    with spread(Squares(str(tmp_path)), items(), plan(2)) as results:
        for wanted in range(40):
            assert next(results) == wanted * wanted
            # four a process beyond the one that is wanted
            assert len(fetched) <= wanted + 1 + 4 * 2


def test_an_opened_context_is_used_in_this_process(tmp_path):
    with spread(Squares(str(tmp_path)), [3], plan(1), opened=12345) as results:
        assert list(results) == [9]
    assert processes(tmp_path) == [12345]


def test_progress_within_items_adds_up(tmp_path):
    for number in (1, 2):
        seen = []
        with spread(
            Squares(str(tmp_path)), range(10), plan(number), advance=seen.append
        ) as results:
            list(results)
        assert sum(seen) == sum(range(10))


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_is_raised_at_its_item_with_its_sentence(tmp_path, number):
    task = Squares(str(tmp_path), seconds=(0.2, 0.0), fault=(3, "refuse"))
    found = []
    with (
        pytest.raises(DataError) as caught,
        spread(task, range(10), plan(number)) as results,
    ):
        found.extend(results)
    assert str(caught.value) == "record 3 has no bases; remove it"
    assert found == [0, 1, 4]
    if number > 1:
        assert "worker_tasks.py" in "".join(caught.value.__notes__)
        assert not any(map(is_alive, processes(tmp_path)))


def test_what_cannot_be_sent_is_quoted(tmp_path):
    task = Squares(str(tmp_path), fault=(1, "fail awkwardly"))
    with (
        pytest.raises(RuntimeError) as caught,
        spread(task, range(4), plan(2)) as results,
    ):
        list(results)
    assert str(caught.value) == "Awkward: 1 and 2"


def test_a_process_that_cannot_begin_says_why(tmp_path):
    task = Squares(str(tmp_path), fault=(-1, "refuse"))
    with (
        pytest.raises(DataError, match="the genome is missing"),
        spread(task, range(4), plan(2)) as results,
    ):
        list(results)


# a fork knows every module that is known here.
@pytest.mark.parametrize("started_as", ["interpreter"], indirect=True)
def test_a_task_that_cannot_be_made_there_is_an_error_and_no_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(Squares, "__module__", "tests.no_such_module")
    monkeypatch.setitem(
        sys.modules, "tests.no_such_module", sys.modules["tests.helpers.worker_tasks"]
    )
    with (
        pytest.raises(ModuleNotFoundError, match="no_such_module"),
        spread(Squares(str(tmp_path)), range(4), plan(2)) as results,
    ):
        list(results)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("kill", r"^worker process \d was ended by SIGKILL, probably because memory ran out; run "
                 "again with fewer workers or a smaller batch_size$"),
        ("exit", r"^worker process \d ended early with exit status 3; run again with workers=1 to "
                 "see why$"),
    ],
)  # fmt: skip
def test_a_process_that_ends_early_gives_one_sentence(tmp_path, fault, sentence):
    task = Squares(str(tmp_path), seconds=(0.0, 0.0, LONG), fault=(1, fault))
    with (
        pytest.raises(WorkerLost, match=sentence) as caught,
        spread(task, range(10), plan(2)) as results,
    ):
        list(results)
    assert caught.value.exit_code == 1
    assert not any(map(is_alive, processes(tmp_path)))


def test_leaving_early_ends_all_processes(tmp_path):
    task = Squares(str(tmp_path), seconds=(0.0, LONG))
    with spread(task, range(10), plan(2)) as results:
        assert next(results) == 0
        assert any(map(is_alive, processes(tmp_path)))
    assert not any(map(is_alive, processes(tmp_path)))


def test_a_warning_of_several_processes_is_logged_once(tmp_path, caplog):
    with (
        caplog.at_level(logging.WARNING),
        spread(Warned(str(tmp_path)), range(6), plan(2)) as results,
    ):
        list(results)
    assert [record.getMessage() for record in caplog.records] == ["long sequences are slow"]


def test_every_process_has_the_threads_of_the_plan():
    for number in (1, 2):
        with spread(ThreadsSeen(), range(3), Plan(threads=3, workers=number)) as results:
            assert list(results) == [3, 3, 3]


@pytest.mark.parametrize("started_as", ["interpreter"], indirect=True)
@pytest.mark.parametrize("length_is_known", [True, False], ids=["known length", "unknown length"])
def test_a_patient_plan_starts_others_only_for_work_that_repays_it(
    tmp_path, monkeypatch, length_is_known
):
    def run(folder, count):
        folder.mkdir()
        items = range(count) if length_is_known else iter(range(count))
        task = Squares(str(folder), seconds=(0.05,))
        with spread(task, items, plan(2, is_patient=True)) as results:
            assert list(results) == [n * n for n in range(count)]
        return set(processes(folder)) - {os.getpid()}

    monkeypatch.setattr(workers, "START_SECONDS", 0.1)
    # worth it from 0.2 s: 2 items have less; 100 have 5 s, in which a process starts
    assert run(tmp_path / "short", 2) == set()
    assert len(run(tmp_path / "long", 100)) == 1


@pytest.mark.parametrize("started_as", ["interpreter"], indirect=True)
def test_this_process_works_while_the_others_start_and_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "START_SECONDS", 0.1)
    task = Squares(str(tmp_path), seconds=(0.02,))
    with spread(task, range(200), plan(2, is_patient=True)) as results:
        assert list(results) == [n * n for n in range(200)]
    here = set(map(int, (tmp_path / str(os.getpid())).read_text().split()))
    # the first before the other process is started, the next while it starts
    assert {0, 1} <= here
    assert here & set(range(100, 200))
    assert items_begun(tmp_path) == list(range(200))


@pytest.mark.parametrize("started_as", ["interpreter"], indirect=True)
def test_work_that_is_known_to_be_long_is_shared_from_the_start(tmp_path):
    task = Squares(str(tmp_path), seconds=(0.5,))
    # less than two starts, so that what was measured would start nothing.
    with spread(task, range(8), plan(2, is_patient=True), expected=1e6) as results:
        assert list(results) == [n * n for n in range(8)]
    assert len(processes(tmp_path)) == 2


@pytest.mark.parametrize("started_as", ["interpreter"], indirect=True)
def test_the_last_items_are_not_left_to_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "START_SECONDS", 0.1)
    # the other process starts during the second item, and is ready for more than one.
    task = Squares(str(tmp_path), seconds=(0.6,))
    with spread(task, range(4), plan(2, is_patient=True)) as results:
        assert list(results) == [0, 1, 4, 9]
    here = set(map(int, (tmp_path / str(os.getpid())).read_text().split()))
    assert here & {2, 3}


@pytest.mark.parametrize("started_as", ["interpreter"], indirect=True)
@pytest.mark.parametrize("number", [1, 199])
def test_an_error_in_this_process_waits_for_its_turn(tmp_path, monkeypatch, number):
    monkeypatch.setattr(workers, "START_SECONDS", 0.001)
    task = Squares(str(tmp_path), seconds=(0.01,), fault=(number, "refuse"))
    found = []
    with (
        pytest.raises(DataError, match=f"record {number} has no bases"),
        spread(task, range(200), plan(2, is_patient=True)) as results,
    ):
        found.extend(results)
    assert found == [n * n for n in range(number)]


@pytest.mark.parametrize("started_as", ["fork"], indirect=True)
def test_two_items_are_shared_with_a_fork(tmp_path):
    task = Squares(str(tmp_path), seconds=(0.5,))
    with spread(task, range(2), plan(2, is_patient=True)) as results:
        assert list(results) == [0, 1]
    # the fork gets the first at once, and this process does not wait for it.
    assert (tmp_path / str(os.getpid())).read_text().split() == ["1"]
    assert items_begun(tmp_path) == [0, 1]


@pytest.mark.parametrize("started_as", ["fork"], indirect=True)
def test_one_item_needs_no_fork(tmp_path):
    with spread(Squares(str(tmp_path)), [3], plan(2, is_patient=True)) as results:
        assert list(results) == [9]
    assert processes(tmp_path) == [os.getpid()]


SCRIPT = """
import signal
import sys
from dnamdlm.assembly import process_starts, workers
from dnamdlm.assembly.workers import spread
from dnamdlm.threads import Plan
from tests.helpers.worker_tasks import Squares

# a job in the background of a shell ignores the interrupt, and so would all that it starts
signal.signal(signal.SIGINT, signal.default_int_handler)
process_starts.can_fork = lambda plan: sys.argv[2] == "fork"

# no guard against being imported again: nothing imports it
with spread(Squares(sys.argv[1], seconds=(0.0, 600.0)), range(10), Plan(None, 2)) as results:
    for result in results:
        print(result, flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("to", ["process", "group"])
def test_a_signal_leaves_no_process_behind(tmp_path, started_as, name, to):
    script, folder = tmp_path / "script.py", tmp_path / "begun"
    script.write_text(SCRIPT)
    folder.mkdir()
    parent = subprocess.Popen(
        [sys.executable, script, folder, started_as], cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    with parent:
        assert parent.stdout.readline() == "0\n"
        wait_for(lambda: len(items_begun(folder)) == 3)
        number = getattr(signal, name)
        if to == "group":
            os.killpg(parent.pid, number)
        else:
            os.kill(parent.pid, number)
        try:
            out, error = parent.communicate(timeout=SOON)
        finally:
            # a test that fails must not wait for what outlives its signal.
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
    assert out == ""
    assert parent.returncode == -number
    wait_for(lambda: not any(map(is_alive, processes(folder))), SOON)
    # one traceback of the interrupted process, none of the others
    assert error.count("Traceback") == (name == "SIGINT")
