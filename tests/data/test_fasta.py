"""The FASTA reader: every fault has a named outcome, and good files equal plain string handling."""

import gzip
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnamdlm.data.genome.fasta import FastaReader, read_fasta
from dnamdlm.errors import DataError

LETTERS = {"A": 0, "C": 1, "G": 2, "T": 3}
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def expected_codes(sequence):
    """Codes by a dictionary, one letter at a time."""
    return [LETTERS.get(s.upper(), 4) | (0x80 if s.islower() else 0) for s in sequence]


def bgzip(data, block=5000, end=BGZF_END):
    out = b""
    for start in range(0, len(data), block):
        piece = data[start : start + block]
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(piece) + deflate.flush()
        header = bytes.fromhex("1f8b08040000000000ff0600424302 00".replace(" ", ""))
        size = len(header) + 2 + len(body) + 8 - 1
        tail = struct.pack("<II", zlib.crc32(piece), len(piece))
        out += header + struct.pack("<H", size) + body + tail
    return out + end


def random_bases(size):
    rng = np.random.default_rng(0)
    return rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), size).tobytes()


@pytest.fixture
def fasta(tmp_path):
    def write(content, name="genome.fa"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


PROTEIN = ">p1\nMKVLAAGIVGLPNVGKSTLFNALTEQHPELRSWFFDKE\n"
GENBANK = ">c1\n        1 acgtacgtac gtacgtacgt\n"
FAULTS = {
    "empty file": (b"", "the file is empty"),
    "only blank lines": (b"\n\n\n", "no record"),
    "only empty records": (b">a\n>b\n", "all 2 records are empty"),
    "duplicate names": (b">a\nAC\n>b\nAC\n>a x\nGT\n", "line 5: .*'a' was used before in line 1"),
    "no name": (b">a\nAC\n>\nAC\n", "line 3: the header has no name"),
    "space before the name": (b"> a\nAC\n", "line 1: the header has no name"),
    "name is not ASCII": (">\u00e9\nAC\n".encode(), "line 1: .* outside printable ASCII"),
    "NUL in a header": (b">a b\0c\nAC\n", "line 1: NUL byte in a header"),
    "FASTQ": (b"@r1\nACGT\n+\nIIII\n", "line 1: this is FASTQ; convert it"),
    "protein": (PROTEIN.encode(), "line 2, base 4: .*looks like protein, .*% of the letters"),
    "protein without telling letters": (b">p\nMKVRSWDHVVKMSWAA\n", "record 'p' looks like protein"),
    "RNA": (
        b">r\nACGU\n",
        "record 'r', line 2, base 4: U means RNA; write T for U, or set data.rna=true",
    ),
    "gap": (b">a\nAC\nA-GT\n", "record 'a', line 3, base 4: gap character '-'"),
    "stop": (b">a\nACG*\n", "base 4: gap or stop character"),
    "blank within a line": (b">a\nAC GT\n", "base 3: blank ' ' between bases"),
    "digits": (GENBANK.encode(), "between bases, as in GenBank text"),
    "NUL": (b">a\nACGT\nAC\0GT\n", "record 'a', line 3, base 7: NUL byte"),
    "not ASCII": (b">a\nAC\xe9GT\n", "line 2, base 3: byte 0xe9 is not ASCII"),
    "byte-order mark twice": (b"\xef\xbb\xbf\xef\xbb\xbf>a\nACGT\n", "line 1"),
    "UTF-16": (">a\nACGT\n".encode("utf-16"), "UTF-16"),
    "HTML": (b"<!DOCTYPE html>\n<html>404</html>", "looks like an HTML or XML page"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "no header": (b"ACGTACGT\n", "line 1: 'ACGTACGT' comes before any header"),
    "GenBank": (b"LOCUS       X 100 bp\n", "GenBank or EMBL record"),
    "binary": (b"\x00\x01\x02\x03" * 20, "this is a binary file"),
    ".2bit": (struct.pack("<I", 0x1A412743) + bytes(12), "this is a .2bit file; .*twoBitToFa"),
    "bzip2": (b"BZh91AY&SY" + bytes(20), "this is a bzip2 file"),
    "zip": (b"PK\x03\x04" + bytes(30), "this is a zip archive"),
    "header inside a line": (b">a\nACGT>b\nAC\n", "base 5: '>' is not a nucleotide code"),
    "other letter": (b">a\nACGTZACGT\n", "base 5: 'Z' is not a nucleotide code"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_file_is_refused_with_its_place_and_a_remedy(fasta, content, message):
    path = fasta(content)
    with pytest.raises(DataError, match=message) as caught:
        read_fasta(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compress", [gzip.compress, bgzip], ids=["gzip", "bgzip"])
@pytest.mark.parametrize("name", ["RNA", "NUL", "duplicate names", "FASTQ"])
def test_faults_are_found_in_compressed_files_too(fasta, compress, name):
    content, message = FAULTS[name]
    with pytest.raises(DataError, match=message):
        read_fasta(fasta(compress(content), "genome.fa.gz"))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_fasta(tmp_path / "absent.fa")
    with pytest.raises(DataError, match="this is a folder"):
        read_fasta(tmp_path)


GOOD = {
    "CRLF": b">a\r\nACGT\r\nAC\r\n>b\r\nGG\r\n",
    "CR": b">a\rACGT\rAC\r>b\rGG\r",
    "blank lines": b"\n>a\n\nACGT\n\nAC\n\n\n>b\nGG\n\n",
    "ragged lines": b">a\nA\nCGTA\nC\n>b\nG\nG",
    "mixed line ends": b">a x\nACGT\r\nAC\r>b y\nGG",
    "comments": b";first\n>a\n;note\nACGT\n;>z\nAC\n>b\nGG\n",
    "empty record between": b">a\nACGTAC\n>z\n>b\nGG\n",
    "empty record at the end": b">a\nACGTAC\n>b\nGG\n>z\n",
    "blank lines at the end": b">a\nACGTAC\n>b\nGG\n\n\n\n",
    "no final newline": b">a\nACGTAC\n>b\nGG",
    "names as paths": b">a ../../etc/passwd\nACGTAC\n>b\nGG\n",
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 4096])
def test_layout_does_not_change_the_bases(fasta, content, block_bytes):
    reader = FastaReader(fasta(content), block_bytes=block_bytes)
    found = {}
    for chunk in reader:
        found.setdefault(chunk.name, []).extend(chunk.codes.tolist())
    assert found == {"a": expected_codes("ACGTAC"), "b": expected_codes("GG")}
    assert reader.counts.lengths == {"a": 6, "b": 2}
    assert reader.counts.empty_records == (["z"] if b"\n>z\n" in content else [])


def test_ambiguity_codes_become_n_and_are_counted(fasta):
    reader = FastaReader(fasta(">a\nACGTACGTRYryACGN\n"))
    codes = np.concatenate([chunk.codes for chunk in reader])
    assert codes.tolist() == expected_codes("ACGTACGTRYryACGN")
    assert reader.counts.iupac == {"R": 2, "Y": 2}


def test_ambiguity_codes_can_be_refused(fasta):
    with pytest.raises(DataError, match=r"base 3: ambiguity code 'R'; set data\.iupac=n"):
        read_fasta(fasta(">a\nACRT\n"), iupac="error")


@pytest.mark.parametrize("block_bytes", [1, 3, 4096])
def test_ambiguity_codes_are_drawn_from_their_set_by_record_and_position(fasta, block_bytes):
    sets = {"R": "AG", "y": "CT", "K": "GT", "N": "N", "b": "CGT"}
    text = "ACGTNACGT" + "".join(sets) + "ACGTacgt"
    found = {}
    for name, content in {
        "wide": f">x\nTTTTT\n>a\n{text}\n>b\n{text}\n",
        "narrow": ">b\n" + "\n".join(text) + f"\n>a\n{text}\n",
    }.items():
        reader = FastaReader(fasta(content), iupac="random", block_bytes=block_bytes)
        found[name] = {}
        for chunk in reader:
            found[name].setdefault(chunk.name, []).extend(chunk.codes.tolist())
        assert reader.counts.iupac == {"R": 2, "Y": 2, "K": 2, "B": 2}
    assert found["wide"]["a"] == found["narrow"]["a"]
    assert found["wide"]["b"] == found["narrow"]["b"]
    for code, letter in zip(found["wide"]["a"], text, strict=True):
        assert "ACGTN"[code & 7] in sets.get(letter, letter.upper())
        assert (code >= 0x80) == letter.islower()


def test_every_base_of_a_set_is_drawn_equally_often(fasta):
    path = fasta(">a\n" + "ACGTACGTBCGT" * 3000 + "\n")
    drawn = read_fasta(path, iupac="random")["a"][8::12]
    counts = np.bincount(drawn, minlength=5)
    assert counts[0] == counts[4] == 0
    # 3000 draws of one in three: mean 1000, standard deviation 26.
    assert all(abs(count - 1000) < 130 for count in counts[1:4])


def test_rna_is_read_on_request(fasta):
    assert read_fasta(fasta(">a\nACGUu\n"), rna=True)["a"].tolist() == [0, 1, 2, 3, 0x83]


def test_a_truncated_gzip_file_is_refused_at_every_length(fasta):
    whole = gzip.compress(b">a\n" + random_bases(400))
    for size in range(1, len(whole)):
        message = "truncated gzip file" if size > 1 else "before any header"
        with pytest.raises(DataError, match=message):
            read_fasta(fasta(whole[:size]))


def test_a_flipped_byte_in_a_bgzip_file_is_refused_with_the_offset(fasta):
    data = bytearray(bgzip(b">a\n" + random_bases(20_000)))
    data[len(data) // 2] ^= 1
    with pytest.raises(DataError, match=r"damaged gzip data in the block at offset \d+"):
        read_fasta(fasta(bytes(data)))


def test_a_bgzip_file_cut_anywhere_is_refused(fasta):
    whole = bgzip(b">a\n" + random_bases(3000), block=1000)
    for size in range(len(BGZF_END), len(whole), 7):
        with pytest.raises(DataError, match=r"truncated|end-of-file block is missing"):
            read_fasta(fasta(whole[:size]))


def test_a_bgzip_file_without_its_end_marker_is_refused(fasta):
    with pytest.raises(DataError, match="end-of-file block is missing"):
        read_fasta(fasta(bgzip(b">a\n" + b"ACGT" * 5000, end=b"")))


def test_foreign_bytes_after_gzip_data_are_refused(fasta):
    with pytest.raises(DataError, match="after the end of the gzip data"):
        read_fasta(fasta(gzip.compress(b">a\nACGT\n") + b"trailing"))


def test_a_gzip_file_that_expands_a_thousandfold_is_read_in_small_blocks(fasta):
    path = fasta(gzip.compress(b">a\n" + b"A" * 5_000_000 + b"C"))
    sizes = [chunk.codes.size for chunk in FastaReader(path, block_bytes=1 << 16)]
    assert sum(sizes) == 5_000_001
    assert max(sizes) <= 1 << 16


RECORDS = st.lists(
    st.text(alphabet="ACGTNacgtnRy", max_size=300).filter(
        lambda s: sum(c in "Ry" for c in s) * 2 <= len(s)
    ),
    min_size=1,
    max_size=5,
).filter(any)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    records=RECORDS,
    width=st.integers(1, 90),
    eol=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    compress=st.sampled_from([bytes, gzip.compress, bgzip]),
    block_bytes=st.integers(1, 400),
)
def test_any_file_equals_its_strings(fasta, records, width, eol, compress, block_bytes):
    content = b""
    for number, sequence in enumerate(records):
        lines = [sequence[i : i + width].encode() for i in range(0, len(sequence), width)]
        content += eol.join([b">r%d some text" % number, *lines]) + eol
    reader = FastaReader(fasta(compress(content)), block_bytes=block_bytes)
    found = {}
    for chunk in reader:
        found.setdefault(chunk.name, []).extend(chunk.codes.tolist())
    assert found == {f"r{i}": expected_codes(s) for i, s in enumerate(records) if s}


def test_a_template_gives_sets_of_bases(fasta):
    path = fasta(">t\nACgtRn.\n.Y\n")
    assert read_fasta(path, iupac="sets")["t"].tolist() == [1, 2, 4, 8, 5, 15, 15, 15, 10]
    # a template of nothing but ambiguity codes is no protein.
    assert read_fasta(fasta(">t\nRRYYK\n"), iupac="sets")["t"].tolist() == [5, 5, 10, 10, 12]


def test_protein_is_no_template(fasta):
    with pytest.raises(DataError, match="protein"):
        read_fasta(fasta(PROTEIN), iupac="sets")
    with pytest.raises(DataError, match="gap character '-'"):
        read_fasta(fasta(">t\nAC-GT\n"), iupac="sets")
