"""Compressed files: the content that went in, in bounded blocks, and every damage is noticed."""

import gzip
import io
import itertools
import zlib

import pytest
from Bio.bgzf import BgzfWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.data.textfile import open_blocks
from dnamdlm.errors import DataError

PARTS = st.lists(st.binary(max_size=300), min_size=1, max_size=5)


def bgzip(content):
    raw = io.BytesIO()
    with BgzfWriter(fileobj=raw) as out:
        out.write(content)
        out.flush()
        packed = raw.getvalue()
    return packed + bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@settings(max_examples=200, deadline=None)
# a byte-order mark at the start is left out, see below.
@given(
    parts=PARTS.filter(lambda parts: not b"".join(parts).startswith(b"\xef\xbb\xbf")),
    block_bytes=st.integers(1, 400),
)
def test_members_give_their_content_in_bounded_blocks(tmp_path_factory, parts, block_bytes):
    path = tmp_path_factory.mktemp("gzip") / "x.gz"
    path.write_bytes(b"".join(map(gzip.compress, parts)))
    raw = []
    blocks = list(open_blocks(path, block_bytes=block_bytes, on_raw=raw.append))
    assert b"".join(blocks) == b"".join(parts)
    assert all(0 < len(block) <= block_bytes for block in blocks)
    # two blocks that would fit into one are one.
    assert all(len(a) + len(b) > block_bytes for a, b in itertools.pairwise(blocks))
    assert b"".join(raw) == path.read_bytes()


def test_content_that_is_far_larger_than_its_file_comes_in_blocks(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"A" * 10_000_000) + gzip.compress(b"C"))
    sizes = [len(block) for block in open_blocks(path, block_bytes=4096)]
    assert max(sizes) == 4096
    assert sum(sizes) == 10_000_001


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "x.gz"
    whole = gzip.compress(b"ACGT" * 50) + gzip.compress(b"TTTT" * 50)
    border = len(gzip.compress(b"ACGT" * 50))
    for size in range(2, len(whole)):
        path.write_bytes(whole[:size])
        if size == border:
            # a whole member is a whole file, as far as gzip knows.
            assert b"".join(open_blocks(path)) == b"ACGT" * 50
            continue
        with pytest.raises(DataError, match=f"truncated gzip file, it ends at offset {size} "):
            list(open_blocks(path))


def test_every_truncation_of_a_bgzip_file_is_noticed(tmp_path):
    path = tmp_path / "x.gz"
    whole = bgzip(b"ACGT" * 50)
    for size in range(18, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="truncated"):
            list(open_blocks(path))
    path.write_bytes(whole)
    assert b"".join(open_blocks(path)) == b"ACGT" * 50


def test_every_flipped_byte_of_the_data_is_noticed(tmp_path):
    path = tmp_path / "x.gz"
    whole = gzip.compress(b"ACGTTGCAAC" * 20)
    # behind the header, whose time and name are free.
    for place in range(10, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"damaged|truncated|not gzip"):
            list(open_blocks(path))


@pytest.mark.parametrize("tail", [b"\0" * 600, b"ACGT", b"\x1e"])
def test_bytes_after_the_last_member_are_named_with_their_offset(tmp_path, tail):
    path = tmp_path / "x.gz"
    packed = gzip.compress(b"ACGT")
    path.write_bytes(packed + tail)
    with pytest.raises(DataError, match=f"bytes at offset {len(packed)} after the end"):
        list(open_blocks(path))


def test_a_second_member_is_checked_as_the_first(tmp_path):
    path = tmp_path / "x.gz"
    first, second = gzip.compress(b"ACGT"), bytearray(gzip.compress(b"ACGT"))
    second[-8] ^= 1
    path.write_bytes(first + second)
    with pytest.raises(DataError, match=f"in the block at offset {len(first)}") as refused:
        list(open_blocks(path))
    assert isinstance(refused.value.__cause__, zlib.error)
