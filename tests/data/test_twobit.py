"""The .2bit reader: a round trip with a writer of its own, and a named outcome for every fault."""

import gzip
import struct
from itertools import groupby

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.genome.twobit import TwoBitReader, is_twobit
from dnamdlm.errors import DataError

PAIRS = {"T": 0, "C": 1, "A": 2, "G": 3, "N": 0}
LETTERS = {"A": 0, "C": 1, "G": 2, "T": 3, "N": 4}


def blocks(flags):
    """Starts and sizes of the runs of True."""
    found, position = [], 0
    for value, run in groupby(flags):
        size = len(list(run))
        if value:
            found.append((position, size))
        position += size
    return [start for start, _ in found], [size for _, size in found]


def write_record(sequence, order):
    def words(*numbers):
        return struct.pack(f"{order}{len(numbers)}I", *numbers)

    out = words(len(sequence))
    for flags in ([s in "Nn" for s in sequence], [s.islower() for s in sequence]):
        starts, sizes = blocks(flags)
        out += words(len(starts), *starts, *sizes)
    out += words(0)
    for first in range(0, len(sequence), 4):
        byte = 0
        for base in sequence[first : first + 4].upper().ljust(4, "T"):
            byte = byte << 2 | PAIRS[base]
        out += bytes([byte])
    return out


def write_twobit(records, *, order="<", version=0):
    """A .2bit file, from a dictionary of names and sequences."""
    kind, size = ("I", 4) if version == 0 else ("Q", 8)
    offset = 16 + sum(1 + len(name) + size for name in records)
    index, body = b"", b""
    for name, sequence in records.items():
        index += bytes([len(name)]) + name.encode() + struct.pack(order + kind, offset + len(body))
        body += write_record(sequence, order)
    return struct.pack(order + "4I", 0x1A412743, version, len(records), 0) + index + body


def expected_codes(sequence):
    return [LETTERS[s.upper()] | (0x80 if s.islower() else 0) for s in sequence]


def read(path, **settings):
    reader = TwoBitReader(path, **settings)
    found = {}
    for chunk in reader:
        assert chunk.codes.size
        found.setdefault(chunk.name, []).extend(chunk.codes.tolist())
    assert reader.counts.lengths == {name: len(codes) for name, codes in found.items()}
    return found


RECORDS = {"a": "ACGTnnNNacgtTTGCA", "b": "NNNN", "c": "g"}


@pytest.fixture
def twobit(tmp_path):
    def write(content, name="genome.2bit"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sequences=st.lists(
        st.lists(st.tuples(st.sampled_from("ACGTNacgtn"), st.integers(1, 9)), max_size=12),
        min_size=1,
        max_size=5,
    ).filter(any),
    order=st.sampled_from("<>"),
    version=st.sampled_from([0, 1]),
    chunk_bases=st.sampled_from([4, 8, 20, 4096]),
)
def test_any_file_equals_its_strings(twobit, sequences, order, version, chunk_bases):
    records = {
        f"r{i}": "".join(letter * size for letter, size in runs) for i, runs in enumerate(sequences)
    }
    path = twobit(write_twobit(records, order=order, version=version))
    assert is_twobit(path)
    found = read(path, chunk_bases=chunk_bases)
    assert found == {name: expected_codes(s) for name, s in records.items() if s}


def test_a_store_of_a_2bit_file_is_that_of_its_fasta_file_whatever_the_name(twobit, tmp_path):
    path = twobit(write_twobit(RECORDS, order=">"), "genome.fa")
    plain = tmp_path / "plain.2bit"
    plain.write_text("".join(f">{name}\n{text}\n" for name, text in RECORDS.items()))
    stores = [prepare_genome(p, cache_dir=tmp_path / "cache") for p in (path, plain)]
    assert stores[0].sha256 == stores[1].sha256
    assert stores[0].n_runs.tolist() == stores[1].n_runs.tolist()
    assert dict(stores[0].lengths) == {name: len(text) for name, text in RECORDS.items()}
    assert stores[0].manifest["source"]["bytes"] == path.stat().st_size


def test_empty_records_are_counted_and_a_file_of_nothing_else_is_refused(twobit):
    reader = TwoBitReader(twobit(write_twobit({"x": "", "y": "AC", "z": ""})))
    assert [chunk.name for chunk in reader] == ["y"]
    assert reader.counts.empty_records == ["x", "z"]
    with pytest.raises(DataError, match="all 1 records are empty"):
        read(twobit(write_twobit({"x": ""})))


def test_a_file_cut_anywhere_is_refused(twobit):
    whole = write_twobit(RECORDS)
    for size in range(4, len(whole)):
        with pytest.raises(DataError, match=r"reaches to offset|outside the file|index counts no"):
            read(twobit(whole[:size]))


def changed(offset, value, kind="<I"):
    """RECORDS as a file, with the number at `offset` replaced."""
    data = bytearray(write_twobit(RECORDS))
    struct.pack_into(kind, data, offset, value)
    return bytes(data)


# the index ends at 16 + 3 * 6 = 34, where record "a" begins: length, 1 N block, its start and size,
# 2 mask blocks ...
FAULTS = {
    "signature": (changed(0, 0x1A412744), "the signature at offset 0 is 0x4427411a"),
    "version": (changed(4, 2), "version 2 and reserved word 0 at offset 4"),
    "reserved": (changed(12, 7), "version 0 and reserved word 7"),
    "no record": (changed(8, 0), "counts no record"),
    "too many records": (changed(8, 10**9), "entry 4 of 1000000000 of the index"),
    "no name": (changed(16, 0, "B"), "entry 1 of 3 of the index at offset 16 has the name b''"),
    "bad name": (changed(17, 0x0A, "B"), r"has the name b'\\n', but printable"),
    "same name": (changed(23, ord("a"), "B"), "entry 2 of 3 .* at offset 22 repeats the name 'a'"),
    "offset outside": (changed(18, 10**9), "record 'a': its offset 1000000000 in the index .* out"),
    "offset in the index": (changed(18, 20), "record 'a': its offset 20 lies inside the index"),
    "offset in a record": (changed(24, 40), "record 'b': its offset 40 lies inside record 'a'"),
    "too long": (changed(34, 10**9), "record 'a' of 1000000000 bases reaches to offset"),
    "blocks outside": (changed(38, 2**31), "2147483648 N blocks of record 'a' reaches to offset"),
    "block past the end": (changed(46, 400), r"record 'a': N block 1 at offset 42 covers \[4, 404"),
    "empty block": (changed(46, 0), "N block 1 at offset 42 covers"),
    "overlapping blocks": (changed(58, 5), r"mask block 2 at offset 58 covers \[5, 9\)"),
    "reserved in a record": (changed(70, 1), "the reserved word at offset 70 is 1"),
    "more behind": (write_twobit(RECORDS) + b"xy", "2 bytes follow the last record"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_file_is_refused_with_record_offset_and_remedy(twobit, content, message):
    path = twobit(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "download the file again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_offset_past_two_to_the_63_is_outside(twobit):
    data = bytearray(write_twobit(RECORDS, version=1))
    struct.pack_into("<Q", data, 18, 2**64 - 1)
    with pytest.raises(DataError, match=r"record 'a': its offset .* lies outside the file"):
        read(twobit(bytes(data)))


def test_random_damage_ends_in_a_documented_error_or_in_valid_codes(twobit):
    rng = np.random.default_rng(0)
    whole = write_twobit(RECORDS, order=">")
    for _ in range(500):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=3):
            data[place] = rng.integers(256)
        try:
            found = read(twobit(bytes(data)))
        except DataError:
            continue
        assert all((code & 7) <= 4 for codes in found.values() for code in codes)


def test_a_compressed_2bit_file_says_what_to_do(twobit):
    path = twobit(gzip.compress(write_twobit(RECORDS)), "genome.2bit.gz")
    with pytest.raises(DataError, match=r"a compressed \.2bit file; decompress it first"):
        read_fasta(path)


def test_a_missing_file_is_no_2bit_file(tmp_path):
    assert not is_twobit(tmp_path / "absent.2bit")
    with pytest.raises(DataError, match="cannot be read"):
        list(TwoBitReader(tmp_path / "absent.2bit"))


def test_the_alpha_globin_file_has_its_known_records(shared, tmp_path):
    store = prepare_genome(shared / "data" / "genomes" / "aglobin.2bit", cache_dir=tmp_path)
    assert store.names == ("human", "cow")
    assert store.num_bases == 136_001
    assert store.manifest["num_n"] == 1481
    assert store.fetch(Interval("human", 0, 4)).size == 4
