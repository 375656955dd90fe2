"""Fuzzing of the .2bit reader: `python -m tests.fuzz.fuzz_twobit --minutes 10`.

Half of the seeds are small valid files in both byte orders and versions.
"""

import struct

from tests.fuzz.harness import Fuzzer, instrumented

with instrumented():
    from dnamdlm.data.genome.twobit import TwoBitReader


def twobit(order, version):
    """A file of two records: 10 bases with N and mask, and 4 bases."""
    wide = "Q" if version else "I"
    first = struct.pack(f"{order}6I", 10, 1, 3, 2, 1, 0) + struct.pack(f"{order}2I", 5, 0)
    first += bytes([0b00011011, 0b11100100, 0b00010000])
    second = struct.pack(f"{order}4I", 4, 0, 0, 0) + bytes([0b00011011])
    start = 16 + 2 * (2 + struct.calcsize(f"={wide}"))
    index = b"\x01a" + struct.pack(f"{order}{wide}", start)
    index += b"\x01b" + struct.pack(f"{order}{wide}", start + len(first))
    return struct.pack(f"{order}4I", 0x1A412743, version, 2, 0) + index + first + second


SEEDS = tuple(twobit(order, version) for order in "<>" for version in (0, 1))


def read(path):
    """All chunks, of two sizes, which must agree."""
    results = []
    for chunk_bases in (4, 1 << 20):
        found = {}
        reader = TwoBitReader(path, chunk_bases=chunk_bases)
        for chunk in reader:
            assert chunk.codes.size
            assert ((chunk.codes & 0x7F) <= 4).all()
            found.setdefault(chunk.name, []).append(chunk.codes.tobytes())
            # a forged length may announce 4 Gb; small chunks of it would take too long
            assert sum(map(len, found[chunk.name])) <= 4 * len(path.read_bytes())
        results.append({name: b"".join(parts) for name, parts in found.items()})
    assert results[0] == results[1]


if __name__ == "__main__":
    Fuzzer("2bit", read, SEEDS).main()
