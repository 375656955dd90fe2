"""Fuzzing of the BED reader: `python -m tests.fuzz.fuzz_bed --minutes 10`.

Rows in equal rows out plus rejected, and every interval lies within its record.
"""

import gzip

from tests.fuzz.harness import Fuzzer, instrumented

with instrumented():
    from dnamdlm.data.genome.intervals import read_bed
    from dnamdlm.data.genome.splits import split_by_bed

LENGTHS = {"chr1": 1000, "chr2": 50, "MT": 1 << 33}
PLAIN = (
    b"# a\ntrack name=x\nchr1\t0\t10\ttrain\t0\t+\nchr2\t5\t50\ttest\nMT\t4294967300\t4294967400\n"
)
SEEDS = (PLAIN, PLAIN.replace(b"\n", b"\r\n"), gzip.compress(PLAIN, mtime=0), b"chr1 0 10\n",
         b"chr1\t0\t500\ttrain\nchr1\t500\t600\tvalid\nchr1\t600\t700\ttest\n")  # fmt: skip


def read(path):
    """Strictly and with bad rows left out, and as the splits of a genome."""
    table = read_bed(path, LENGTHS, bad_rows="skip")
    assert table.num_rows == len(table.intervals) + len(table.rejected)
    assert len(table.intervals) == len(table.names) == len(table.lines)
    for interval in table.intervals:
        assert 0 <= interval.start < interval.end <= LENGTHS[interval.chrom]
    strict = read_bed(path, LENGTHS)
    assert strict.intervals == table.intervals
    split_by_bed(strict, LENGTHS)


if __name__ == "__main__":
    Fuzzer("BED", read, SEEDS).main()
