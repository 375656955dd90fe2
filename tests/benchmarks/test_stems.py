"""Genes of tRNAs: their stems, what pairs positions without a network, and the table of stems."""

import numpy as np
import pytest

from benchmarks.quality.stems import found_pairs, in_windows, read_parts, table_rows
from benchmarks.stem_picture import draw_stems
from benchmarks.trna_genes import (
    Gene,
    corrected,
    covariation,
    helix_lengths,
    pairs_of,
    read_trna_genes,
    stem_pairs,
    strongest,
)
from dnamdlm.errors import DataError

# the phenylalanine tRNA of yeast, whose crystal structure numbers its bases 1 to 76 (with CCA).
PHE = "GCGGATTTAGCTCAGTTGGGAGAGCGCCAGACTGAAGATCTGGAGGTCCTGTGTTCGATCCACAGAATTCGCA"
GENE = Gene("Phe", "Phe", PHE)


def test_stems_of_the_trna_of_the_crystal_structure():
    # numbers of Kim et al. 1974 and Robertus et al. 1974, from 1.
    stems = {
        name: [(i + 1, j + 1) for i, j in pairs] for name, pairs in stem_pairs(len(PHE)).items()
    }
    assert stems == {
        "acceptor": [(1, 72), (2, 71), (3, 70), (4, 69), (5, 68), (6, 67), (7, 66)],
        "D": [(10, 25), (11, 24), (12, 23), (13, 22)],
        "anticodon": [(27, 43), (28, 42), (29, 41), (30, 40), (31, 39)],
        "T": [(49, 65), (50, 64), (51, 63), (52, 62), (53, 61)],
    }
    letters = [PHE[i - 1] + PHE[j - 1] for pairs in stems.values() for i, j in pairs]
    assert sum(pair in ("AT", "TA", "GC", "CG", "GT", "TG") for pair in letters) == len(letters)
    assert pairs_of(GENE) == stem_pairs(73)
    assert pairs_of(Gene("x", "", PHE[:70])) is None
    assert pairs_of(Gene("x", "", "A" * 73)) is None


def test_records_that_are_no_usual_gene_are_left_out(tmp_path):
    file = tmp_path / "g.fa"
    file.write_text(
        f">a_tRNA-Phe-GAA-1-1 (x) 73 bp Sc: 70.1\n{PHE[:40]}\n{PHE[40:]}\n>again\n{PHE.lower()}\n"
        f">weak_tRNA-Ala-AGC-9-1 Sc: 49.9\n{PHE[:-1]}\n>short\nACGT\n>other\n{PHE[:-1]}N\n"
        f">rna\n{PHE[::-1].replace('T', 'U')}\n"
    )
    found = read_trna_genes(file)
    assert [(gene.name, gene.amino) for gene in found] == [("a_tRNA-Phe-GAA-1-1", "Phe"),
                                                            ("rna", "")]  # fmt: skip
    assert found[0].text == PHE
    assert found[1].text == PHE[::-1]


def test_the_longest_helix_of_letters():
    found = helix_lengths("GGGAAACCC")
    assert found[0, 8] == found[1, 7] == found[2, 6] == 3
    assert np.array_equal(found, found.T)
    # the loop has at least three bases.
    assert helix_lengths("GGAACC")[1, 4] == 0
    assert found[0, 3] == 0


def test_columns_that_vary_together_covary():
    rng = np.random.default_rng(0)
    first = rng.choice(list("ACGT"), 400)
    partner = dict(zip("ACGT", "TGCA", strict=True))
    others = rng.choice(list("ACGT"), (400, 4))
    texts = [
        a + "".join(b) + partner[a] for a, b in zip(first.tolist(), others.tolist(), strict=True)
    ]
    found = covariation(texts)
    assert strongest(found, 1) == {(0, 5)}
    # before the correction the mutual information is the entropy of a column.
    counts = np.array([np.sum(first == base) for base in "ACGT"]) / 400
    entropy = -(counts * np.log(counts)).sum()
    assert found[0, 5] < entropy < found[0, 5] + 0.5 * entropy
    assert corrected(np.zeros((3, 3))).tolist() == np.zeros((3, 3)).tolist()


def test_the_share_of_pairs_of_stems_among_the_strongest():
    values = np.zeros((73, 73))
    stems = stem_pairs(73)
    for i, j in stems["acceptor"] + stems["T"]:
        values[i, j] = values[j, i] = 1.0
    # pairs that are too near do not count, and nine others take the rest.
    values[np.arange(72), np.arange(72) + 1] = 9.0
    values[20, np.arange(60, 69)] = 0.5
    found = found_pairs(GENE, values)
    assert found == {"all stems": pytest.approx(12 / 21), "acceptor": 1.0, "D": 0.0,
                     "anticodon": 0.0, "T": 1.0}  # fmt: skip


def test_the_table_has_means_over_genes_and_chance():
    sure = np.zeros((73, 73))
    for pairs in stem_pairs(73).values():
        for i, j in pairs:
            sure[i, j] = sure[j, i] = 1
    genes = [GENE, Gene("Phe2", "Phe", PHE), Gene("Ala", "Ala", PHE)]
    none = np.zeros((73, 73))
    none[30, 60:] = none[40, 60:] = 1
    maps = [{"model": sure}, {"model": sure}, {"model": none, "rare": sure}]
    model, rare, chance = table_rows(genes, maps, seed=0)
    assert model[:3] == ("model", 3, "0.67 (0.00 to 1.00)")
    assert rare[:2] == ("rare", 1)
    # pairs at least 4 apart: 69 * 70 / 2.
    assert chance[:3] == ("chance", 3, f"{21 / (69 * 70 / 2):.3f}")


def test_genes_lie_whole_within_their_windows():
    genes = [Gene(str(n), "", "ACGT" * 18) for n in range(50)]
    placed = in_windows(genes, 1)
    assert len({part.start for part in placed}) > 10
    for part in (*placed, *in_windows(genes, None)):
        assert len(part.letters) == 96
        first, last = map(int, part.locus.partition(":")[2].split("-"))
        assert part.letters[first:last] == part.gene.text
        assert set(part.letters[:first] + part.letters[last:]) == {"N"}
    assert {part.start for part in in_windows(genes, None)} == {12}


def test_copies_of_tested_genes_are_not_learned_from(tmp_path):
    other = "".join(np.random.default_rng(1).choice(list("ACGT"), 80))
    near = PHE[:20] + "A" + PHE[21:]
    learned, test = tmp_path / "l.fa", tmp_path / "t.fa"
    learned.write_text(f">a\n{near}\n>b\n{other}\n")
    test.write_text(f">y_tRNA-Phe-GAA\n{PHE}\n")
    kept, num_copies, tested = read_parts([learned], test)
    assert ([gene.name for gene in kept], num_copies) == (["b"], 1)
    assert [gene.amino for gene in tested] == ["Phe"]
    test.write_text(f">x\n{other}\n")
    with pytest.raises(DataError, match="2 genes to learn from and 0 to interpret"):
        read_parts([learned], test)


def test_the_picture_is_written(tmp_path):
    draw_stems(tmp_path / "p" / "map.png", [np.ones((73, 73))] * 2)
    assert (tmp_path / "p" / "map.png").read_bytes().startswith(b"\x89PNG")
