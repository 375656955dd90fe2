"""Fuzzing of the FASTA reader: `python -m tests.fuzz.fuzz_fasta --minutes 10`.

Each content is read with four policies and two block sizes, which must agree.
"""

import gzip

from tests.fuzz.harness import Fuzzer, instrumented

with instrumented():
    from dnamdlm.data.genome.fasta import FastaReader
    from dnamdlm.errors import DnamdlmError

PLAIN = b">chr1 first\nACGTACGT\nACGTNNNN\nacg\n>chr2\nRYKMACGTACGTACGT\n"
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
SEEDS = (
    PLAIN,
    PLAIN.replace(b"\n", b"\r\n"),
    PLAIN.replace(b"\n", b"\r"),
    b";comment\n>a\n\nAC\n\nGT\n>b\n>c\nAAAAA\nAAAAAAA\n",
    gzip.compress(PLAIN, mtime=0),
    gzip.compress(PLAIN, mtime=0) * 2,
    gzip.compress(PLAIN * 1, mtime=0) + BGZF_END,
    b">p\nMKVLAAGIVGLPNVGKSTLFNALTEQ\n",
    b"@r1\nACGT\n+\nIIII\n",
)


def outcome(path, **settings):
    """Records, or the error without its place, which small blocks may tell more exactly."""
    found = {}
    reader = FastaReader(path, **settings)
    try:
        for chunk in reader:
            found.setdefault(chunk.name, []).append(chunk.codes.tobytes())
    except DnamdlmError as error:
        return error
    records = {name: b"".join(parts) for name, parts in found.items()}
    assert {name: len(codes) for name, codes in records.items()} == reader.counts.lengths
    return records


def read(path):
    """All policies; small blocks give what one large block gives."""
    for settings in ({}, {"iupac": "random"}, {"iupac": "error", "rna": True}, {"iupac": "sets"}):
        whole = outcome(path, **settings)
        pieces = outcome(path, **settings, block_bytes=7)
        if isinstance(whole, DnamdlmError):
            assert isinstance(pieces, DnamdlmError), (whole, pieces)
            if not settings:
                first = whole
        else:
            assert whole == pieces
            first = None
    if first is not None:
        raise first


if __name__ == "__main__":
    Fuzzer("FASTA", read, SEEDS).main()
