"""Variants as text, in tables and in DataFrames: the rows that a VCF file with them gives."""

import csv
import gzip

import pandas as pd
import pytest

from dnamdlm.data.named_files import check_named_files
from dnamdlm.data.variants import all_substitutions
from dnamdlm.data.variants.variant_sources import (
    VariantTexts,
    open_variants,
    variants_in,
)
from dnamdlm.data.variants.vcf import VariantFile
from dnamdlm.errors import DataError

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
ROWS = [("chr1", "5", "a", "C,G"), ("chr1", "0", "T", "TAC"), ("2", "7", "A", "*")]


def variants_of(variants):
    return all_substitutions.variants_of(variants, None, None)


def essentials(source):
    return [(row.chrom, row.start, row.ref, row.alts, row.fault) for row in source.rows()]


@pytest.fixture
def wanted(tmp_path):
    """The rows as a VCF file gives them."""
    lines = [f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for chrom, pos, ref, alt in ROWS]
    (tmp_path / "v.vcf").write_text(HEADER + "".join(lines))
    return essentials(VariantFile(tmp_path / "v.vcf"))


@pytest.mark.parametrize("name", ["v.tsv", "quoted.tsv", "v.tsv.gz", "v.csv", "v.CSV", "v.parquet"])
def test_a_table_gives_the_rows_of_a_vcf_file(tmp_path, wanted, name):
    path = tmp_path / name
    frame = pd.DataFrame(ROWS, columns=["chrom", "pos", "ref", "alt"])
    if name == "v.parquet":
        frame.assign(pos=frame["pos"].astype(int)).to_parquet(path)
    else:
        # as R writes a table: names and texts in quotation marks, numbers without.
        quoting = csv.QUOTE_NONNUMERIC if name == "quoted.tsv" else csv.QUOTE_MINIMAL
        text = frame.to_csv(index=False, sep="\t" if ".tsv" in name else ",", quoting=quoting)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    source = open_variants(path)
    assert essentials(source) == wanted
    # twice, since a command reads its rows twice.
    assert essentials(source) == wanted
    assert source.extras == ()


def test_a_data_frame_gives_them_as_well(wanted):
    frame = pd.DataFrame(ROWS, columns=["chrom", "pos", "ref", "alt"], index=[7, 7, 9])
    assert essentials(variants_of(frame)) == wanted
    # whole numbers beside missing ones are floating-point numbers in pandas.
    frame = pd.concat([frame.assign(pos=[5.0, 0.0, 7.0]), pd.DataFrame([{"chrom": "1"}])])
    found = essentials(variants_of(frame))
    assert found[:3] == wanted
    assert found[3][1] == -1
    assert "column POS is empty" in found[3][4]


def test_text_gives_them_as_well():
    found = list(open_variants("chr17:43044346:C:T,chr1:5:ac:a").rows())
    assert [(x.chrom, x.start, x.ref, x.alts) for x in found] == [
        ("chr17", 43044345, "C", ("T",)), ("chr1", 4, "AC", ("A",)),
    ]  # fmt: skip
    assert essentials(variants_of(["chr17:43044346:C:T", "chr1:5:ac:a"])) == essentials(
        open_variants("chr17:43044346:C:T,chr1:5:ac:a")
    )
    check_named_files({"variants": "chr17:43044346:C:T"})
    with pytest.raises(DataError, match="variants=chr17:43044346:C: no such file"):
        check_named_files({"variants": "chr17:43044346:C"})


@pytest.mark.parametrize(
    "text",
    ["chr17:43044346:C:T", "chr17-43044346-C-T", "chr17:43044346:C>T", "chr17:g.43044346C>T",
     "chr17:43,044,346:C:T", "chr17-43,044,346-C-T", "chr17:g.43,044,346C>T"],
)  # fmt: skip
def test_a_variant_may_be_written_in_every_way_of_the_field(text):
    assert variants_in(text) == [("chr17", "43044346", "C", "T")]
    assert variants_in(f"{text},{text}") == 2 * [("chr17", "43044346", "C", "T")]
    assert open_variants(text).digest() == open_variants("chr17:43044346:C:T").digest()


@pytest.mark.parametrize(
    "text", ["calls.vcf", "C:/x.vcf", "chr1:5:A", "chr1:5:A:G,x.vcf", "", "cohort-2-snps-final"]
)
def test_the_name_of_a_file_is_no_variant(text):
    assert variants_in(text) is None


def test_further_columns_are_kept_in_their_order(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text(
        'label,POS,Chromosome,note,ref,alt,id\n1,5,chr1,"a, b",A,C,rs1\n0,6,chr1,,A,C,\n'
    )
    source = open_variants(path)
    assert source.extras == ("label", "note")
    assert [row.extras for row in source.rows()] == [("1", "a, b"), ("0", "")]
    assert [row.identifier for row in source.rows()] == ["rs1", "."]


def test_a_row_that_cannot_be_read_keeps_its_place(tmp_path):
    path = tmp_path / "v.tsv"
    path.write_text(
        "chrom\tpos\tref\talt\tlabel\nchr1\t5\tA\tC\t1\nchr1\tfive\tA\tC\t1\nchr1\t5\tA\n"
        "chr1\t5\tA\tC\t1\t2\nchr1\t1.5\tA\tC\t0\nchr1\t-1\tA\tC\t0\nchr1\t5\tA\tX\t0\n"
    )
    faults = [row.fault for row in open_variants(path).rows()]
    assert faults[0] is None
    assert all(faults[1:])
    assert "POS must be a whole number of at least 0, got 'five'" in faults[1]
    assert faults[2] == "3 cells, the header has 5 names"
    assert faults[3] == "6 cells, the header has 5 names"
    assert [row.line for row in open_variants(path).rows()] == list(range(2, 9))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.csv", "chrom,pos,ref\n", "the column 'alt' is missing among 'chrom', 'pos', 'ref'; a"),
        ("v.tsv", "chr1\t5\tA\tC\n", "the column 'chrom' is missing among 'chr1', '5', 'A', 'C'"),
        ("v.csv", "chrom\tpos\tref\talt\n", "the column 'chrom' is missing among 'chrom\\tpos"),
        ("v.csv", "chrom,pos,ref,alt,pos\n", "the column 'pos' is there twice; rename one"),
        ("v.csv", "chrom,chr,pos,ref,alt\n", "'chrom' and 'chr' both mean the column chrom"),
        ("v.csv", "", "the file is empty"),
        ("v.csv", "\n\n", "the column 'chrom' is missing"),
        ("v.parquet", "PAR1", "not a readable parquet file; write it again"),
        ("v.txt", "chrom,pos,ref,alt\n", "a VCF file begins with '##fileformat=VCFv4.x'"),
        ("none.csv", None, "no such file"),
        ("none.parquet", None, "no such file"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError) as found:
        open_variants(path)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_parquet_that_is_damaged_in_its_middle_is_one_sentence(tmp_path):
    path = tmp_path / "v.parquet"
    frame = pd.DataFrame({"chrom": ["chr1"], "pos": [5], "ref": ["A"], "alt": ["C"]})
    frame.to_parquet(path)
    # the names of the columns, at its end, are whole.
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"v\.parquet: not a readable parquet file; write it"):
        essentials(open_variants(path))


def test_a_vcf_file_is_known_by_its_first_line_whatever_its_name(tmp_path, wanted):
    (tmp_path / "v.tsv").write_text((tmp_path / "v.vcf").read_text())
    assert essentials(open_variants(tmp_path / "v.tsv")) == wanted


@pytest.mark.parametrize("texts", [["chr1:5:A"], ["chr1:5:A:C,chr1:5:A:C"], []])
def test_texts_that_are_no_variants_are_refused(texts):
    with pytest.raises(DataError, match=r"is not a variant; write chrom|there are no variants"):
        variants_of(texts)


def test_equal_content_has_one_digest_and_other_content_another(tmp_path):
    one = pd.DataFrame([ROWS[0]], columns=["chrom", "pos", "ref", "alt"])
    assert variants_of(one).digest() == variants_of(one.copy()).digest()
    assert variants_of(one).digest() != variants_of(one.assign(ref="G")).digest()
    assert VariantTexts(["a:1:A:C"]).digest() != VariantTexts(["a:1:A:G"]).digest()
