"""Results in parts: whatever is killed, damaged or cut, the result is that of one run."""

import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnamdlm.assembly.gathering import GatherSettings, gather
from dnamdlm.data.parts.cutting import Cut, Shard, parse_shard
from dnamdlm.data.parts.part_files import HEAD_BYTES
from dnamdlm.data.parts.part_folders import folder_of
from dnamdlm.errors import ConfigError, DataError
from tests.helpers import parted_work
from tests.helpers.worker_tasks import wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path):
    """A folder for results, beside one in which processes say what they did."""
    (tmp_path / "work").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


def run(place, **settings):
    return parted_work.run(place / "out/x.tsv", work=place / "work", **settings)


def begun(place):
    return sorted(
        int(line) for path in (place / "work").iterdir() for line in path.read_text().split()
    )


def left(place):
    return sorted(str(path.relative_to(place / "out")) for path in (place / "out").rglob("*"))


def start(place, **settings):
    words = [f"{name}={value}" for name, value in settings.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.parted_work", str(place / "out/x.tsv"),
         f"work={place}/work", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("per_part", "workers"), [(1, 1), (3, 1), (20, 1), (50, 1), (3, 2)], ids=str
)
def test_the_result_does_not_depend_on_the_size_of_parts(place, per_part, workers):
    outcome = run(place, per_part=per_part, workers=workers)
    assert (place / "out/x.tsv").read_text() == parted_work.expected()
    assert (outcome.rows, outcome.counts, outcome.shard_sentence) == (20, {"n": 20}, "")
    assert left(place) == ["x.tsv"]
    assert begun(place) == list(range(20))


def test_a_command_that_is_killed_resumes_at_the_first_missing_part(place):
    draw = random.Random(5)
    for number in range(6):
        process = start(place, seconds=0.03, workers=1 + number % 2)
        time.sleep(draw.uniform(0.25, 0.9))
        process.kill()
        process.communicate()
        if (folder := place / "out/x.tsv.parts").is_dir() and number == 3:
            damaged = next(iter(sorted(folder.glob("part-*"))), None)
            if damaged is not None:
                damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    before = len(list((place / "out/x.tsv.parts").glob("part-*")))
    for path in (place / "work").iterdir():
        path.unlink()
    run(place)
    assert (place / "out/x.tsv").read_text() == parted_work.expected()
    assert left(place) == ["x.tsv"]
    # what is there is not computed again.
    assert len(begun(place)) <= 20 - 3 * (before - 1)


def test_an_error_keeps_the_complete_parts_and_says_so(place, caplog):
    with pytest.raises(DataError, match="record 10 has no bases"):
        run(place, fault=(10, "refuse"))
    assert "3 of 7 parts are kept in" in caplog.text
    assert [name for name in left(place) if "part-" in name] == [
        f"x.tsv.parts/part-{number:06d}" for number in range(3)
    ]
    with caplog.at_level(logging.INFO):
        run(place)
    assert "3 of 7 parts are there already" in caplog.text
    assert begun(place) == sorted([*range(20), 9, 10])
    assert left(place) == ["x.tsv"]


def test_an_error_before_the_first_part_leaves_nothing(place):
    with pytest.raises(DataError, match="record 1 has no bases"):
        run(place, fault=(1, "refuse"))
    assert left(place) == []


@pytest.mark.parametrize("damage", ["a byte", "cut short", "empty", "no head", "of another place"])
def test_a_damaged_part_is_computed_again(place, caplog, damage):
    with pytest.raises(DataError):
        run(place, fault=(15, "refuse"))
    second = place / "out/x.tsv.parts/part-000001"
    content = second.read_bytes()
    second.write_bytes({
        "a byte": content[:-2] + b"7\n",
        "cut short": content[:-1],
        "empty": b"",
        "no head": b"{" + content,
        "of another place": (place / "out/x.tsv.parts/part-000000").read_bytes(),
    }[damage])  # fmt: skip
    run(place)
    assert "1 parts are damaged, the first is part-000001" in caplog.text
    assert (place / "out/x.tsv").read_text() == parted_work.expected()
    assert begun(place) == sorted([*range(20), 3, 4, 5, 15])


def test_parts_of_another_result_are_refused_with_what_differs(place):
    with pytest.raises(DataError):
        run(place, fault=(10, "refuse"))
    before = left(place)
    with pytest.raises(ConfigError, match=r"parts of another command \(model has another content"):
        run(place, model="b")
    with pytest.raises(ConfigError, match=r"\(batches was 20 and is now 21"):
        run(place, batches=21)
    with pytest.raises(ConfigError, match=r"the size of parts, in batches, was 3 and is now 4"):
        run(place, per_part=4)
    with pytest.raises(ConfigError, match="the number of shards was 1 and is now 2"):
        run(place, shard="1/2")
    assert left(place) == before
    # without a size of one's own, that of the folder is taken.
    run(place, per_part=4, keeps_cut=True)
    assert (place / "out/x.tsv").read_text() == parted_work.expected()


def test_parts_of_another_number_of_threads_are_joined_with_a_warning(place, caplog):
    run(place, shard="1/2", threads=1)
    run(place, shard="2/2", threads=1)
    gather(GatherSettings(str(place / "out/x.tsv")))
    assert "some parts" not in caplog.text
    run(place, shard="1/2", threads=1)
    run(place, shard="2/2", threads=2)
    assert "some parts" not in caplog.text
    gather(GatherSettings(str(place / "out/x.tsv")))
    said = (
        r"some parts were made with 1 thread, (.*), others with 2 threads, \1; .* threads=1 to all"
    )
    assert re.search(said, caplog.text)
    assert (place / "out/x.tsv").read_text() == parted_work.expected().replace("cubes", "number")
    # a command that resumes with other threads says so itself.
    caplog.clear()
    with pytest.raises(DataError):
        run(place, fault=(10, "refuse"), threads=1)
    run(place, threads=3)
    assert "others with 3 threads" in caplog.text


def test_parts_of_an_earlier_version_do_not_say_with_what_they_were_made(place, caplog):
    with pytest.raises(DataError):
        run(place, fault=(10, "refuse"), threads=1)
    path = place / "out/x.tsv.parts/part-000000"
    content = path.read_bytes()
    head = json.loads(content[:HEAD_BYTES])
    del head["made_with"]
    older = json.dumps(head).encode().ljust(HEAD_BYTES - 1) + b"\n"
    path.write_bytes(older + content[HEAD_BYTES:])
    caplog.clear()
    run(place, threads=1)
    assert "damaged" not in caplog.text
    assert "some parts" not in caplog.text
    assert (place / "out/x.tsv").read_text() == parted_work.expected()


def test_shards_compute_their_own_parts_and_are_gathered(place):
    for shard in ("2/3", "1/3"):
        outcome = run(place, shard=shard)
        assert outcome.path == place / "out/x.tsv.parts"
        assert f"shard {shard}: 2 of 7 parts are complete" in outcome.shard_sentence
    assert begun(place) == list(range(12))
    settings = GatherSettings(str(place / "out/x.tsv"))
    with pytest.raises(
        DataError, match=r"shard 3/3 has not run: 3 of 7 parts missing; run the com"
    ):
        gather(settings)
    with pytest.raises(DataError, match="record 18 has no bases"):
        run(place, shard="3/3", fault=(18, "refuse"))
    with pytest.raises(DataError, match="shard 3/3 is not complete: 1 of 7 parts missing; run the"):
        gather(settings)
    run(place, shard="3/3")
    first = place / "out/x.tsv.parts/part-000000"
    good = first.read_bytes()
    first.write_bytes(good[:-1])
    with pytest.raises(DataError, match=r"shard 1/3 is not complete \(1 part of it is damaged\)"):
        gather(settings)
    first.write_bytes(good)
    path, said = gather(settings)
    # the toy says that it is `score`, whose writer it gets.
    assert path.read_text() == parted_work.expected().replace("cubes", "number")
    assert said.startswith("joined 7 parts of 3 shards: 20 rows")
    assert left(place) == ["x.tsv"]
    with pytest.raises(DataError, match=r"there is nothing to join: .*x.tsv exists, and"):
        gather(settings)


def test_more_shards_than_parts_leave_some_without_work(place):
    for number in range(1, 10):
        run(place, shard=f"{number}/9")
    gather(GatherSettings(str(place / "out/x.tsv")))
    assert (place / "out/x.tsv").read_text() == parted_work.expected().replace("cubes", "number")


def test_shards_that_run_at_the_same_time_do_not_disturb_each_other(place):
    processes = [start(place, shard=f"{number}/3", seconds=0.02) for number in (1, 2, 3)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, answers
    assert begun(place) == list(range(20))
    gather(GatherSettings(str(place / "out/x.tsv")))
    assert (place / "out/x.tsv").read_text() == parted_work.expected().replace("cubes", "number")
    assert left(place) == ["x.tsv"]


def test_a_shard_is_computed_by_one_process_at_a_time(place):
    process = start(place, shard="1/2", seconds=2)
    wait_for(lambda: begun(place))
    with pytest.raises(ConfigError, match="is in use: another process computes shard 1/2 of it"):
        run(place, shard="1/2")
    with pytest.raises(DataError, match="shard 1/2 is still at work"):
        gather(GatherSettings(str(place / "out/x.tsv")))
    process.kill()
    process.communicate()
    run(place, shard="1/2")
    assert begun(place) == [0, *range(9)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_keeps_the_complete_parts(place, name):
    process = start(place, seconds=0.1)
    wait_for((place / "out/x.tsv.parts/part-000000").exists)
    number = getattr(signal, name)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (128 + number, -number)
    assert not list((place / "out").rglob("*partial*"))
    run(place)
    assert begun(place)[:3] == [0, 1, 2]
    assert (place / "out/x.tsv").read_text() == parted_work.expected()


def test_what_a_killed_removal_left_is_no_obstacle(place):
    run(place)
    folder = place / "out/x.tsv.parts"
    folder.mkdir()
    (folder / "part-000003").write_text("of what was joined")
    (folder / ".part-000004.partial-99999999").write_text("")
    (folder / "shard-1.lock").touch()
    with pytest.raises(DataError, match="nothing to join"):
        gather(GatherSettings(str(place / "out/x.tsv")))
    assert left(place) == ["x.tsv"]
    folder.mkdir()
    (folder / "part-000003").write_text("of what was joined")
    run(place)
    assert left(place) == ["x.tsv"]


def test_a_folder_of_somebody_else_is_left_alone(place):
    folder = place / "out/x.tsv.parts"
    folder.mkdir()
    (folder / "thesis.doc").write_text("mine")
    with pytest.raises(DataError, match=r"holds 'thesis\.doc', which is not a part of a result"):
        run(place)
    folder.rename(place / "elsewhere")
    folder.write_text("a file")
    with pytest.raises(DataError, match=r"x.tsv.parts cannot be used \(File exists\)"):
        run(place)
    assert left(place) == ["x.tsv.parts"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 2}'])
def test_a_damaged_manifest_is_one_sentence(place, content):
    with pytest.raises(DataError):
        run(place, fault=(10, "refuse"))
    (place / "out/x.tsv.parts/manifest.json").write_text(content)
    for command in (run, lambda _: gather(GatherSettings(str(place / "out/x.tsv")))):
        with pytest.raises(DataError, match=r"manifest.json is (damaged|of another version)"):
            command(place)


def test_a_link_has_its_parts_beside_the_file_that_it_points_to(place):
    (place / "link").symlink_to(place / "out/x.tsv")
    assert folder_of(place / "link") == place / "out/x.tsv.parts"
    assert len(os.fsencode(folder_of(place / ("n" * 255)).name)) < 255


def test_a_pipe_has_no_parts(place):
    os.mkfifo(place / "out/pipe")
    with subprocess.Popen(["cat", str(place / "out/pipe")], stdout=subprocess.PIPE) as reader:
        parted_work.run(place / "out/pipe", work=place / "work")
        assert reader.stdout.read().decode() == parted_work.expected()
    assert left(place) == ["pipe"]


@pytest.mark.parametrize("text", ["5/4", "0/4", "1/0", "0/0"])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(ConfigError, match=f"^shard={text} does not exist; shards are "):
        parse_shard(text)


@pytest.mark.parametrize("text", ["", "3", "1/2/3", "-1/4", "1 / 4", "a/b", "1.0/4", "\u0661/4"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="is not a shard; write the third of eight as shard=3/8"):
        parse_shard(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("num_batches", [0, 1, 19, 20, 21])
def test_every_batch_is_in_one_part_of_one_shard(num_batches, count):
    cut = Cut(num_batches, 4)
    found = [
        batch
        for number in range(1, count + 1)
        for part in Shard(number, count).parts(cut.num_parts)
        for batch in cut.batches(part)
    ]
    assert found == list(range(num_batches))
