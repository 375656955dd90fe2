"""Suites of variants from a folder: where tables lie, which rows count, and what is written."""

import csv

import numpy as np
import pandas as pd
import pytest

from benchmarks.labelled_variants import LabelledVariants, read_labelled
from benchmarks.leaderboards import dataset_name, write_leaderboard, write_leaderboard_files
from benchmarks.quality.variant_suites import SUITES, compared
from benchmarks.suite_folders import LAYOUTS, subset_of, table_of
from benchmarks.variants import KEYS, options
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.resampling import Estimate

TRAITS = {"chrom": ["1", "1", "2", "2"], "pos": [3, 4, 5, 6], "ref": list("CGTA"),
          "alt": list("TAGC"), "label": [True, False, True, False],
          "match_group": list("aabb"), "consequence": ["PLS", "PLS", "dELS", "dELS"]}  # fmt: skip
AFRICAN = """chr_hg38\tpos_hg38\tallele1\tallele2\tIsUsed\tin_peaks\tlabel
chr1\t3\tC\tT\tTrue\tTrue\t1
chr1\t4\tA\tG\tTrue\tTrue\t0
chr1\t5\tT\tG\tFalse\tTrue\t1
chr1\t6\tA\tC\tTrue\tFalse\t0
"""
YORUBAN = """var.chrom\tvar.pos\tvar.allele1\tvar.allele2\tvar.isused\tvar.label
chr1\t3\tC\tT\tTrue\t1
chr1\t4\tA\tG\tTrue\t-1
"""


@pytest.fixture
def traits(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    folder = tmp_path / "mendelian_traits_matched_9"
    (folder / "subset").mkdir(parents=True)
    table = pd.DataFrame(TRAITS)
    table.to_parquet(folder / "test.parquet")
    table[["chrom", "pos", "ref", "alt"]][:2].to_parquet(folder / "subset" / "proximal.parquet")
    return tmp_path


def test_every_suite_has_a_layout():
    assert set(LAYOUTS) == set(SUITES)


def test_a_folder_of_traitgym_is_read_with_its_subsets(traits):
    path = table_of("traitgym-mendelian", traits)
    assert dataset_name("traitgym-mendelian", path) == "mendelian_traits_matched_9"
    assert len(read_labelled(path)) == 4
    subset = read_labelled(path, subset=subset_of(path, "proximal"))
    assert subset.pos.tolist() == [3, 4]
    assert subset.left_out["not used, or not in the subset"] == 2
    with pytest.raises(DataError, match="subsets of the table: proximal"):
        subset_of(path, "distal")


@pytest.mark.parametrize("place", ["complex/test.parquet", "complex/data/test-00000.parquet"])
def test_a_folder_of_marin_dna_is_read(tmp_path, place):
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    # the consequence of each row, and the coarser subset that the suite takes the mean over.
    table = TRAITS | {"consequence": list("wxyz"), "subset": ["a", "a", "b", "b"]}
    pd.DataFrame(table).to_parquet(path)
    found = read_labelled(table_of("marin-complex", tmp_path))
    assert found.consequence.tolist() == ["a", "a", "b", "b"]


def test_tables_of_dart_eval_hold_used_rows_with_the_allele_of_the_genome_first(tmp_path):
    (tmp_path / "Afr.CaQTLS.tsv").write_text(AFRICAN)
    (tmp_path / "yoruban.dsqtls.benchmarking.tsv").write_text(YORUBAN)
    (tmp_path / "g.fa").write_text(">1\nGACGTAC\n")
    places = Places(prepare_genome(tmp_path / "g.fa", cache_dir=tmp_path), True)
    for suite, unused in (("caqtl", 2), ("dsqtl", 0)):
        rows = read_labelled(table_of(suite, tmp_path))
        assert rows.is_positive.tolist() == [True, False]
        assert rows.left_out.get("not used, or not in the subset", 0) == unused
        turned, exchanged = rows.oriented(places)
        assert (turned.ref.tolist(), turned.alt.tolist()) == (["C", "G"], ["T", "A"])
        assert exchanged == 1


def test_clinvar_and_sge_are_found_by_their_names_and_two_are_one_too_many(tmp_path):
    # the columns of the table of Findlay et al. 2018
    (tmp_path / "sge_brca1.csv").write_text(
        "gene,chromosome,position (hg19),reference,alt,func.class\n"
        "BRCA1,17,3,A,C,LOF\nBRCA1,17,4,A,C,INT\nBRCA1,17,5,A,C,FUNC\n"
    )
    found = read_labelled(table_of("sge", tmp_path))
    assert found.is_positive.tolist() == [True, False]
    assert found.pos.tolist() == [3, 5]
    with pytest.raises(DataError, match="has no table of suite=clinvar; wanted is one of clinvar/"):
        table_of("clinvar", tmp_path)
    for name in ("clinvar_a.tsv", "clinvar_b.tsv"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=r"2 tables .*clinvar_a.tsv, clinvar_b.tsv.*table="):
        table_of("clinvar", tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        table_of("clinvar", tmp_path / "nowhere")


def test_settings_are_options_and_mistakes_are_named():
    assert options(["suite=sge", "smoke=false"]) == ["--suite", "sge"]
    assert "leaderboard" in KEYS
    with pytest.raises(ConfigError, match="did you mean folder"):
        options(["foldr=x"])
    with pytest.raises(ConfigError, match="write key=value"):
        options(["--suite"])
    with pytest.raises(ConfigError, match="must be true or false"):
        options(["smoke=1"])


def test_a_leaderboard_has_the_folders_files_and_columns_of_traitgym(tmp_path):
    figures = {"AUPRC by chromosome": Estimate(0.3, 0.2, 0.4), "AUPRC": Estimate(0.5),
               "pairwise accuracy": Estimate(0.5)}  # fmt: skip
    scores = ("minus llr, both", "absolute llr, both", "minus elbo, one", "no CpG transition")
    found = dict.fromkeys(scores, figures)
    write_leaderboard_files(tmp_path, "demo", "mendelian_traits_matched_9", "all", found)
    suite = tmp_path / "mendelian_traits_matched_9"
    # the folders and endings that TraitGym collects, and no other
    assert sorted(path.name for path in suite.iterdir()) == [
        "AUPRC", "AUPRC_by_chrom_weighted_average"
    ]  # fmt: skip
    base = suite / "AUPRC_by_chrom_weighted_average" / "all"
    assert sorted(path.name for path in base.iterdir()) == [
        "demo-one_ELBO.minus.score.csv", "demo_LLR.minus.score.csv",
        "demo_absLLR.plus.score.csv", "no_CpG_transition.plus.score.csv",
    ]  # fmt: skip
    lines = (base / "demo_LLR.minus.score.csv").read_text().splitlines()
    (row,) = csv.DictReader(lines)
    assert list(row) == ["model", "metric", "score", "se"]
    assert (row["model"], row["metric"]) == ("demo", "AUPRC_by_chrom_weighted_average")
    assert float(row["score"]) == 0.3
    assert float(row["se"]) == pytest.approx(0.2 / 3.92)


def test_a_leaderboard_of_one_file_has_a_line_for_each_score_and_figure(tmp_path):
    figures = {"AUPRC": Estimate(0.3, 0.2, 0.4), "AUROC": Estimate(0.5, 0.4, 0.6)}
    write_leaderboard(tmp_path / "x.csv", "demo", "sge", {"minus llr, both": figures})
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert [row["metric"] for row in rows] == ["AUPRC", "AUROC"]
    assert rows[0] == {
        "model": "demo", "dataset": "sge", "score": "minus llr, both", "metric": "AUPRC",
        "value": "0.3", "low": "0.2", "high": "0.4",
    }  # fmt: skip


@pytest.fixture(scope="module")
def matched():
    """300 groups of one positive and three negative rows on three chromosomes, and a good score."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), 4)
    is_positive = np.tile([True, False, False, False], 300)
    letters = np.full(1200, "A")
    rows = LabelledVariants(
        (groups % 3).astype(np.str_), np.arange(1200), letters, letters, is_positive,
        groups.astype(np.str_), np.where(groups < 150, "x", "y"), {},
    )  # fmt: skip
    return rows, is_positive + rng.normal(0, 0.8, 1200)


def test_flipped_labels_a_shuffled_score_and_a_constant_give_what_they_must(matched):
    rows, score = matched
    rng = np.random.default_rng(1)
    flipped = LabelledVariants(
        rows.chrom, rows.pos, rows.ref, rows.alt, ~rows.is_positive, rows.match_group,
        rows.consequence, {},
    )  # fmt: skip
    settings = {"block": 10, "repeats": 5, "seed": 0}
    scores = {"right": score, "shuffled": rng.permutation(score), "constant": score * 0}
    found = compared(rows, scores, **settings)
    other = compared(flipped, scores, **settings)
    for figure in ("AUROC", "pairwise accuracy"):
        right = found["right"][figure].value
        assert right > 0.75
        assert other["right"][figure].value == pytest.approx(1 - right, abs=1e-12)
        # 300 against 900 rows: a standard deviation of about 0.019.
        assert abs(found["shuffled"][figure].value - 0.5) < 4 * 0.019
        assert found["constant"][figure].value == 0.5
    for figure in ("AUPRC", "AUPRC by chromosome", "AUPRC macro"):
        assert found["right"][figure].value > 0.5
        assert abs(found["shuffled"][figure].value - 0.25) < 0.06
        assert found["constant"][figure].value == pytest.approx(0.25, abs=1e-12)
        assert other["constant"][figure].value == pytest.approx(0.75, abs=1e-12)
        assert other["right"][figure].value < 0.75
