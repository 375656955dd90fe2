"""The strict VCF reader: every row in is a row out or an error that says where and why."""

import gzip
import io
import re

import pytest
from Bio.bgzf import BgzfWriter

from dnamdlm.data.genome.regions import parse_region
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places, bases, check_variants, record_of
from dnamdlm.data.variants.variant_tables import (
    Column,
    ScoredVariant,
    rows_of_table,
    write_rows,
)
from dnamdlm.data.variants.vcf import REASONS, VariantFile
from dnamdlm.errors import ConfigError, DataError

HEADER = "##fileformat=VCFv4.2\n##contig=<ID=20>\n"
NAMES = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
GENOME = ">chr1\nACGTACGTNNACGT\n>chrM\nGGCC\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(GENOME)
    return prepare_genome(folder / "g.fa", cache_dir=folder / "cache")


def row(pos=1, ref="A", alt="C", chrom="chr1", **more):
    fields = {"id": ".", "qual": ".", "filter": "PASS", "info": "."} | more
    cells = [chrom, pos, fields["id"], ref, alt, fields["qual"], fields["filter"], fields["info"]]
    return "\t".join(map(str, cells)) + "\n"


def write(tmp_path, *rows, header=HEADER + NAMES, name="v.vcf"):
    path = tmp_path / name
    path.write_text(header + "".join(rows), newline="")
    return path


def reasons_in(path, store):
    return [Places(store).reasons(v) for v in VariantFile(path).rows()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (row(), (None,)),
        (row(1, "a", "g"), (None,)),
        (row(2, "CGT", "C"), (None,)),
        (row(4, "T", "TAAA,G"), (None, None)),
        (row(14, "T", "G"), (None,)),
        (row(1, "A", "."), ("no_alt",)),
        (row(1, "A", "*,C"), ("star", None)),
        (row(1, "A", "<DEL>,C,<DUP:TANDEM>"), ("symbolic", None, "symbolic")),
        (row(1, "A", "A[chr1:7[,]chr1:7]A,A.,.A"), ("breakend",) * 4),
        (row(1, "A", "A"), ("same_as_ref",)),
        (row(1, "A", "N,R,C"), ("ambiguous", "ambiguous", None)),
        (row(8, "TNN", "T"), ("ambiguous",)),
        (row(8, "TAA", "T"), ("genome_n",)),
        (row(8, "GAA", "T"), ("ref_mismatch",)),
        (row(0, "N", "A"), ("position_zero",)),
        (row(14, "TA", "T"), ("past_end",)),
        (row(99, "A", "T,C"), ("past_end",) * 2),
        (row(15, "N", ".[chr1:7["), ("telomere_end",)),
        (row(15, "N", "<DUP>,A"), ("telomere_end",) * 2),
        (row(15, "A", "<DUP>"), ("telomere_end",)),
        (row(15, "A", "C"), ("past_end",)),
        (row(16, "N", "<DUP>"), ("past_end",)),
        (row(1, "C", "T"), ("ref_mismatch",)),
        (row(1, "A", "C", chrom="chrUn_x"), ("unknown_record",)),
    ],
)  # fmt: skip
def test_each_row_has_one_reason_per_allele(tmp_path, store, text, expected):
    found = reasons_in(write(tmp_path, row(), text), store)
    assert found == [(None,), expected]
    assert {reason for reason in expected if reason} <= set(REASONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t1\t.\tA\n", "4 tab-separated columns, the header has 8"),
        (row().replace("\t", " "), "columns must be separated by tabs"),
        (row().strip() + "\tGT\n", "9 tab-separated columns, the header has 8"),
        (row("x"), "POS must be a whole number of at least 0, got 'x'"),
        (row(-3), "POS must be a whole number of at least 0, got '-3'"),
        (row("1.5"), "POS must be a whole number"),
        (row("9" * 40), "POS must be a whole number"),
        (row(1, "Z9"), "REF must be bases A, C, G, T or N, got 'Z9'"),
        (row(1, "."), "REF must be bases"),
        (row(1, "A", "C;G"), "ALT must be bases"),
        (row(1, "A", "C,"), "ALT must be bases"),
        (row(1, "A", "C,."), "ALT must be bases"),
        (row(1, "A", "<DEL"), "ALT must be bases"),
        (row(1, "", "C"), "column REF is empty"),
        (row(1, "A", "C", id="a b"), "column ID has blanks"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_vcf_keeps_its_place_and_says_why(tmp_path, store, caplog, text, message):
    file = VariantFile(write(tmp_path, row(), text, row(2, "C", "T")))
    rows = list(file.rows())
    assert [variant.line for variant in rows] == [4, 5, 6]
    assert [variant.fault is None for variant in rows] == [True, False, True]
    assert re.search(message, rows[1].fault)
    assert set(Places(store).reasons(rows[1])) == {"malformed"}
    counts = check_variants(file, Places(store))
    assert counts.rows == 3
    assert re.search(f"1 of 3 rows are not VCF.*line 5: .*{message}", caplog.text)
    # without any row that is VCF it is another kind of file.
    alone = VariantFile(write(tmp_path, text, text))
    with pytest.raises(DataError, match=message) as error:
        check_variants(alone, Places(store))
    assert "v.vcf, line 4" in str(error.value)


def test_rows_that_repeat_an_allele_are_kept_and_counted_in_one_sentence(tmp_path, store, caplog):
    rows = [row(2, "C", "T"), row(2, "C", "G"), row(2, "C", "A,T"), row(3, "G", "T"),
            row(3, "G", "<DEL>"), row(3, "G", "<DEL>"), row(2, "C", "T")]  # fmt: skip
    counts = check_variants(VariantFile(write(tmp_path, *rows)), Places(store))
    assert counts.rows == 7
    (said,) = [record.getMessage() for record in caplog.records]
    # of one place alone, and <DEL> does not say where it ends.
    assert re.search(r"1 of 7 rows repeat an allele .*the first is line 6\).*counts it twice", said)
    caplog.clear()
    check_variants(VariantFile(write(tmp_path, *rows[:2])), Places(store))
    assert not caplog.records


def test_a_row_of_bytes_that_are_no_text_ends_the_file(tmp_path):
    with pytest.raises(DataError, match="line 5: a NUL byte"):
        list(VariantFile(write(tmp_path, row(), row(1, "A", "C\0"))).rows())


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "begins with '##fileformat=VCF"),
        (NAMES, "begins with '##fileformat=VCF"),
        (HEADER, "where the column names must stand"),
        (HEADER + NAMES.replace("\t", " "), "separated by tabs, not spaces"),
        (HEADER + "#CHROM\tPOS\tREF\n", "where the column names must stand"),
    ],
)
def test_a_file_without_its_header_is_refused(tmp_path, header, message):
    with pytest.raises(DataError, match=message):
        VariantFile(write(tmp_path, row(), header=header))


def test_a_header_alone_is_a_file_without_rows(tmp_path, store):
    counts = check_variants(VariantFile(write(tmp_path)), Places(store))
    assert (counts.rows, counts.alleles, counts.reasons) == (0, 0, {})
    with pytest.raises(DataError, match="'#CHROM' is missing"):
        VariantFile(write(tmp_path, header=HEADER))


def test_missing_empty_and_cut_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        VariantFile(tmp_path / "none.vcf")
    (tmp_path / "empty.vcf").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        VariantFile(tmp_path / "empty.vcf")
    whole = gzip.compress((HEADER + NAMES + row() * 5000).encode())
    (tmp_path / "cut.vcf.gz").write_bytes(whole[:-9])
    with pytest.raises(DataError, match="truncated gzip"):
        list(VariantFile(tmp_path / "cut.vcf.gz").rows())


def test_compression_line_ends_and_order_do_not_matter(tmp_path):
    text = HEADER + NAMES + row(9) + row(2) + "\n" + row(2)
    with BgzfWriter(str(tmp_path / "b.vcf.gz")) as file:
        file.write(text)
    (tmp_path / "g.vcf.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.vcf").write_bytes(text.replace("\n", "\r\n").encode())
    for name in ("b.vcf.gz", "g.vcf.gz", "c.vcf"):
        file = VariantFile(tmp_path / name)
        assert [v.start for v in file.rows()] == [8, 1, 1]
        assert [v.start for v in file.rows()] == [8, 1, 1]


def test_another_build_is_refused_and_rare_mismatches_are_not(tmp_path, store):
    good, bad = row(), row(1, "C", "T")
    counts = check_variants(VariantFile(write(tmp_path, bad, good * 99)), Places(store))
    assert (counts.rows, counts.alleles, dict(counts.reasons)) == (100, 100, {"ref_mismatch": 1})
    file = VariantFile(write(tmp_path, bad, row(77), good * 98))
    with pytest.raises(DataError, match=r"2 of 100 rows \(2.0%\).*genome build\?") as error:
        check_variants(file, Places(store))
    assert "the first is line 4: REF is C and the genome has A" in str(error.value)
    assert check_variants(file, Places(store), max_mismatch=0.5).rows == 100
    elsewhere = row(chrom="other") * 50
    with pytest.raises(DataError, match="1 of 2 rows"):
        check_variants(VariantFile(write(tmp_path, good, bad, elsewhere)), Places(store))


@pytest.mark.parametrize(
    "odd",
    [
        row(15, "N", ".[chr1:7["),
        row(15, "N", "<DUP>"),
        row(0, "N", "<DEL>"),
        row(1, "C", "<DEL>"),
        row(1, "C", "*"),
        row(1, "C", "."),
        row(1, "C", "C[chr1:7["),
        row(99, "C", "<INS>,<DEL>"),
        row("x"),
    ],
)
def test_rows_that_could_never_be_scored_say_nothing_of_the_build(tmp_path, store, odd):
    file = VariantFile(write(tmp_path, row() * 5, odd * 5))
    assert check_variants(file, Places(store), max_mismatch=0.0).rows == 10
    # nor do they dilute what other rows say.
    mixed = VariantFile(write(tmp_path, row() * 9, row(1, "C", "T"), odd * 90))
    with pytest.raises(DataError, match=r"1 of 10 rows \(10.0%\) do not agree"):
        check_variants(mixed, Places(store))


def test_a_row_with_a_symbol_and_letters_counts_by_its_letters(tmp_path, store):
    file = VariantFile(write(tmp_path, row(), row(1, "C", "<DEL>,T")))
    with pytest.raises(DataError, match="1 of 2 rows"):
        check_variants(file, Places(store))


REGION = "chr7:1001-1014"


def region_places(store_of, names=(), text=REGION):
    return Places(store_of, match_names=bool(names), region=parse_region(text))


@pytest.fixture(scope="module")
def cut_out(tmp_path_factory):
    """The bases of chr1 as a part of chr7, under the name that samtools gives it."""
    folder = tmp_path_factory.mktemp("region")
    (folder / "g.fa").write_text(f">{REGION}\nACGTACGTNNACGT\n")
    return prepare_genome(folder / "g.fa", cache_dir=folder / "cache")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (row(1001, "A", "C", chrom="chr7"), None),
        (row(1014, "T", "C", chrom="chr7"), None),
        (row(1001, "C", "A", chrom="chr7"), "ref_mismatch"),
        (row(1000, "A", "C", chrom="chr7"), "outside_region"),
        (row(1015, "A", "C", chrom="chr7"), "outside_region"),
        (row(1014, "TA", "C", chrom="chr7"), "outside_region"),
        (row(999_999, "N", "<DUP>", chrom="chr7"), "outside_region"),
        (row(0, "N", "<DUP>", chrom="chr7"), "position_zero"),
        (row(1001, "A", "C", chrom="chr1"), "unknown_record"),
        (row(1001, "A", "C", chrom="7"), "unknown_record"),
    ],
)
def test_a_region_shifts_the_positions_of_its_chromosome(tmp_path, cut_out, text, expected):
    places = region_places(cut_out)
    (variant,) = VariantFile(write(tmp_path, text)).rows()
    assert places.reasons(variant) == (expected,)
    if expected is None:
        at = places.start(variant)
        assert bases(cut_out, places.record("chr7"), at, at + 1) == variant.ref
    other = region_places(cut_out, names=["7"])
    assert other.record("7") == REGION


def test_variants_outside_of_the_region_say_nothing_of_the_build(tmp_path, cut_out):
    inside, outside = row(1001, chrom="chr7"), row(5, "G", chrom="chr7")
    file = VariantFile(write(tmp_path, inside, outside * 9))
    counts = check_variants(file, region_places(cut_out))
    assert (counts.rows, dict(counts.reasons)) == (10, {"outside_region": 9})
    with pytest.raises(DataError, match=f"no row lies within region={REGION}"):
        check_variants(VariantFile(write(tmp_path, outside)), region_places(cut_out))


def test_a_region_is_proposed_where_the_record_has_its_name(tmp_path, cut_out):
    file = VariantFile(write(tmp_path, row(1001, chrom="chr7")))
    with pytest.raises(DataError, match=f"'chr7' is not in the genome.*set region={REGION}"):
        check_variants(file, Places(cut_out))


def test_a_region_must_be_as_long_as_its_record(store, cut_out):
    with pytest.raises(DataError, match="has 15 bases, but record 'chr7:1001-1014' has 14"):
        region_places(cut_out, text="chr7:1000-1014")
    with pytest.raises(DataError, match=r"needs a FASTA file of one record.*2 records"):
        region_places(store)


@pytest.mark.parametrize("text", ["chr7", "chr7:5", "chr7:5-", "chr7:0-5", "chr7:9-5", "chr7:a-b"])
def test_what_is_no_region_is_refused(text):
    with pytest.raises(ConfigError, match="is not a valid region; use chrom:first-last, 1-based"):
        parse_region(text)


def test_commas_in_a_region_are_those_of_thousands():
    found = parse_region("chr17:43,008,077-43,128,366")
    assert (found.start, found.end) == (43_008_076, 43_128_366)
    assert found == parse_region("chr17:43008077-43128366")


def test_an_allele_may_cross_the_origin_of_a_circular_record(tmp_path, store):
    circle = store.with_circular(["chrM"])
    # GGCC: the last base and the first two.
    (crossing, past) = VariantFile(
        write(tmp_path, row(4, "CGG", "C", chrom="chrM"), row(5, "G", "C", chrom="chrM"))
    ).rows()
    assert Places(circle).reasons(crossing) == (None,)
    assert Places(store).reasons(crossing) == ("past_end",)
    assert Places(circle).reasons(past) == ("past_end",)
    with pytest.raises(DataError, match=r"data\.circular: record 'chrZ' is not in the genome"):
        store.with_circular(["chrZ"])


def test_other_names_of_chromosomes_are_refused_with_the_remedy(tmp_path, store):
    file = VariantFile(write(tmp_path, row(chrom="1")))
    with pytest.raises(DataError, match=r"'chr1' is.*match_names=true"):
        check_variants(file, Places(store))
    assert not check_variants(file, Places(store, match_names=True)).reasons
    with pytest.raises(DataError, match="'zzz' is not in the genome"):
        check_variants(
            VariantFile(write(tmp_path, row(chrom="zzz"))), Places(store, match_names=True)
        )
    assert record_of("MT", store.lengths, match_names=True) == "chrM"
    assert record_of("MT", store.lengths, match_names=False) is None
    assert record_of("chr20", {"20": 5}, match_names=True) == "20"


COLUMNS = (Column("llr", "a ratio, nats"),)


def write_table(path, ending, file, scored):
    """A table of scored rows, whose lines lie in a file each."""
    table = rows_of_table(ending, file, COLUMNS)
    lines = [io.BytesIO(table.line(item).encode()) for item in scored]
    write_rows(path, ending, table.head, lines)


@pytest.mark.parametrize("ending", [".tsv", ".vcf", ".parquet"])
def test_a_row_that_is_no_vcf_is_a_row_of_the_table(tmp_path, store, ending):
    import pandas as pd

    bad = "chr1\t7q\todd\tA\tC,G\t.\tPASS\tDP=1\n"
    file = VariantFile(write(tmp_path, row(), bad, "chr1\t3\n"))
    path = tmp_path / f"out{ending}"
    scored = [
        ScoredVariant(x, {"llr": [float("nan")] * len(x.alts)}, Places(store).reasons(x))
        for x in file.rows()
    ]
    write_table(path, ending, file, scored)
    if ending == ".parquet":
        table = pd.read_parquet(path)
        assert table["pos"].isna().tolist() == [False, True, True]
        assert [list(x) for x in table["reason"]] == [[None], ["malformed"] * 2, ["malformed"]]
        return
    lines = path.read_text().splitlines()[-3:]
    if ending == ".tsv":
        assert lines == [
            "chr1\t1\t.\tA\tC\t.\t.",
            "chr1\t7q\todd\tA\tC,G\t.,.\tmalformed,malformed",
            "chr1\t3\t.\t.\t.\t.\tmalformed",
        ]
        return
    assert lines[1:] == [
        "chr1\t7q\todd\tA\tC,G\t.\tPASS\tDP=1;DNAMDLM_REASON=malformed,malformed",
        "chr1\t3\t.\t.\t.\t.\t.\tDNAMDLM_REASON=malformed",
    ]


def test_bases_are_letters_of_the_genome(store):
    assert bases(store, "chr1", 6, 11) == "GTNNA"
    assert bases(store, "chrM", 0, 4) == "GGCC"


def test_a_row_with_a_tab_at_the_end_is_named_as_that(tmp_path):
    path = tmp_path / "a.vcf"
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    path.write_text(header + "chr1\t1\t.\tA\tC\t.\t.\t.\t\n")
    (row,) = VariantFile(path).rows()
    assert row.fault == (
        "9 tab-separated columns, the header has 8; the row ends with a tab, remove it"
    )
