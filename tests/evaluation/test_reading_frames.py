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


# NCBI, The Genetic Codes: the stop codons, written from there.
NCBI_STOPS = {
    1: "TAA TAG TGA", 2: "AGA AGG TAA TAG", 3: "TAA TAG", 4: "TAA TAG", 5: "TAA TAG", 6: "TGA",
    9: "TAA TAG", 10: "TAA TAG", 11: "TAA TAG TGA", 12: "TAA TAG TGA", 13: "TAA TAG", 14: "TAG",
    16: "TAA TGA", 21: "TAA TAG", 22: "TAA TCA TGA", 23: "TAA TAG TGA TTA", 25: "TAA TAG",
}  # fmt: skip


@pytest.mark.parametrize(("code", "stops"), NCBI_STOPS.items())
def test_each_genetic_code_has_its_stop_codons(code, stops):
    expected = sorted(int("".join(str("ACGT".index(x)) for x in y), 4) for y in stops.split())
    assert reading_frames.stop_codons(code).tolist() == expected


@pytest.mark.parametrize("code", [0, 7, 8, 17, 99])
def test_numbers_that_ncbi_has_not_given_are_refused(code):
    with pytest.raises(ConfigError, match=f"genetic_code={code} is unknown.* 1, 2, 3, 4, 5, 6, 9"):
        reading_frames.stop_codons(code)


def test_genes_are_found_with_codes_of_bacteria_alone():
    pytest.importorskip("pyrodigal", reason="pyrodigal is not installed")
    for code in (4, 11):
        reading_frames.gene_finder(code)
    with pytest.raises(ConfigError, match=r"one of \[4, 11\], and genetic_code=2 was given"):
        reading_frames.gene_finder(2)


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
