"""The two indexes of bigWig and bigBed files, as bytes: records by name, and blocks by place.

All numbers are little-endian. Offsets count from the beginning of the file. Records are numbered
from 0 in the order of the genome; positions are 0-based and half-open.

Source: Kent et al. 2010, doi:10.1093/bioinformatics/btq351, supplementary tables 8 to 17.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

RECORDS_MAGIC, BLOCKS_MAGIC = 0x78CA8C91, 0x2468ACE0
_PER_NODE = 256
_NODE_HEAD = struct.Struct("<BBH")
_FILE_HEAD = struct.Struct("<IHHQQQHHQQIQ")
_VERSION = 4
FILE_HEAD_BYTES = _FILE_HEAD.size

BLOCK = np.dtype(
    [
        ("record", "<u4"),
        ("start", "<u4"),
        ("last_record", "<u4"),
        ("end", "<u4"),
        ("offset", "<u8"),
        ("size", "<u8"),
    ]
)
"""A block of data: from which position of which record to which, and where it lies in the file."""


def file_head(
    magic: int,
    places: tuple[int, int, int],
    *,
    buffer: int,
    levels: int = 0,
    fields: int = 0,
    totals: int = 0,
) -> bytes:
    """The first bytes of a file.

    Args:
        magic: kind of the file.
        places: where the index of records, the data, and the index of blocks begin.
        buffer: bytes of the largest block before it is compressed.
        levels: how many levels of summaries there are.
        fields: columns of a bigBed file.
        totals: where the totals are; 0 without any.
    """
    return _FILE_HEAD.pack(magic, _VERSION, levels, *places, fields, fields, 0, totals, buffer, 0)


def records_index(lengths: Mapping[str, int], offset: int) -> bytes:
    """The B+ tree of records, whose keys are sorted by bytes.

    Args:
        lengths: record name -> bases, in the order of the genome.
        offset: where the tree begins in the file.

    >>> len(records_index({"chrI": 100, "chrII": 50}, 64))
    62
    """
    names = [name.encode("utf-8") for name in lengths]
    width = max(map(len, names))
    order = sorted(range(len(names)), key=names.__getitem__)
    sizes = list(lengths.values())
    leaves = [names[i].ljust(width, b"\0") + struct.pack("<II", i, sizes[i]) for i in order]
    head = struct.pack(
        "<IIIIQQ", RECORDS_MAGIC, min(_PER_NODE, len(names)), width, 8, len(names), 0
    )
    return head + _tree(leaves, offset + len(head), lambda items: items[0][:width])


def blocks_index(blocks: NDArray[np.void], offset: int, *, end: int, per_block: int) -> bytes:
    """The R tree of blocks that are in order.

    Args:
        blocks: of the type `BLOCK`, (n,), in ascending order of places.
        offset: where the tree begins in the file.
        end: where the data end.
        per_block: items of a block at most.
    """
    bounds = _bounds(blocks) if len(blocks) else (0, 0, 0, 0)
    head = struct.pack(
        "<IIQIIIIQII", BLOCKS_MAGIC, _PER_NODE, len(blocks), *bounds, end, per_block, 0
    )
    leaves = [block.tobytes() for block in blocks]
    return head + _tree(leaves, offset + len(head), _span)


def _bounds(blocks: NDArray[np.void]) -> tuple[int, int, int, int]:
    """First place and last place of blocks: record, start, record, end."""
    last_record = int(blocks["last_record"][-1])
    is_last = blocks["last_record"] == last_record
    return (
        int(blocks["record"][0]), int(blocks["start"][0]),
        last_record, int(blocks["end"][is_last].max()),
    )  # fmt: skip


def _span(items: Sequence[bytes]) -> bytes:
    """What a node says of its items, which begin with their own bounds."""
    bounds = np.frombuffer(b"".join(item[:16] for item in items), np.dtype(BLOCK.descr[:4]))
    return struct.pack("<IIII", *_bounds(bounds))


def _tree(
    leaves: Sequence[bytes], offset: int, summary: Callable[[Sequence[bytes]], bytes]
) -> bytes:
    """All nodes of a tree, the root first, each level after the one above it."""
    levels: list[list[list[bytes]]] = [_nodes(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_nodes([summary(node) for node in levels[-1]]))
    levels.reverse()
    found, begin = [], offset
    for depth, level in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        added = 0 if is_leaf else 8
        sizes = [_NODE_HEAD.size + sum(len(item) + added for item in node) for node in level]
        child = begin + sum(sizes)
        below = iter(levels[depth + 1] if not is_leaf else ())
        for node in level:
            found.append(_NODE_HEAD.pack(is_leaf, 0, len(node)))
            for item in node:
                found.append(item)
                if not is_leaf:
                    found.append(struct.pack("<Q", child))
                    child += _size_of(next(below), is_leaf=depth + 1 == len(levels) - 1)
        begin += sum(sizes)
    return b"".join(found)


def _nodes(items: Sequence[bytes]) -> list[list[bytes]]:
    return [list(items[i : i + _PER_NODE]) for i in range(0, max(len(items), 1), _PER_NODE)]


def _size_of(node: Sequence[bytes], *, is_leaf: bool) -> int:
    return _NODE_HEAD.size + sum(len(item) + (0 if is_leaf else 8) for item in node)
