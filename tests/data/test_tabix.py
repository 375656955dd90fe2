"""Indexes of bgzip VCF files: every region gives the rows that a search through the file gives."""

import random
import struct
import zlib

import pytest
from Bio.bgzf import BgzfReader, BgzfWriter

from dnamdlm.data.variants.tabix import tabix_index

HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def write(path, rows):
    with BgzfWriter(str(path)) as file:
        file.write(HEAD + "".join(f"{chrom}\t{pos}\t.\t{ref}\tA\t.\t.\t{info}\n"
                                  for chrom, pos, ref, info in rows))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def rows():
    draw = random.Random(1)
    found = []
    for chrom, size in (("chr2", 40_000_000), ("chr10", 300_000), ("chrM", 16_000)):
        places = sorted(draw.sample(range(1, size), 2500))
        found += [
            (chrom, place, "ACGTAC"[: draw.randint(1, 6)],
             f"AC=1;END={place + 90_000}" if draw.random() < 0.02 else "AC=" + "1" * 60)
            for place in places
        ]  # fmt: skip
    return found


class Index:
    """A reader of the format that knows nothing of the package."""

    def __init__(self, content):
        # a bgzip file is gzip files one after the other.
        data, rest = b"", content
        while rest:
            member = zlib.decompressobj(31)
            data, rest = data + member.decompress(rest), member.unused_data
        assert data[:4] == b"TBI\x01"
        count, *self.columns, size = struct.unpack_from("<8i", data, 4)
        self.names = data[36 : 36 + size].decode().split("\0")[:-1]
        assert len(self.names) == count
        place, self.records = 36 + size, []
        for _ in range(count):
            (num_bins,) = struct.unpack_from("<i", data, place)
            place, bins = place + 4, {}
            for _ in range(num_bins):
                number, chunks = struct.unpack_from("<Ii", data, place)
                found = struct.unpack_from(f"<{2 * chunks}Q", data, place + 8)
                bins[number] = list(zip(found[::2], found[1::2], strict=True))
                place += 8 + 16 * chunks
            (windows,) = struct.unpack_from("<i", data, place)
            self.records.append((bins, struct.unpack_from(f"<{windows}Q", data, place + 4)))
            place += 4 + 8 * windows
        assert place == len(data)

    def rows(self, path, name, first, stop):
        """Lines of chunks whose bins touch a region, from the first offset of its window on."""
        bins, windows = self.records[self.names.index(name)]
        begins = ((26, 1), (23, 9), (20, 73), (17, 585), (14, 4681))
        wanted = {0} | {
            number
            for shift, begin in begins
            for number in range(begin + (first >> shift), begin + ((stop - 1) >> shift) + 1)
        }
        least = windows[first >> 14] if first >> 14 < len(windows) else 1 << 63
        with BgzfReader(str(path)) as file:
            for number in sorted(wanted & set(bins)):
                for start, end in bins[number]:
                    if end <= least:
                        continue
                    file.seek(start)
                    while file.tell() < end and (line := file.readline()):
                        yield line.rstrip("\n")


def spans(row):
    chrom, pos, ref, info = row
    end = int(info.split("END=")[1]) if "END=" in info else 0
    return chrom, pos - 1, max(pos - 1 + len(ref), end)


def test_every_region_gives_its_rows(tmp_path, rows):
    path = write(tmp_path / "x.vcf.gz", rows)
    index = Index(tabix_index(path))
    assert index.names == ["chr2", "chr10", "chrM"]
    assert index.columns == [2, 1, 2, 0, ord("#"), 0]
    draw = random.Random(2)
    for _ in range(60):
        name, size = draw.choice((("chr2", 40_000_000), ("chr10", 300_000), ("chrM", 16_000)))
        first = draw.randrange(size)
        stop = first + draw.choice((1, 50, 20_000, 5_000_000))
        expected = {
            (row[0], str(row[1])) for row in rows
            if spans(row)[0] == name and spans(row)[1] < stop and first < spans(row)[2]
        }  # fmt: skip
        found = {tuple(line.split("\t")[:2]) for line in index.rows(path, name, first, stop)}
        assert expected <= found


def test_another_program_finds_the_same(tmp_path, rows):
    pysam = pytest.importorskip("pysam", reason="pysam is not installed")
    path = write(tmp_path / "x.vcf.gz", rows)
    (tmp_path / "x.vcf.gz.tbi").write_bytes(tabix_index(path))
    with pysam.TabixFile(str(path)) as file:
        for first in range(0, 300_000, 7_001):
            found = [int(line.split("\t")[1]) for line in file.fetch("chr10", first, first + 900)]
            expected = [
                row[1] for row in rows
                if row[0] == "chr10" and spans(row)[1] < first + 900 and first < spans(row)[2]
            ]  # fmt: skip
            assert found == expected


@pytest.mark.parametrize(
    "rows",
    [
        [("a", 9, "A", "."), ("a", 8, "A", ".")],
        [("a", 9, "A", "."), ("b", 8, "A", "."), ("a", 10, "A", ".")],
        [("a", 1 << 29, "AA", ".")],
        [("a", 0, "A", ".")],
        [("a", "x", "A", ".")],
    ],
    ids=["falling", "torn record", "too far", "before the first", "not a number"],
)
def test_a_file_that_is_not_in_order_has_no_index(tmp_path, rows):
    assert tabix_index(write(tmp_path / "x.vcf.gz", rows)) is None


def test_a_file_without_rows_has_an_empty_index(tmp_path):
    index = Index(tabix_index(write(tmp_path / "x.vcf.gz", [])))
    assert (index.names, index.records) == ([], [])
