"""The prepared genome store: right, atomic, keyed by content, and shared by processes."""

import hashlib
import json
import logging
import multiprocessing
import os
import pickle
import shutil
import signal

import numpy as np
import pytest

from dnamdlm.data.genome import store as genome
from dnamdlm.data.genome import store_building
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore, default_cache_dir, prepare_genome
from dnamdlm.errors import DataError

CONTENT = ">a\nNNACGTnnacg\n>empty\n>b\nTTTNNN\n>c\nNNGRT\n"


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(CONTENT)
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_the_store_holds_the_bases_of_the_file(fasta, cache):
    store = prepare_genome(fasta, cache_dir=cache)
    records = read_fasta(fasta)
    assert store.names == ("a", "b", "c")
    assert dict(store.lengths) == {name: codes.size for name, codes in records.items()}
    assert dict(store.offsets) == {"a": 0, "b": 11, "c": 17}
    assert store.codes.tolist() == np.concatenate(list(records.values())).tolist()
    assert store.fetch(Interval("b", 1, 4)).tolist() == [3, 3, 4]
    assert store.sha256 == hashlib.sha256(store.codes.tobytes()).hexdigest()
    store.verify()


def test_the_manifest_counts_what_was_met(fasta, cache):
    manifest = prepare_genome(fasta, cache_dir=cache).manifest
    assert manifest["num_bases"] == 22
    assert manifest["num_n"] == 2 + 2 + 3 + 2 + 1
    assert manifest["num_iupac"] == {"R": 1}
    assert manifest["num_soft_masked"] == 5
    assert manifest["empty_records"] == ["empty"]
    assert manifest["source"]["sha256"] == hashlib.sha256(CONTENT.encode()).hexdigest()


def test_counting_n_equals_counting_letters(fasta, cache):
    store = prepare_genome(fasta, cache_dir=cache)
    is_n = (store.codes & 7) == 4
    starts, ends = np.triu_indices(store.num_bases + 1)
    expected = [int(is_n[s:e].sum()) for s, e in zip(starts, ends, strict=True)]
    assert store.count_n(starts, ends).tolist() == expected


def test_runs_of_n_do_not_depend_on_the_block_size(fasta, cache, monkeypatch):
    whole = prepare_genome(fasta, cache_dir=cache).n_runs.tolist()
    for block_bytes in (1, 2, 5):
        reader = store_building.FastaReader
        monkeypatch.setattr(
            store_building,
            "FastaReader",
            lambda *a, _r=reader, _b=block_bytes, **k: _r(*a, block_bytes=_b, **k),
        )
        other = prepare_genome(fasta, cache_dir=cache / str(block_bytes))
        assert other.n_runs.tolist() == whole
        monkeypatch.undo()


def test_fetch_is_strict_about_bounds(fasta, cache):
    store = prepare_genome(fasta, cache_dir=cache)
    with pytest.raises(DataError, match="record 'b' has 6 bp, but b:0-7 ends at 7"):
        store.fetch(Interval("b", 0, 7))
    with pytest.raises(DataError, match="record 'chra' is not in the genome, but 'a' is"):
        store.fetch(Interval("chra", 0, 1))


def test_a_second_call_opens_the_same_store_without_building(fasta, cache, monkeypatch):
    first = prepare_genome(fasta, cache_dir=cache)
    monkeypatch.setattr(genome, "build_store", None)
    assert prepare_genome(fasta, cache_dir=cache).folder == first.folder


def test_a_changed_file_or_policy_gets_another_store(fasta, cache):
    first = prepare_genome(fasta, cache_dir=cache)
    rna = prepare_genome(fasta, cache_dir=cache, rna=True)
    fasta.write_text(CONTENT.replace("TTTNNN", "TTANNN"))
    changed = prepare_genome(fasta, cache_dir=cache)
    assert len({first.folder, rna.folder, changed.folder}) == 3
    assert changed.fetch(Interval("b", 2, 3)).tolist() == [0]
    assert first.fetch(Interval("b", 2, 3)).tolist() == [3]
    assert first.sha256 == rna.sha256 != changed.sha256


@pytest.mark.parametrize(
    "index", ["a\t3\t3\t3\t4\n", "a\t999999999\t3\t60\t61\n", "a\t11\t3\t0\t0\n", ""]
)
def test_a_stale_or_forged_index_beside_the_file_has_no_say(fasta, cache, index):
    before = prepare_genome(fasta, cache_dir=cache).codes.tolist()
    beside = fasta.with_name(fasta.name + ".fai")
    beside.write_text(index)
    os.utime(beside, (1, 1))
    shutil.rmtree(cache)
    assert prepare_genome(fasta, cache_dir=cache).codes.tolist() == before
    assert beside.read_text() == index


def test_a_change_that_keeps_size_and_time_is_noticed(fasta, cache):
    first = prepare_genome(fasta, cache_dir=cache)
    times = fasta.stat().st_mtime_ns
    fasta.write_text(CONTENT.replace("TTTNNN", "TTANNN"))
    os.utime(fasta, ns=(times, times))
    second = prepare_genome(fasta, cache_dir=cache)
    assert second.fetch(Interval("b", 2, 3)).tolist() == [0]
    assert first.folder != second.folder


def test_a_record_name_is_never_a_path(fasta, cache, tmp_path):
    fasta.write_text(">../../etc/passwd\nACGT\n>/etc/shadow\nGG\n")
    before = sorted(path for path in tmp_path.rglob("*") if cache not in path.parents)
    store = prepare_genome(fasta, cache_dir=cache)
    assert store.fetch(Interval("../../etc/passwd", 1, 3)).tolist() == [1, 2]
    after = sorted(path for path in tmp_path.rglob("*") if cache not in path.parents)
    assert set(after) == {*before, cache}


def test_policies_that_differ_have_stores_that_differ(fasta, cache):
    stores = [prepare_genome(fasta, cache_dir=cache, iupac=policy) for policy in ("n", "random")]
    place = Interval("c", 3, 4)
    assert stores[0].fetch(place).tolist() == [4]
    assert stores[1].fetch(place).tolist()[0] in (0, 2)
    assert stores[1].manifest["num_iupac"] == {"R": 1}
    assert stores[1].manifest["num_n"] == stores[0].manifest["num_n"] - 1


def damage_codes(folder):
    (folder / "codes.bin").write_bytes(b"\0")


def damage_manifest(folder):
    (folder / "manifest.json").write_text('{"format_version": 1')


def damage_runs(folder):
    (folder / "n_runs.npy").write_bytes(b"\x93NUMPY")


def remove_codes(folder):
    (folder / "codes.bin").unlink()


def remove_manifest(folder):
    (folder / "manifest.json").unlink()


def change_version(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 0}))


DAMAGES = [
    damage_codes,
    damage_manifest,
    damage_runs,
    remove_codes,
    remove_manifest,
    change_version,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused_and_built_again(fasta, cache, damage, caplog):
    folder = prepare_genome(fasta, cache_dir=cache).folder
    damage(folder)
    with pytest.raises(DataError, match="prepare the genome again"):
        GenomeStore.open(folder)
    with caplog.at_level(logging.WARNING):
        store = prepare_genome(fasta, cache_dir=cache)
    store.verify()
    assert store.num_bases == 22
    assert "damaged" in caplog.text


def test_a_flipped_base_is_found_by_verify(fasta, cache):
    store = prepare_genome(fasta, cache_dir=cache)
    path = store.folder / "codes.bin"
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    with pytest.raises(DataError, match="changed on disk"):
        GenomeStore.open(store.folder).verify()


def test_a_faulty_file_leaves_no_store_and_no_temporary_folder(fasta, cache):
    fasta.write_text(CONTENT + ">d\nAC-GT\n")
    with pytest.raises(DataError, match="gap"):
        prepare_genome(fasta, cache_dir=cache)
    assert [path.suffix for path in cache.iterdir()] in ([], [".lock"])


def test_a_leftover_temporary_folder_is_removed(fasta, cache):
    folder = prepare_genome(fasta, cache_dir=cache).folder
    shutil.rmtree(folder)
    leftover = cache / f".{folder.name}.abc.tmp"
    leftover.mkdir()
    (leftover / "codes.bin").write_bytes(b"half")
    prepare_genome(fasta, cache_dir=cache)
    assert not leftover.exists()


@pytest.fixture
def large(monkeypatch):
    """Every file counts as large: hashed while it is read, unless a store may be there."""
    monkeypatch.setattr(genome, "_LARGE_BYTES", 1)


def refuse(*_):
    raise AssertionError("this is not to be called")


def test_a_large_new_file_is_read_once_and_gets_the_same_store(fasta, tmp_path, monkeypatch, large):
    expected = prepare_genome(fasta, cache_dir=tmp_path / "one")
    monkeypatch.setattr(genome, "_LARGE_BYTES", 1 << 26)
    hashed_first = prepare_genome(fasta, cache_dir=tmp_path / "two")
    assert expected.folder.name == hashed_first.folder.name
    assert expected.manifest == hashed_first.manifest
    monkeypatch.setattr(genome, "_LARGE_BYTES", 1)
    monkeypatch.setattr(genome, "_file_sha256", refuse)
    assert prepare_genome(fasta, cache_dir=tmp_path / "three").codes.tolist() == (
        expected.codes.tolist()
    )


def test_a_large_file_whose_store_may_be_there_is_not_built_again(fasta, cache, monkeypatch, large):
    first = prepare_genome(fasta, cache_dir=cache)
    monkeypatch.setattr(genome, "build_store", refuse)
    assert prepare_genome(fasta, cache_dir=cache).folder == first.folder


def test_a_large_file_of_the_size_of_another_gets_a_store_of_its_own(fasta, cache, large):
    first = prepare_genome(fasta, cache_dir=cache)
    fasta.write_text(CONTENT.replace("TTTNNN", "TTANNN"))
    second = prepare_genome(fasta, cache_dir=cache)
    assert second.fetch(Interval("b", 2, 3)).tolist() == [0]
    assert first.folder != second.folder


def test_a_large_file_that_changes_while_it_is_read_is_refused(fasta, cache, monkeypatch, large):
    build = genome.build_store

    def build_and_change(*arguments):
        found = build(*arguments)
        with fasta.open("a") as file:
            file.write("ACGT\n")
        return found

    monkeypatch.setattr(genome, "build_store", build_and_change)
    with pytest.raises(DataError, match="changed while it was read"):
        prepare_genome(fasta, cache_dir=cache)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_large_faulty_file_leaves_no_store(fasta, cache, large):
    fasta.write_text(CONTENT + ">d\nAC-GT\n")
    with pytest.raises(DataError, match="gap"):
        prepare_genome(fasta, cache_dir=cache)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_damaged_store_of_a_large_file_is_built_again(fasta, cache, large):
    first = prepare_genome(fasta, cache_dir=cache)
    (first.folder / "manifest.json").write_text("{")
    assert prepare_genome(fasta, cache_dir=cache).verify() is None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("module", "place"), [(store_building, "sync_to_disk"), (genome, "_publish")]
)
def test_a_kill_while_a_large_file_is_read_leaves_nothing_that_is_seen(
    fasta, cache, monkeypatch, large, module, place
):
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(module, place, die)
        process = multiprocessing.get_context("fork").Process(
            target=prepare_genome, args=(fasta,), kwargs={"cache_dir": cache}
        )
        process.start()
        process.join(300)
    assert process.exitcode == -signal.SIGKILL
    (leftover,) = [path for path in cache.iterdir() if path.is_dir()]
    assert leftover.name.startswith(".")
    prepare_genome(fasta, cache_dir=cache).verify()
    assert not leftover.exists()


def test_a_genome_of_n_only_is_refused(fasta, cache):
    fasta.write_text(">a\nNNNN\n>b\nnn\n")
    with pytest.raises(DataError, match="all 6 bases are N"):
        prepare_genome(fasta, cache_dir=cache)


def test_a_cache_that_cannot_be_written_names_the_setting(fasta, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"set data.cache_dir or .*DNAMDLM_CACHE_DIR"):
        prepare_genome(fasta, cache_dir=tmp_path / "file" / "cache")


def test_a_wrong_checksum_is_refused_before_building(fasta, cache):
    with pytest.raises(DataError, match=r"SHA-256 is .* is expected"):
        prepare_genome(fasta, cache_dir=cache, expected_sha256="0" * 64)
    assert not cache.exists()


def test_a_missing_genome_is_named(tmp_path, cache):
    with pytest.raises(DataError, match=r"absent.fa: no such file"):
        prepare_genome(tmp_path / "absent.fa", cache_dir=cache)
    with pytest.raises(DataError, match="this is a folder"):
        prepare_genome(tmp_path, cache_dir=cache)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "own"
    monkeypatch.delenv("DNAMDLM_CACHE_DIR")
    assert default_cache_dir() == tmp_path / "xdg" / "dnamdlm" / "genomes"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "dnamdlm" / "genomes"


def test_a_store_travels_to_other_processes_as_its_folder(fasta, cache):
    store = prepare_genome(fasta, cache_dir=cache)
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    copy = pickle.loads(pickled)
    assert copy.codes.tolist() == store.codes.tolist()
    assert copy == store


def prepare_in_process(fasta, cache, queue):
    store = prepare_genome(fasta, cache_dir=cache)
    store.verify()
    queue.put((str(store.folder), store.sha256))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("large", [1 << 26, 1], ids=["hashed first", "hashed while read"])
def test_32_processes_at_once_build_one_valid_store(tmp_path, cache, monkeypatch, large):
    monkeypatch.setattr(genome, "_LARGE_BYTES", large)
    rng = np.random.default_rng(0)
    path = tmp_path / "big.fa"
    letters = np.frombuffer(b"ACGTacgtN", dtype=np.uint8)
    path.write_bytes(b">a\n" + rng.choice(letters, 200_000).tobytes() + b"\n")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(target=prepare_in_process, args=(path, cache, queue)) for _ in range(32)
    ]
    for process in processes:
        process.start()
    results = {queue.get(timeout=300) for _ in processes}
    for process in processes:
        process.join(300)
    assert len(results) == 1
    assert [path for path in cache.iterdir() if path.is_dir()] == [
        prepare_genome(path, cache_dir=cache).folder
    ]


def test_human_chromosome_20_is_prepared_with_its_known_counts(shared, cache):
    path = shared / "data" / "genomes" / "human_b37_chr20.fa.gz"
    store = prepare_genome(path, cache_dir=cache)
    assert dict(store.lengths) == {"20": 63_025_520}
    assert store.manifest["num_n"] == 3_520_000
    counts = np.bincount(store.codes[::97], minlength=5)
    assert counts.argmax() in (0, 3)
