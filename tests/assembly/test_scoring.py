"""Variant scores as a command: tables, mistakes, batches, real variants."""

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from dnamdlm.assembly.api import Model
from dnamdlm.assembly.score import scoring
from dnamdlm.data.variants.tabix import tabix_index
from dnamdlm.data.variants.vcf import VariantFile
from dnamdlm.errors import ConfigError, DataError
from tests.assembly.test_configs import compose
from tests.helpers.entries import score
from tests.helpers.scored_models import SEQUENCE, random_model

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
ROWS = [(150, SEQUENCE[149], "ACGT"[("ACGT".index(SEQUENCE[149]) + 1) % 4]),
        (1, SEQUENCE[0], "".join(x + "," for x in "ACGT" if x != SEQUENCE[0]).rstrip(",")),
        (300, SEQUENCE[299], SEQUENCE[299] + "TTG"), (80, SEQUENCE[79:84], SEQUENCE[79]),
        (90, SEQUENCE[89:91], "<DEL>,*"), (20, SEQUENCE[19], ".")]  # fmt: skip


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A genome, variants, and a model with random weights in place of one from disk."""
    loaded = random_model()
    monkeypatch.setattr(scoring, "load_model", lambda *_args, **_options: loaded)
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "g.fa").write_text(f">a\n{SEQUENCE}\n")
    lines = [f"a\t{pos}\tid{i}\t{ref}\t{alt}\t.\t.\t.\n" for i, (pos, ref, alt) in enumerate(ROWS)]
    (tmp_path / "v.vcf").write_text(HEADER + "".join(lines))
    return tmp_path


def read_table(path, **options):
    """The table without the lines of its header that say what the scores mean."""
    return pd.read_csv(path, sep="\t", comment="#", **options)


def score_tree(folder, *overrides):
    given = [f"variants={folder}/v.vcf", f"data.fasta={folder}/g.fa", f"out={folder}/out.tsv"]
    return compose("model=x", *given, "draws=2", *overrides, name="score")


def test_every_row_has_its_scores_or_a_reason(files):
    path, headline = score(score_tree(files, "scores=[llr,elbo,embedding]"))
    table = read_table(path, dtype=str, keep_default_na=False)
    assert list(table) == ["chrom", "pos", "id", "ref", "alt", "llr", "delta_elbo",
                           "delta_elbo_se", "cosine_distance", "l2_distance", "reason"]  # fmt: skip
    assert table["id"].tolist() == [f"id{i}" for i in range(len(ROWS))]
    assert table["reason"].tolist() == [
        ".", ".,.,.", "not_snv", "not_snv", "symbolic,star", "no_alt",
    ]  # fmt: skip
    assert table["llr"].tolist()[2:] == [".", ".", ".,.", "."]
    assert (table["delta_elbo"] != ".").tolist() == [True, True, True, True, True, False]
    assert table["delta_elbo"][4] == ".,."
    assert "6 rows in and out, 4 with a score" in headline


def test_the_log_ratio_is_that_of_the_network_at_the_hidden_base(files):
    loaded = random_model()
    score(score_tree(files, "scores=[llr]", "strands=one", "length=20"))
    (pos, ref, alt), ids = ROWS[0], {"A": 7, "C": 8, "G": 9, "T": 10}
    tokens = torch.tensor([[ids[x] for x in SEQUENCE[pos - 11 : pos + 9]]])
    tokens[0, 10] = 3
    with torch.no_grad():
        law = loaded.lm.denoise(tokens)[0, 10]
    expected = float(law[ids[alt]] - law[ids[ref]])
    found = read_table(files / "out.tsv")["llr"][0]
    # six digits are written.
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_both_strands_give_one_score_for_both_strands(files):
    score(score_tree(files, "scores=[llr]"))
    ahead = read_table(files / "out.tsv", dtype=str)
    complement = str.maketrans("ACGT", "TGCA")
    turned = SEQUENCE[::-1].translate(complement)
    (files / "g.fa").write_text(f">a\n{turned}\n")
    # a window of odd length has the same bases on both strands.
    pos, ref, alt = ROWS[0]
    row = f"a\t{301 - pos}\t.\t{ref.translate(complement)}\t{alt.translate(complement)}\t.\t.\t.\n"
    (files / "v.vcf").write_text(HEADER + row)
    score(score_tree(files, "scores=[llr]", "length=65"))
    back = read_table(files / "out.tsv")["llr"][0]
    (files / "g.fa").write_text(f">a\n{SEQUENCE}\n")
    (files / "v.vcf").write_text(HEADER + f"a\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    score(score_tree(files, "scores=[llr]", "length=65"))
    # six digits are written.
    assert read_table(files / "out.tsv")["llr"][0] == pytest.approx(back, rel=1e-5)
    assert len(ahead) == len(ROWS)


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "parquet", "vcf", "vcf.gz"])
def test_a_file_without_variants_gives_a_table_without_rows(files, ending):
    (files / "v.vcf").write_text(HEADER)
    path, headline = score(score_tree(files, f"out={files}/o.{ending}"))
    assert headline.startswith("0 rows in and out")
    names = ["chrom", "pos", "id", "ref", "alt", "llr", "delta_elbo", "delta_elbo_se", "reason"]
    if ending == "parquet":
        table = pd.read_parquet(path)
        assert (list(table), len(table)) == (names, 0)
    elif ending.startswith("tsv"):
        table = read_table(path)
        assert (list(table), len(table)) == (names, 0)
    else:
        assert list(VariantFile(path).rows()) == []
    table = Model(random_model()).score_variants(files / "v.vcf", files / "g.fa", draws=2)
    assert (list(table), len(table)) == (names, 0)


def test_one_row_that_is_no_vcf_is_a_row_with_a_reason(files, caplog):
    lines = (files / "v.vcf").read_text().splitlines(keepends=True)
    whole, _ = score(score_tree(files, f"out={files}/whole.tsv"))
    expected = read_table(whole, dtype=str)
    lines.insert(4, "a\t1,5\tbad\tA\tC\t.\t.\t.\n")
    (files / "v.vcf").write_text("".join(lines))
    path, headline = score(score_tree(files))
    table = read_table(path, dtype=str)
    assert table["id"].tolist() == ["id0", "id1", "bad", *expected["id"][2:]]
    assert table["reason"][2] == "malformed"
    assert table["pos"][2] == "1,5"
    pd.testing.assert_frame_equal(table.drop(index=2).reset_index(drop=True), expected)
    assert "7 rows in and out, 4 with a score" in headline
    assert "malformed 1" in headline
    assert "1 of 7 rows are not VCF" in caplog.text
    assert "line 5: POS must be a whole number of at least 0, got '1,5'" in caplog.text


@pytest.mark.parametrize("ending", ["tsv", "vcf", "parquet"])
def test_the_header_says_what_a_score_above_0_means(files, ending):
    import pyarrow.parquet as pq

    path, _ = score(score_tree(files, "scores=[llr,elbo,embedding]", f"out={files}/o.{ending}"))
    if ending == "parquet":
        schema = pq.read_schema(path)
        meanings = {
            name: schema.field(name).metadata[b"description"].decode()
            for name in ("llr", "delta_elbo", "l2_distance")
        }
    else:
        head = [x for x in path.read_text().splitlines() if x.startswith("##")]
        keys = {"tsv": "## {}: ", "vcf": "ID=DNAMDLM_{},"}[ending]
        meanings = {
            name: next(
                x for x in head if keys.format(name if ending == "tsv" else name.upper()) in x
            )
            for name in ("llr", "delta_elbo", "l2_distance")
        }
    for name in ("llr", "delta_elbo"):
        assert "above 0 the model prefers ALT, below 0 REF" in meanings[name]
    assert "at least 0" in meanings["l2_distance"]
    attributes = (
        Model(random_model()).score_variants(files / "v.vcf", files / "g.fa", draws=1).attrs
    )
    assert "above 0 the model prefers ALT" in attributes["llr"]


def test_a_region_of_a_genome_gives_the_scores_of_the_whole(files):
    settings = ["scores=[llr]", "length=20"]
    whole = read_table(score(score_tree(files, *settings))[0], dtype=str)
    # bases 41 to 280, 1-based with both ends included.
    (files / "part.fa").write_text(f">whatever\n{SEQUENCE[40:280]}\n")
    path, _ = score(score_tree(files, *settings, f"data.fasta={files}/part.fa", "region=a:41-280"))
    part = read_table(path, dtype=str)
    pd.testing.assert_frame_equal(part[["chrom", "pos", "id"]], whole[["chrom", "pos", "id"]])
    assert part["reason"].tolist() == [
        ".", "outside_region,outside_region,outside_region", "outside_region", "not_snv",
        "symbolic,star", "outside_region",
    ]  # fmt: skip
    assert part["llr"][0] == whole["llr"][0]
    model = Model(random_model())
    pos, ref, alt = ROWS[0]
    found = model.score(f"a:{pos} {ref}>{alt}", files / "part.fa", region="a:41-280", draws=2)
    assert found == model.score(
        f"b:{pos - 40} {ref}>{alt}", files / "part.fa", region="b:1-240", draws=2
    )
    table = model.score_variants(files / "v.vcf", files / "part.fa", region="a:41-280", draws=1)
    assert table["reason"].tolist()[0] == [None]


@pytest.mark.parametrize(("region", "message"), [
    ("a:40-280", "has 241 bases, but record 'a' has 300"), ("a", "is not a valid region"),
])  # fmt: skip
def test_another_region_is_refused(files, region, message):
    with pytest.raises((ConfigError, DataError), match=message):
        score(score_tree(files, f"region={region}"))


def test_where_a_circular_record_is_cut_open_does_not_matter(files):
    settings = ["scores=[llr,embedding]", "length=40", "data.circular=[a]"]
    scored = {}
    for turn in (0, 145, 299):
        (files / "g.fa").write_text(f">a\n{SEQUENCE[turn:]}{SEQUENCE[:turn]}\n")
        rows = [
            f"a\t{(pos - 1 - turn) % 300 + 1}\tid{i}\t{ref}\t{alt}\t.\t.\t.\n"
            for i, (pos, ref, alt) in enumerate(ROWS)
        ]
        (files / "v.vcf").write_text(HEADER + "".join(rows))
        path, _ = score(score_tree(files, *settings, f"out={files}/{turn}.tsv"))
        columns = ["llr", "cosine_distance", "l2_distance", "reason"]
        scored[turn] = read_table(path, dtype=str)[columns]
    # six digits are written.
    for turn in (145, 299):
        pd.testing.assert_frame_equal(scored[turn], scored[0])
    # without its neighbours across the origin the first base is read otherwise.
    (files / "g.fa").write_text(f">a\n{SEQUENCE}\n")
    (files / "v.vcf").write_text(HEADER + f"a\t1\t.\t{ROWS[1][1]}\t{ROWS[1][2]}\t.\t.\t.\n")
    linear = read_table(score(score_tree(files, *settings[:2]))[0], dtype=str)
    assert linear["llr"][0] != scored[0]["llr"][1]


@pytest.mark.parametrize("ending", ["tsv.gz", "parquet", "vcf", "vcf.gz"])
def test_the_batch_size_changes_nothing(files, ending):
    found = []
    for size in (1, 3, 100):
        score(score_tree(files, f"batch_size={size}", f"out={files}/{size}.{ending}"))
        if ending == "parquet":
            exploded = pd.read_parquet(files / f"{size}.parquet").explode(
                ["alt", "llr", "delta_elbo", "delta_elbo_se", "reason"]
            )
            found.append(exploded[["llr", "delta_elbo"]].astype(float).to_numpy())
        else:
            raw = (files / f"{size}.{ending}").read_bytes()
            text = (gzip.decompress(raw) if ending.endswith("gz") else raw).decode()
            body = [x for x in text.replace("=", "\t").replace(";", "\t").splitlines()
                    if x[:1] != "#"]  # fmt: skip
            found.append(np.array([_number(x) for line in body for x in _cells(line)]))
    for other in found[1:]:
        # six digits are written; a standard error of equal draws is a rounding of zero.
        np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-9)


def _cells(line):
    return line.replace(",", "\t").split("\t")


def _number(text):
    try:
        return float(text)
    except ValueError:
        return np.nan


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scores=[ldr]"], "scores=ldr is unknown; choose llr, elbo or embedding"),
        (["scores=[]"], "each once"),
        (["scores=[llr,llr]"], "each once"),
        (["draws=0"], "draws=0 must be at least 1"),
        (["length=0"], "length=0 must be at least 1"),
        (["max_mismatch=2.0"], "max_mismatch=2.0 must be at most 1"),
        (["strands=two"], "strands=two is unknown"),
        (["out=x.csv"], "out=x.csv must end in .tsv"),
        (["out=nowhere/x.tsv"], "folder that does not exist"),
        (["draws=a"], "draws=a is not allowed"),
        (["control=all"], "control=all is unknown"),
        (["control=experts"], "needs a model with wildcard experts"),
    ],
)
def test_impossible_settings_are_refused_and_write_nothing(files, overrides, message):
    with pytest.raises((ConfigError, DataError), match=message):
        score(score_tree(files, *overrides))
    assert sorted(x.name for x in files.iterdir()) == ["g.fa", "v.vcf"]


def test_a_damaged_file_leaves_no_table(files):
    (files / "out.tsv").write_text("before")
    with (files / "v.vcf").open("a") as file:
        file.write("a\tx\t.\tA\tC\t.\t.\t.\n")
        file.write("a\t1\t.\tA\0\tC\t.\t.\t.\n")
    with pytest.raises(DataError, match="line 10: a NUL byte"):
        score(score_tree(files))
    assert (files / "out.tsv").read_text() == "before"
    assert not list(files.glob(".*partial*"))


@pytest.mark.parametrize("ending", ["tsv", "parquet"])
def test_the_columns_of_a_table_come_back_with_the_scores(files, ending):
    (pos, ref, alt), other = ROWS[0], SEQUENCE[79]
    text = f"llr,chrom,pos,ref,alt,label\n0.5,a,{pos},{ref},{alt},yes\n,a,80,{other},TTT,no\n"
    (files / "t.csv").write_text(text)
    path, headline = score(
        score_tree(files, f"variants={files}/t.csv", f"out={files}/x.{ending}", "scores=[llr]")
    )
    table = pd.read_parquet(path) if ending == "parquet" else read_table(path, dtype=str)
    assert list(table) == [
        "chrom", "pos", "id", "ref", "alt", "llr_input", "label", "llr", "reason",
    ]  # fmt: skip
    assert table["label"].tolist() == ["yes", "no"]
    assert table["llr_input"].fillna("").tolist() == ["0.5", ""]
    assert headline.startswith("2 rows in and out, 1 with a score")
    score(score_tree(files, "scores=[llr]"))
    alone = read_table(files / "out.tsv", dtype=str)["llr"][0]
    found = table["llr"][0]
    # parquet has all digits.
    assert float(found if ending == "tsv" else found[0]) == pytest.approx(float(alone), rel=1e-5)
    with pytest.raises(ConfigError, match="has no place for the column 'llr' of"):
        score(score_tree(files, f"variants={files}/t.csv", f"out={files}/x.vcf"))


def test_a_variant_as_text_and_a_data_frame_have_the_scores_of_the_file(files):
    pos, ref, alt = ROWS[0]
    score(score_tree(files, f"variants='a:{pos}:{ref}:{alt}'", "scores=[llr]"))
    by_text = read_table(files / "out.tsv")["llr"][0]
    frame = pd.DataFrame([{"chrom": "a", "pos": pos, "ref": ref, "alt": alt, "label": "x"}])
    table = Model(random_model()).score_variants(frame, files / "g.fa", scores="llr")
    assert table["label"].tolist() == ["x"]
    # six digits are written.
    assert table["llr"][0][0] == pytest.approx(by_text, rel=1e-5)


def test_a_bcf_file_has_the_scores_of_its_vcf_file_and_regions_those_of_their_rows(files):
    pysam = pytest.importorskip("pysam", reason="pysam is not installed")
    pytest.importorskip("pysam.bcftools")
    text = (files / "v.vcf").read_text()
    (files / "v.vcf").write_text(text.replace("#CHROM", "##contig=<ID=a,length=300>\n#CHROM"))
    pysam.bcftools.view("-Ob", "-o", str(files / "v.bcf"), str(files / "v.vcf"), catch_stdout=False)
    tables = {}
    for name in ("v.vcf", "v.bcf"):
        for within in ("null", "'a:80-150'"):
            score(score_tree(files, f"variants={files}/{name}", f"within={within}"))
            tables[name, within] = (files / "out.tsv").read_text()
    for within in ("null", "'a:80-150'"):
        assert tables["v.bcf", within] == tables["v.vcf", within]
    lines = tables["v.vcf", "null"].splitlines()
    kept = [x for x in lines if x[0] != "a" or 80 <= int(x.split("\t")[1]) <= 150]
    assert len(kept) == len(lines) - 3
    assert tables["v.vcf", "'a:80-150'"].splitlines() == kept
    same = Model(random_model()).score_variants(
        files / "v.bcf", files / "g.fa", within="a:80-150", scores="llr"
    )
    assert same["pos"].tolist() == [150, 80, 90]
    (files / "i.bed").write_text("a\t1\t9\n")
    with pytest.raises(ConfigError, match="within=a:1-9 picks rows of a file, and variants=all"):
        score(score_tree(files, "variants=all", f"bed={files}/i.bed", "within=a:1-9"))


def test_all_substitutions_have_the_scores_of_a_file_that_lists_them(files):
    (files / "i.bed").write_text("a\t149\t151\na\t0\t1\n")
    score(score_tree(files, "variants=all", f"bed={files}/i.bed", "scores=[llr]"))
    table = read_table(files / "out.tsv", dtype=str)
    assert table["pos"].tolist() == ["1", "150", "151"]
    rows = [f"a\t{x.pos}\t.\t{x.ref}\t{x.alt}\t.\t.\t.\n" for x in table.itertuples()]
    (files / "v.vcf").write_text(HEADER + "".join(rows))
    score(score_tree(files, "scores=[llr]"))
    assert read_table(files / "out.tsv", dtype=str).equals(table)
    model = Model(random_model())
    same = model.score_variants("all", files / "g.fa", bed=files / "i.bed", scores="llr")
    assert same["pos"].tolist() == [1, 150, 151]
    with pytest.raises(ConfigError, match="belong together; give both or neither"):
        model.score_variants("all", files / "g.fa")
    with pytest.raises(ConfigError, match="give them as bed=FILE"):
        score(score_tree(files, "variants=all"))
    with pytest.raises(ConfigError, match="region=a:1-9 is for variants in coordinates of a chr"):
        score(score_tree(files, "variants=all", f"bed={files}/i.bed", "region='a:1-9'"))


def test_the_output_may_not_be_the_input(files):
    with pytest.raises(ConfigError, match="is an input of the command"):
        score(score_tree(files, f"out={files}/v.vcf"))


def test_models_of_another_kind_are_refused(files, monkeypatch):
    causal = random_model("lm=ar", "backbone=ar")
    monkeypatch.setattr(scoring, "load_model", lambda *_args, **_options: causal)
    with pytest.raises(ConfigError, match="of whole windows, and this is a CausalLM"):
        score(score_tree(files))


def test_python_gives_the_same_scores(files):
    score(score_tree(files, f"out={files}/x.parquet"))
    written = pd.read_parquet(files / "x.parquet")
    table = Model(random_model()).score_variants(files / "v.vcf", files / "g.fa", draws=2)
    for name in ("pos", "ref"):
        assert table[name].tolist() == written[name].tolist()
    columns = ["alt", "llr", "delta_elbo", "delta_elbo_se", "reason"]
    ours, theirs = table.explode(columns), written.explode(columns)
    np.testing.assert_allclose(ours["delta_elbo"].astype(float), theirs["delta_elbo"].astype(float))


def test_a_bgzip_vcf_file_has_an_index_if_its_rows_are_in_order(files):
    out, index = files / "o.vcf.gz", files / "o.vcf.gz.tbi"
    index.write_bytes(b"of an older file")
    score(score_tree(files, f"out={out}", "scores=[llr]"))
    assert not index.exists()
    lines = (files / "v.vcf").read_text().splitlines(keepends=True)
    rows = sorted(lines[2:], key=lambda line: int(line.split("\t")[1]))
    (files / "v.vcf").write_text("".join([*lines[:2], *rows]))
    score(score_tree(files, f"out={out}", "scores=[llr]"))
    assert index.read_bytes() == tabix_index(out)
