"""Fuzzing of the label tables: `python -m tests.fuzz.fuzz_labels --minutes 10`.

The table of records (`data.labels`) and the files of labelled sequences: CSV, TSV and FASTA.
"""

import gzip

from tests.fuzz.harness import Fuzzer, instrumented

with instrumented():
    from dnamdlm.data.genome.record_classes import read_labels
    from dnamdlm.data.tasks.sequence_inputs import encode_dna
    from dnamdlm.data.tasks.task_tables import read_label_rows

LENGTHS = {"chr1": 1000, "chr2": 50}
CSV = b'name,sequence,label\na,ACGT,0\nb,"ACGTN",1\n"c ""x""",acgt,0\n'
SEEDS = (
    b"# records\nchr1\tyeast\n\nchr2\thuman\n",
    CSV,
    CSV.replace(b",", b"\t"),
    gzip.compress(CSV, mtime=0),
    b">a|0\nACGT\nACG\n>b label=1\nAC\n",
)


def read(path):
    """As a table of records, and as labelled sequences."""
    if path.suffix == ".labels":
        table = read_labels(path, LENGTHS)
        assert set(table) <= set(LENGTHS)
        assert all(table.values())
        return
    rows = read_label_rows(path)
    assert len(rows.sequences) == len(rows.names) == len(rows.labels["label"])
    assert len(encode_dna(rows.names, rows.sequences, str(path))) == len(rows.names)


if __name__ == "__main__":
    Fuzzer("label tables", read, SEEDS, suffixes=(".labels", ".csv", ".tsv", ".fa")).main()
