"""Fuzzing of the GFF3 reader: `python -m tests.fuzz.fuzz_gff --minutes 10`.

Every feature lies within its record, and coding runs are sorted and apart.
"""

import gzip

from tests.fuzz.harness import Fuzzer, instrumented

with instrumented():
    from dnamdlm.data.genome.annotation import read_gff, region_classes

LENGTHS = {"chr1": 1000, "chr2": 50}
OFFSETS = {"chr1": 0, "chr2": 1000}
PLAIN = (
    b"##gff-version 3\nchr1\tx\tgene\t1\t90\t.\t+\t.\tID=g\nchr1\tx\tCDS\t10\t30\t.\t+\t0\tID=c\n"
    b"chr2\tx\tCDS\t40\t60\t.\t+\t0\tIs_circular=true\nchr9\tx\tCDS\t1\t9\t.\t+\t0\tID=e\n"
    b"chr1\tx\tCDS\t20\t1000\t.\t-\t0\tID=d\nchr2\tx\tCDS\t1\t50\t.\t.\t0\tID=e\n##FASTA\n>a\nAC\n"
)
SEEDS = (PLAIN, PLAIN.replace(b"\n", b"\r\n"), gzip.compress(PLAIN, mtime=0))


def read(path):
    """Features and the classes of all bases."""
    features = read_gff(path, LENGTHS, {"chr2"}).features
    for feature in features:
        assert 0 <= feature.interval.start < feature.interval.end
        assert feature.interval.end <= LENGTHS[feature.interval.chrom]
    classes = region_classes(features, LENGTHS, OFFSETS)
    edges = classes.runs.reshape(-1)
    assert (edges[1:] > edges[:-1]).all()
    assert classes.plane().size == 1050


if __name__ == "__main__":
    Fuzzer("GFF3", read, SEEDS).main()
