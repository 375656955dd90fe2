"""Files that are complete or absent, whatever ends the writer and whatever the target is."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dnamdlm.data import files, output_streams
from dnamdlm.data.files import complete_or_absent, replacing, write_bytes, write_text
from dnamdlm.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
# begins a file, says so, and waits to be ended.
WRITER = """
import sys, time
from dnamdlm.data.files import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""


def heed_signals():
    """Undo what a shell in the background, or nohup, lets all that it starts ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(target, preexec_fn=heed_signals, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=preexec_fn, **options,  # noqa: PLW1509
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    return process


def write_half(path, error):
    with replacing(path) as partial:
        partial.write_text("half")
        raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def dead_process():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("before", [None, "old"], ids=["new", "replaced"])
def test_a_file_appears_when_it_is_complete(tmp_path, before):
    path = tmp_path / "x"
    if before is not None:
        path.write_text(before)
    with replacing(path) as partial:
        partial.write_text("new")
        assert (path.read_text() if path.exists() else None) == before
        assert partial.parent == tmp_path
        assert partial.name == f".x.partial-{os.getpid()}"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, DataError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "x").write_text("old")
    with pytest.raises(error):
        write_half(tmp_path / "x", error)
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_leaves_the_old_file_and_nothing_else(tmp_path, name):
    (tmp_path / "x").write_text("old")
    process = start(tmp_path / "x")
    number = getattr(signal, name)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    # Python ends itself by SIGINT after an interrupt; a shell shows both as 128 + the number.
    assert process.returncode in (128 + number, -number)
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]
    if name != "SIGINT":
        assert f"stopped by {name} while x was written" in said


def test_a_hangup_that_nohup_ignores_stays_ignored(tmp_path):
    process = start(tmp_path / "x", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_signal_handlers_are_as_before_afterwards(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with replacing(tmp_path / "x") as partial:
        partial.write_text("")
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    # whoever handles the signal already keeps it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with replacing(tmp_path / "x") as partial:
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    process = start(tmp_path / "x")
    process.kill()
    process.communicate()
    assert names(tmp_path) == [f".x.partial-{process.pid}"]
    write_text(tmp_path / "x", "whole")
    assert names(tmp_path) == ["x"]


def test_only_leftovers_of_the_same_target_and_of_dead_processes_are_removed(tmp_path):
    dead = dead_process()
    kept = [
        f".x.partial-{os.getppid()}", f".xy.partial-{dead}", f".x.partial-{dead}.txt",
        f"x.partial-{dead}", ".x.partial-", ".x.partial-a1",
    ]  # fmt: skip
    gone = [f".x.partial-{dead}", f".x.partial-{os.getpid()}", f".x.partial-{10**30}"]
    for name in kept + gone:
        (tmp_path / name).write_text("left")
    write_text(tmp_path / "x", "whole")
    assert names(tmp_path) == sorted([*kept, "x"])


def test_a_living_writer_keeps_its_file_though_another_writes_the_same(tmp_path):
    process = start(tmp_path / "x")
    write_text(tmp_path / "x", "mine")
    assert f".x.partial-{process.pid}" in names(tmp_path)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert (tmp_path / "x").read_text() == "mine"


def test_a_file_that_another_container_has_locked_is_kept(tmp_path, monkeypatch):
    process = start(tmp_path / "x")

    def no_such_process(*_):
        raise ProcessLookupError

    # in another container the number of the process means nothing.
    monkeypatch.setattr(os, "kill", no_such_process)
    write_text(tmp_path / "x", "mine")
    assert f".x.partial-{process.pid}" in names(tmp_path)
    monkeypatch.undo()
    process.kill()
    process.communicate()


def test_a_child_process_does_not_take_the_file_from_its_parent(tmp_path):
    with replacing(tmp_path / "x") as partial:
        partial.write_text("whole")
        child = os.fork()
        if not child:
            # the child ends as an interrupted one would: through all the blocks it is in.
            try:
                with pytest.raises(SystemExit):  # noqa: PT012
                    partial.parent.joinpath("child").write_text("was here")
                    raise SystemExit
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert (tmp_path / "x").read_text() == "whole"


def test_links_are_followed_and_stay(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real").write_text("old")
    (tmp_path / "link").symlink_to("far/real")
    (tmp_path / "second").symlink_to("link")
    (tmp_path / "broken").symlink_to("far/new")
    for name in ("second", "broken"):
        write_text(tmp_path / name, name)
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "far" / "real").read_text() == "second"
    assert (tmp_path / "far" / "new").read_text() == "broken"
    assert names(tmp_path / "far") == ["new", "real"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    content = b"ACGT" * 100_000
    writer = threading.Thread(target=write_bytes, args=(tmp_path / "pipe", content))
    writer.start()
    assert (tmp_path / "pipe").read_bytes() == content
    writer.join()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_the_reader_of_a_pipe_sees_its_end_if_the_writer_fails(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    # until the reader waits, there is nobody to release.
    time.sleep(0.2)
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "pipe", RuntimeError)
    reader.join(timeout=20)
    assert found == [b""]


def test_devices_are_written_to_and_stay(tmp_path):
    write_text("/dev/null", "nothing")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    (tmp_path / "link").symlink_to("/dev/null")
    write_text(tmp_path / "link", "nothing")
    assert (tmp_path / "link").is_symlink()
    with pytest.raises(DataError, match="/dev/full cannot be written"):
        write_text("/dev/full", "something")


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_is_written_to_whatever_it_is(tmp_path, name, kind):
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = tmp_path / "link"
    script = (
        "import sys; from dnamdlm.data.files import write_text;"
        "from dnamdlm.data.output_streams import message_stream;"
        "print('first'); write_text(sys.argv[1], 'content\\n'); print('last');"
        "print('note', file=message_stream(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(name)]
    with (tmp_path / "out").open("w") as file:
        output = file if kind == "file" else subprocess.PIPE
        ended = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, check=True)
    written = (tmp_path / "out").read_bytes() if kind == "file" else ended.stdout
    assert written == b"first\ncontent\nlast\n"
    assert ended.stderr == b"note\n"


def test_a_closed_standard_output_is_one_sentence():
    script = (
        "import sys; from dnamdlm.data.files import write_text\n"
        "from dnamdlm.errors import DataError"
        "\ntry:\n write_text('-', 'x')\nexcept DataError as error:\n sys.exit(str(error))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, check=False,
        preexec_fn=lambda: os.close(1),
    )  # fmt: skip
    assert b"standard output cannot be written (it is closed)" in ended.stderr


def test_permissions_follow_the_umask_or_the_file_that_is_replaced(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "")
        write_text(tmp_path / "old", "")
        (tmp_path / "old").chmod(0o600)
        write_text(tmp_path / "old", "again")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o600


def test_a_full_disk_is_one_sentence(tmp_path):
    with (
        pytest.raises(DataError, match=r"x cannot be written \(No space left on device\)"),
        replacing(tmp_path / "x"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(DataError, match=r"cannot be written \(No such file"):
        write_text(tmp_path / "none" / "x", "")
    assert names(tmp_path) == []


def test_a_file_that_the_block_reads_is_not_blamed_on_the_target(tmp_path):
    with pytest.raises(FileNotFoundError, match="genome"), replacing(tmp_path / "x"):
        (tmp_path / "genome").read_text()


def test_an_error_of_the_system_is_passed_on_where_that_is_wanted(tmp_path):
    with pytest.raises(FileNotFoundError), complete_or_absent(tmp_path / "none" / "x"):
        pass


def test_the_longest_names_can_be_written(tmp_path):
    for name in ("n" * 255, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 127):
        write_text(tmp_path / name, name)
        assert (tmp_path / name).read_text() == name


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("sync"), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (done.append("rename"), rename(a, b)))
    write_text(tmp_path / "x", "content")
    assert done == ["sync", "rename", "sync"]


def test_a_second_writer_in_the_same_process_does_no_harm(tmp_path):
    with replacing(tmp_path / "x") as partial:
        partial.write_text("first")
        with pytest.raises(DataError, match="this process is writing it already"):
            write_text(tmp_path / "x", "second")
    assert (tmp_path / "x").read_text() == "first"


def test_a_signal_at_the_instant_of_creation_leaves_nothing(tmp_path, monkeypatch):
    opened = os.open

    def interrupted(path, flags, *rest, **options):
        descriptor = opened(path, flags, *rest, **options)
        if flags & os.O_CREAT:
            os.kill(os.getpid(), signal.SIGTERM)
        return descriptor

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(SystemExit) as ended:
        write_text(tmp_path / "x", "")
    assert ended.value.code == 128 + signal.SIGTERM
    assert names(tmp_path) == []


def test_threads_may_write(tmp_path):
    threads = [
        threading.Thread(target=write_text, args=(tmp_path / f"{i}", f"{i}")) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(tmp_path / f"{i}").read_text() for i in range(8)] == [f"{i}" for i in range(8)]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        files.make_folder(tmp_path / "file" / "folder")


def test_messages_go_to_standard_output_unless_that_is_the_target(tmp_path):
    assert output_streams.message_stream(tmp_path / "x") is sys.stdout
    assert output_streams.message_stream("-") is sys.stderr
