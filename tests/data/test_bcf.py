"""BCF files and regions of indexed files: the rows of the VCF file; mistakes are one sentence."""

import gzip
import logging
import random
import sys

import pytest

from dnamdlm.data.variants.tabix import tabix_index
from dnamdlm.data.variants.variant_indexes import read_index
from dnamdlm.data.variants.variant_regions import RowsWithin, regions_within
from dnamdlm.data.variants.variant_sources import open_variants
from dnamdlm.errors import ConfigError, DataError

pysam = pytest.importorskip("pysam", reason="pysam is not installed")
pytest.importorskip("pysam.bcftools")

SIZES = {"chr2": 900_000, "chr10": 40_000, "chrM": 5_000}
# on both sides of where the regions begin and end.
EDGES = {
    "chr2": (5, 6, 9000, 9001, 100_000, 100_001, 150_000, 150_001),
    "chr10": (6, 7, 8, 100, 101, 9500, 9501), "chrM": (3999, 4000),
}  # fmt: skip
HEAD = "##fileformat=VCFv4.3\n" + "".join(
    f"##contig=<ID={name},length={size}>\n" for name, size in SIZES.items()
)
INFO = '##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
KINDS = [
    "v.vcf", "plain.vcf.gz", "own.vcf.gz", "tbi.vcf.gz", "csi.vcf.gz", "bare.vcf.gz", "v.bcf",
    "bare.bcf",
]  # fmt: skip
WHERE = [
    "chr2:1-900,000",
    "chr2:100,001-150,000",
    "chr10:7-7",
    "chrM:4,000-99,000,000,000",
    "i.bed",
]


def lines_of(draw, number=1500):
    rows = []
    for name, size in SIZES.items():
        share = number * size // sum(SIZES.values())
        for place in sorted({*draw.sample(range(1, size), share), *EDGES[name]}):
            ref = "".join(draw.choices("ACGT", k=draw.choice((1, 1, 1, 900))))
            alt = draw.choice(("A", "<DEL>", "C,GT", "*"))
            rows.append(f"{name}\t{place}\t.\t{ref}\t{alt}\t.\tPASS\t.\n")
    return rows


def write_all(folder, rows):
    """The rows as VCF, plain, gzip and bgzip, and as BCF, with and without an index."""
    text = f"{HEAD}{INFO}{COLUMNS}{''.join(rows)}"
    (folder / "v.vcf").write_text(text)
    pysam.tabix_compress(str(folder / "v.vcf"), str(folder / "bare.vcf.gz"), force=True)
    (folder / "plain.vcf.gz").write_bytes(gzip.compress(text.encode()))
    pysam.bcftools.view(
        "-Ob", "-o", str(folder / "bare.bcf"), str(folder / "v.vcf"), catch_stdout=False
    )
    for name, like, options in (
        ("tbi.vcf.gz", "bare.vcf.gz", {"preset": "vcf"}),
        ("csi.vcf.gz", "bare.vcf.gz", {"preset": "vcf", "csi": True}),
        ("v.bcf", "bare.bcf", {"preset": "bcf"}),
    ):
        (folder / name).write_bytes((folder / like).read_bytes())
        pysam.tabix_index(str(folder / name), force=True, **options)
    # as `score out=FILE.vcf.gz` writes one.
    (folder / "own.vcf.gz").write_bytes((folder / "bare.vcf.gz").read_bytes())
    (folder / "own.vcf.gz.tbi").write_bytes(tabix_index(folder / "own.vcf.gz"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bcf")
    write_all(folder, lines_of(random.Random(2)))
    # two that overlap, one that touches, and one on a record that the files do not have.
    intervals = ["chr10\t100\t9000", "chr2\t5\t7000", "chr10\t8000\t9500", "chr2\t7000\t9000",
                 "chrX\t1\t5"]  # fmt: skip
    (folder / "i.bed").write_text("\n".join(intervals) + "\n")
    return folder


def rows_in(folder, name, within=None):
    source = open_variants(folder / name)
    if within is not None:
        path = str(folder / within) if within.endswith("bed") else within
        source = RowsWithin(source, regions_within(path))
    return source


def fields_of(source):
    return [(*row.fields, row.start, row.fault) for row in source.rows()]


def test_the_rows_of_a_bcf_file_are_those_of_its_vcf_file(folder):
    wanted, found = rows_in(folder, "v.vcf"), rows_in(folder, "v.bcf")
    assert fields_of(found) == fields_of(wanted)
    # twice, since a command reads its rows twice.
    assert fields_of(found) == fields_of(wanted)
    assert found.columns == wanted.columns
    assert set(wanted.meta) <= set(found.meta)
    assert [row.line for row in found.rows()][:3] == [1, 2, 3]


@pytest.mark.parametrize("within", WHERE)
def test_a_region_has_the_rows_that_begin_in_it_however_it_is_read(folder, within):
    parts = [("chr10", 100, 9500), ("chr2", 5, 9000)] if within == "i.bed" else [
        (x.split(":")[0], int(x.split(":")[1].split("-")[0]) - 1, int(x.split("-")[1]))
        for x in [within.replace(",", "")]
    ]  # fmt: skip
    wanted = [
        row for row in fields_of(rows_in(folder, "v.vcf"))
        if any(row[0] == chrom and start <= row[8] < end for chrom, start, end in parts)
    ]  # fmt: skip
    found = {name: rows_in(folder, name, within) for name in KINDS}
    for name, source in found.items():
        assert fields_of(source) == wanted, name
    assert len({source.digest() for source in found.values()}) == 1
    assert wanted


@pytest.mark.parametrize("name", ["own.vcf.gz", "tbi.vcf.gz", "csi.vcf.gz", "v.bcf"])
def test_with_an_index_the_file_is_not_read_to_its_end(folder, name, monkeypatch):
    source = rows_in(folder, name, "chrM:1-900")
    monkeypatch.setattr(source.source, "rows", lambda: pytest.fail("it was read whole"))
    assert [row.chrom for row in source.rows()] == ["chrM"] * len(list(source.rows()))
    assert source.unit == "row"


def test_a_missing_index_is_named_with_what_makes_one(folder, caplog):
    with caplog.at_level(logging.INFO):
        rows_in(folder, "bare.bcf", "chrM:1-900")
    assert "has no index, so that all of it is read; bcftools index FILE makes one" in caplog.text


@pytest.mark.parametrize(
    "change", ["other rows", "a row before", "a row behind", "another record", "cut", "noise"]
)
def test_an_index_that_does_not_belong_to_its_file_is_refused(tmp_path, change):
    rows = lines_of(random.Random(3), 900)
    write_all(tmp_path, rows)
    names = ("tbi.vcf.gz.tbi", "csi.vcf.gz.csi", "v.bcf.csi")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    changed = {
        "other rows": lines_of(random.Random(4), 900),
        "a row before": [rows[0].replace("\t.\t", "\tx\t", 1), *rows],
        "a row behind": [*rows, rows[-1]],
        "another record": [row for row in rows if not row.startswith("chr2")],
    }.get(change, rows)
    if changed is not rows:
        write_all(tmp_path, changed)
    for name, content in before.items():
        index = tmp_path / name
        index.write_bytes({"cut": content[:-40], "noise": b"x" + content}.get(change, content))
        message = r"is not the index of .* as it is now; make it again|truncated|not a readable"
        with pytest.raises(DataError, match=message) as caught:
            rows_in(tmp_path, index.stem, "chrM:1-900")
        assert str(index) in str(caught.value)


def test_a_block_of_rows_behind_those_of_an_index_is_noticed(tmp_path):
    rows = lines_of(random.Random(3), 90)
    write_all(tmp_path, rows)
    (tmp_path / "more").write_text(rows[-1])
    pysam.tabix_compress(str(tmp_path / "more"), str(tmp_path / "more.gz"))
    for name in ("own.vcf.gz", "tbi.vcf.gz", "csi.vcf.gz"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-28] + (tmp_path / "more.gz").read_bytes())
        with pytest.raises(DataError, match=r"is not the index of .* as it is now"):
            rows_in(tmp_path, name, "chrM:1-900")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_a_bcf_file_that_was_cut_short_is_one_sentence(folder, tmp_path, share, capfd):
    content = (folder / "v.bcf").read_bytes()
    # all but the block that ends the file, which htslib reads without a complaint.
    end = len(content) - 28
    (tmp_path / "x.bcf").write_bytes(content[: int(end * share)])
    with pytest.raises(DataError, match=r"x.bcf: .*(truncated|empty)"):
        list(rows_in(tmp_path, "x.bcf").rows())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.9])
def test_a_damaged_bcf_file_is_one_sentence(folder, tmp_path, place, capfd):
    content = bytearray((folder / "v.bcf").read_bytes())
    content[int(len(content) * place)] ^= 0x55
    (tmp_path / "x.bcf").write_bytes(content)
    with pytest.raises(DataError, match=r"x.bcf: .*damaged"):
        list(rows_in(tmp_path, "x.bcf").rows())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("within", "error", "message"),
    [
        ("chr3:1-9", DataError, "within=chr3:1-9: record 'chr3' is not in .*; the nearest of"),
        ("10:1-9", DataError, "record '10' is not in .*, but 'chr10' is"),
        ("chr2:9-1", ConfigError, "within=chr2:9-1 is not a valid region"),
        ("chr2", ConfigError, "within=chr2 is neither a region nor a file"),
        ("no.bed", ConfigError, "within=no.bed is neither a region nor a file"),
    ],
)
@pytest.mark.parametrize("name", ["v.vcf", "tbi.vcf.gz", "v.bcf"])
def test_regions_that_are_none_are_one_sentence(folder, name, within, error, message):
    with pytest.raises(error, match=message):
        list(RowsWithin(open_variants(folder / name), regions_within(within)).rows())


def test_a_record_without_rows_gives_none(folder, tmp_path):
    write_all(tmp_path, [row for row in lines_of(random.Random(1), 90) if "chrM" not in row])
    for name in KINDS:
        assert fields_of(rows_in(tmp_path, name, "chrM:1-99")) == []


def test_without_pysam_bcf_is_refused_and_indexed_vcf_is_read_whole(folder, monkeypatch, caplog):
    wanted = fields_of(rows_in(folder, "tbi.vcf.gz", "chr10:1-9000"))
    monkeypatch.setitem(sys.modules, "pysam", None)
    with pytest.raises(DataError, match=r"v.bcf: .*pysam is needed; pip install 'dnamdlm\[dna\]'"):
        open_variants(folder / "v.bcf")
    with caplog.at_level(logging.INFO):
        assert fields_of(rows_in(folder, "tbi.vcf.gz", "chr10:1-9000")) == wanted
    assert "is read whole, since pysam is not installed" in caplog.text


def test_an_index_says_what_its_file_has(folder):
    index = read_index(folder / "tbi.vcf.gz.tbi")
    assert index.names == tuple(SIZES)
    assert index.end >> 16 == (folder / "tbi.vcf.gz").stat().st_size - 28
    assert read_index(folder / "csi.vcf.gz.csi").names == index.names
    assert read_index(folder / "v.bcf.csi").names == ()
