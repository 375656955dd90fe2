"""Fuzzing of the VCF reader: `python -m tests.fuzz.fuzz_vcf --minutes 10`.

Rows in equal rows out, every allele has a reason or agrees with the genome; of a row that is not
VCF the reason is that.
"""

import atexit
import gzip
import logging
import shutil
import tempfile
from pathlib import Path

from tests.fuzz.harness import Fuzzer, instrumented

with instrumented():
    from dnamdlm.data.genome.store import prepare_genome
    from dnamdlm.data.variants.variant_places import Places, bases, check_variants
    from dnamdlm.data.variants.vcf import REASONS, VariantFile

PLAIN = (
    b"##fileformat=VCFv4.2\n##contig=<ID=chr1>\n"
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\n"
    b"chr1\t1\t.\tA\tC\t.\tPASS\t.\tGT\t0/1\nchr1\t2\trs1\tCGT\tC,CA\t3\t.\tA=1\tGT\t1/1\n"
    b"chr1\t4\t.\tT\t<DEL>\t.\t.\t.\tGT\t.\nchrM\t1\t.\tG\t*\t.\t.\t.\tGT\t.\n"
    b"chrM\t2\t.\tG\tG[chr1:5[\t.\t.\t.\tGT\t.\nchr1\t9\t.\tN\t.\t.\t.\t.\tGT\t.\n"
)
SEEDS = (PLAIN, PLAIN.replace(b"\n", b"\r\n"), gzip.compress(PLAIN, mtime=0))
FOLDER = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
(FOLDER / "g.fa").write_text(">chr1\nACGTACGTNNACGT\n>chrM\nGGCC\n")
STORE = prepare_genome(FOLDER / "g.fa", cache_dir=FOLDER / "cache")


def read(path):
    """All rows, their reasons, and the comparison with the genome, lenient and strict."""
    file = VariantFile(path)
    rows = list(file.rows())
    places = Places(STORE, match_names=True)
    for row in rows:
        record, reasons = places.record(row.chrom), places.reasons(row)
        assert len(reasons) == len(row.alts) > 0
        assert set(reasons) <= {None, *REASONS}
        assert ("malformed" in reasons) == (row.fault is not None)
        if None in reasons:
            assert bases(STORE, record, row.start, row.start + len(row.ref)) == row.ref
    counts = check_variants(file, places, max_mismatch=1.0)
    assert counts.rows == len(rows)
    assert counts.alleles == sum(len(row.alts) for row in rows)
    check_variants(file, Places(STORE))


if __name__ == "__main__":
    # rows that are not VCF are counted in a warning, here for nearly every input.
    logging.disable(logging.WARNING)
    Fuzzer("VCF", read, SEEDS).main()
