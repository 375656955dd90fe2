"""Joining parts of tracks: the bytes of writing each window, in fewer steps and flat memory."""

import io
import tracemalloc

import numpy as np
import pytest

from dnamdlm.assembly.tracks import track_parts
from dnamdlm.assembly.tracks.probabilities import ReadBases
from dnamdlm.assembly.tracks.track_parts import join_tracks, stretch_of
from dnamdlm.evaluation.likelihood.base_tracks import TRACKS, base_tracks
from dnamdlm.evaluation.likelihood.bigwig import BigWigWriter
from dnamdlm.evaluation.likelihood.browser_record import BrowserRecord

LENGTHS = {"a": 6_000, "b": 9, "c": 1_000}
HEAD = {
    "lengths": LENGTHS, "genes": [], "exons": [], "genome": "g", "label": "m", "made_by": {},
}  # fmt: skip


def random_window(rng, record, start, size, odd=0.004):
    """Bases of which a share is N, or cannot be one of the letters."""
    values = rng.normal(size=(size, 4)).astype(np.float32)
    codes = np.where(rng.random(size) < odd, 4, rng.integers(0, 4, size)).astype(np.uint8)
    log_probs = values - np.log(np.exp(values).sum(1, keepdims=True))
    log_probs[rng.random(log_probs.shape) < odd] = -np.inf
    return ReadBases(record, start, codes, log_probs)


def random_windows(rng, longest):
    """Windows of some records, with gaps between a few of them."""
    found = []
    for record, size in enumerate(LENGTHS.values()):
        place = 0
        while place < size:
            width = min(int(rng.integers(1, longest + 1)), size - place)
            found.append(random_window(rng, record, place, width))
            place += width + (int(rng.integers(1, 50)) if rng.random() < 0.02 else 0)
    return found


def parts_of(windows, per_item, per_part):
    """Files of parts, as `tracks` writes their contents."""
    items = [windows[i : i + per_item] for i in range(0, len(windows), per_item)]
    contents = [stretch_of(item).content for item in items]
    return [
        io.BytesIO(b"".join(contents[i : i + per_part])) for i in range(0, len(contents), per_part)
    ]


@pytest.fixture
def short_runs(monkeypatch):
    """Runs of so few bases that small genomes have many."""
    monkeypatch.setattr(track_parts, "RUN_BASES", 1024)


@pytest.mark.parametrize(("longest", "per_item"), [(8, 3), (8, 700), (700, 5), (6_000, 2)], ids=str)
def test_joined_parts_have_the_bytes_of_windows_written_one_by_one(
    tmp_path, short_runs, longest, per_item
):
    windows = random_windows(np.random.default_rng(longest), longest)
    join_tracks(HEAD, parts_of(windows, per_item, per_part=3), tmp_path / "made")
    shown = BrowserRecord(LENGTHS, HEAD["label"])
    names, files = list(LENGTHS), {name: io.BytesIO() for name in TRACKS}
    writers = {name: BigWigWriter(file, LENGTHS) for name, file in files.items()}
    for window in windows:
        tracks = base_tracks(window.log_probs, window.codes)
        for name, values in tracks.items():
            writers[name].add(names[window.record], window.start, values)
        shown.add(names[window.record], window.start, window.codes, tracks)
    for name, writer in writers.items():
        writer.__exit__(None, None, None)
        assert (tmp_path / "made" / f"{name}.bw").read_bytes() == files[name].getvalue(), name
    record = track_parts.read_json_file(tmp_path / "made" / "tracks.json")
    assert record["stretches"] == shown.content([])["stretches"]


def long_parts(num_bases):
    """Parts of one record in windows of eight bases, made as they are read."""
    rng = np.random.default_rng(0)
    per_part = 4096
    for first in range(0, num_bases, per_part):
        size = min(per_part, num_bases - first)
        whole = random_window(rng, 0, first, size, odd=0)
        windows = [
            ReadBases(0, first + i, whole.codes[i : i + 8], whole.log_probs[i : i + 8])
            for i in range(0, size, 8)
        ]
        yield io.BytesIO(stretch_of(windows).content)


def test_the_runs_that_are_written_are_long_whatever_the_windows():
    runs = list(track_parts.runs_in(long_parts(60_000)))
    sizes = [len(run.codes) for run in runs]
    assert sum(sizes) == 60_000
    assert min(sizes[:-1]) >= track_parts.RUN_BASES
    assert len(runs) == 60_000 // track_parts.RUN_BASES + 1
    # a whole part, and nothing of the next one, may lie beyond.
    assert max(sizes) < track_parts.RUN_BASES + 4096
    starts = np.cumsum([0, *sizes[:-1]])
    assert [run.start for run in runs] == starts.tolist()


def test_joining_four_times_the_bases_takes_no_more_memory(tmp_path):
    peaks = []
    for number in (20_000, 80_000):
        head = HEAD | {"lengths": {"a": number}}
        parts = long_parts(number)
        tracemalloc.start()
        join_tracks(head, parts, tmp_path / str(number))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # summaries of far views are kept in memory up to 256 kB for each level of each track.
    assert peaks[1] < peaks[0] + 3e6
