"""Reads bigWig and bigBed files whole, by the tables of the format and nothing of the package."""

import struct
import zlib

import numpy as np


class BigFile:
    """Header, records, sections and summaries of a file.

    Source: Kent et al. 2010, doi:10.1093/bioinformatics/btq351, supplementary tables.
    """

    def __init__(self, path):
        self.bytes = path.read_bytes()
        (self.magic, self.version, num_levels, records, self.data, self.index, self.fields, _, _,
         totals, self.buffer, _) = self._take("<IHHQQQHHQQIQ", 0)  # fmt: skip
        assert self._take("<I", len(self.bytes) - 4) == (self.magic,)
        self.levels = [self._take("<IIQQ", 64 + 24 * number) for number in range(num_levels)]
        self.totals = self._take("<Qdddd", totals) if totals else None
        self.records = self._records(records)

    def _take(self, layout, place):
        return struct.unpack_from(layout, self.bytes, place)

    def _records(self, place):
        magic, _, width, size, count, _ = self._take("<IIIIQQ", place)
        assert (magic, size) == (0x78CA8C91, 8)
        found = {}
        for item in self._leaves(place + 32, width + 8, width + 8):
            name = item[:width].rstrip(b"\0").decode()
            found[name] = struct.unpack("<II", item[width:])
        assert len(found) == count
        assert list(found) == sorted(found)
        return found

    def _leaves(self, place, leaf_size, inner_size):
        is_leaf, _, count = self._take("<BBH", place)
        size = leaf_size if is_leaf else inner_size
        for number in range(count):
            item = self.bytes[place + 4 + number * size : place + 4 + (number + 1) * size]
            if is_leaf:
                yield item
            else:
                yield from self._leaves(struct.unpack("<Q", item[-8:])[0], leaf_size, inner_size)

    def blocks(self, place):
        """Bounds and content of each block of an index, in order."""
        head = self._take("<IIQIIIIQII", place)
        assert head[0] == 0x2468ACE0
        found = [struct.unpack("<IIIIQQ", item) for item in self._leaves(place + 48, 32, 24)]
        assert len(found) == head[2]
        if found:
            assert head[3:5] == found[0][:2]
            assert head[5:7] == (found[-1][2], max(x[3] for x in found if x[2] == found[-1][2]))
        for *bounds, offset, size in found:
            content = zlib.decompress(self.bytes[offset : offset + size])
            assert len(content) <= self.buffer
            yield tuple(bounds), content

    def runs(self):
        """Record number, start and values of each section of a bigWig file."""
        assert self.magic == 0x888FFC26
        for bounds, content in self.blocks(self.index):
            record, start, end, step, span, kind, _, count = struct.unpack(
                "<IIIIIBBH", content[:24]
            )
            assert (step, span, kind, count, end) == (1, 1, 3, end - start, start + count)
            assert bounds == (record, start, record, end)
            yield record, start, np.frombuffer(content[24:], "<f4").tolist()

    def rows(self):
        """Record number, start, end and further columns of each row of a bigBed file."""
        assert self.magic == 0x8789F2EB
        for _, content in self.blocks(self.index):
            place = 0
            while place < len(content):
                end = content.index(b"\0", place + 12)
                yield (
                    *struct.unpack_from("<III", content, place),
                    content[place + 12 : end].decode(),
                )
                place = end + 1

    def summaries(self, level):
        """Record, start, end, count, least, largest, sum and squares of each bin of a level."""
        for _, content in self.blocks(self.levels[level][3]):
            yield from struct.iter_unpack("<IIIIffff", content)
