"""Open frames of sequences made by hand, and genes where pyrodigal is installed."""

import numpy as np
import pytest

from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.samples import reading_frames
from dnamdlm.tokens.nucleotide import reverse_complement


def dna(text):
    return np.array(["ACGTN".index(base) for base in text], np.uint8)


# TAA, TAG or TGA in every frame of both strands.
CLOSED = "TAACTAACTAACTTAGTTAGTTAG"


@pytest.mark.parametrize(
    ("text", "codons"),
    [("CCC" * 10, 10), ("CCCTAACCC", 3), ("AC", 0), ("CCCNCCCCC", 1), (CLOSED, 3)],
)
def test_the_longest_stretch_without_stop_is_found(text, codons):
    found = reading_frames.longest_open_frame(dna(text))
    assert found == max(_open_in(text), _open_in(_opposite(text)))
    if text != CLOSED:
        assert found == codons


def _opposite(text):
    return text[::-1].translate(str.maketrans("ACGTN", "TGCAN"))


def _open_in(text):
    best = 0
    for frame in range(3):
        run = 0
        for at in range(frame, len(text) - 2, 3):
            codon = text[at : at + 3]
            run = 0 if codon in ("TAA", "TAG", "TGA") or "N" in codon else run + 1
            best = max(best, run)
    return best


def test_both_strands_are_read():
    codes = dna("ATTGCTTAACCGGTTAACATGATC" * 4)
    assert reading_frames.longest_open_frame(codes) == reading_frames.longest_open_frame(
        reverse_complement(codes)
    )


def test_a_missing_gene_finder_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyrodigal", None)
    with pytest.raises(ConfigError, match="needs pyrodigal, which is not installed"):
        reading_frames.gene_finder()


def test_genes_of_bacteria_cover_most_of_their_genome(shared):
    pytest.importorskip("pyrodigal", reason="pyrodigal is not installed")
    from dnamdlm.data.genome.fasta import read_fasta

    genome = next(iter(read_fasta(shared / "data/genomes/ecoli_K12_MG1655.fa.gz").values()))
    finder = reading_frames.gene_finder()
    bases, coding, genes = reading_frames.gene_counts(finder, [genome[:40_000] & 7])[0]
    assert bases == 40_000
    assert 0.8 < coding / bases < 0.95
    assert 25 < genes < 55
