"""Scored variants as files, written and read again."""

import gzip
import io
import json
import random
import zlib

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnamdlm.data.variants.variant_tables import (
    ScoredVariant,
    as_record,
    write_rows,
)
from dnamdlm.data.variants.vcf import VariantFile
from tests.data.test_variants import HEADER, NAMES, row, write, write_table

DNA = st.text("ACGTNacgtn", min_size=1, max_size=6)


ALT = st.one_of(
    DNA, st.sampled_from(["*", "<DEL>", "<INS:ME>", "G]17:198]", "]13:5]T", "C.", ".A"])
)


WORD = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters=","), min_size=1)


ROW = st.tuples(
    WORD.filter(lambda x: not x.startswith("#")),
    st.integers(0, 10**12),
    WORD,
    DNA,
    st.one_of(st.just(["."]), st.lists(ALT, min_size=1, max_size=4)),
    WORD,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(ROW, min_size=1, max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.booleans(),
)
def test_what_is_written_is_read(tmp_path_factory, rows, end, packed):
    lines = [HEADER.replace("\n", end) + NAMES.replace("\n", end)]
    lines += [
        end.join([row(pos, ref, ",".join(alts), chrom, id=name, info=info).rstrip("\n"), ""])
        for chrom, pos, name, ref, alts, info in rows
    ]
    raw = "".join(lines).encode()
    path = tmp_path_factory.mktemp("v") / "v.vcf"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    found = list(VariantFile(path).rows())
    assert len(found) == len(rows)
    for variant, (chrom, pos, name, ref, alts, info) in zip(found, rows, strict=True):
        assert (variant.chrom, variant.start, variant.ref) == (chrom, pos - 1, ref.upper())
        assert (variant.identifier, variant.fields[7]) == (name, info)
        assert variant.fields[4].split(",") == alts
        assert len(variant.alts) == len(alts)


@pytest.mark.parametrize("ending", [".tsv", ".tsv.gz", ".vcf", ".vcf.gz"])
def test_every_row_is_written_in_order_with_a_value_per_allele(tmp_path, ending):
    names = NAMES.strip() + "\tFORMAT\ts1\n"
    texts = [row(5, "a", "C,G", id="x").strip() + "\tGT\t0/1\n", row(2).strip() + "\tGT\t1/1\n"]
    file = VariantFile(write(tmp_path, *texts, header=HEADER + names))
    path = tmp_path / f"out{ending}"
    scores = [([0.5, float("nan")], [None, "not_snv"]), ([-1.25], [None])]
    scored = [
        ScoredVariant(variant, {"llr": values}, reasons)
        for variant, (values, reasons) in zip(file.rows(), scores, strict=True)
    ]
    write_table(path, ending, file, scored)
    raw = path.read_bytes()
    if ending.endswith(".gz"):
        raw = zlib.decompress(raw, 31) if ending == ".tsv.gz" else gzip.decompress(raw)
    lines = raw.decode().splitlines()
    if ending.startswith(".tsv"):
        assert lines == [
            "## llr: a ratio, nats",
            "chrom\tpos\tid\tref\talt\tllr\treason",
            "chr1\t5\tx\ta\tC,G\t0.5,.\t.,not_snv",
            "chr1\t2\t.\tA\tC\t-1.25\t.",
        ]
        return
    info = "DNAMDLM_LLR=0.5,.;DNAMDLM_REASON=.,not_snv"
    assert lines[-2:] == [
        f"chr1\t5\tx\ta\tC,G\t.\tPASS\t{info}\tGT\t0/1",
        "chr1\t2\t.\tA\tC\t.\tPASS\tDNAMDLM_LLR=-1.25\tGT\t1/1",
    ]
    assert lines[:2] == HEADER.splitlines()
    assert '##INFO=<ID=DNAMDLM_LLR,Number=A,Type=Float,Description="a ratio, nats">' in lines
    assert lines[-3] == names.strip()
    # what was written is read again, and new scores take the place of the old ones.
    again, second = VariantFile(path), tmp_path / "second.vcf"
    anew = [ScoredVariant(x, {"llr": [2.0] * len(x.alts)}, [None]) for x in again.rows()]
    write_table(second, ".vcf", again, anew)
    assert second.read_text().count("ID=DNAMDLM_LLR") == 1
    assert [v.fields[7] for v in VariantFile(second).rows()] == [
        "DNAMDLM_LLR=2,2", "DNAMDLM_LLR=2",
    ]  # fmt: skip


def test_parquet_has_a_list_per_row(tmp_path):
    import pandas as pd

    file = VariantFile(write(tmp_path, row(5, "a", "C,G"), row(2)))
    path = tmp_path / "out.parquet"
    scored = [
        ScoredVariant(v, {"llr": [0.5, float("nan")][: len(v.alts)]}, [None] * len(v.alts))
        for v in file.rows()
    ]
    write_table(path, ".parquet", file, scored)
    table = pd.read_parquet(path)
    assert table["pos"].tolist() == [5, 2]
    assert [list(x) for x in table["alt"]] == [["C", "G"], ["C"]]
    assert as_record(scored[0])["llr"] == [0.5, None]
    flat = table.explode(["alt", "llr", "reason"])
    assert flat["llr"].astype(float).tolist()[::2] == [0.5, 0.5]


def groups_of(path, chroms, *, rows_of_file=1000):
    """Write rows at the positions 1, 2, ... of these chromosomes; chromosomes, first and last
    position of each row group.
    """
    lines, positions = [], dict.fromkeys(chroms, 0)
    for chrom in chroms:
        positions[chrom] += 1
        record = {"chrom": chrom, "pos": positions[chrom], "llr": [0.5], "reason": [None]}
        lines.append(json.dumps(record).encode() + b"\n")
    head = json.dumps({"scores": [["llr", "a ratio, nats"]], "extras": []})
    cuts = range(0, len(lines), rows_of_file)
    files = [io.BytesIO(b"".join(lines[i : i + rows_of_file])) for i in cuts]
    write_rows(path, ".parquet", head, files)
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    found = []
    for group in groups:
        chrom, pos = (group.column(i).statistics for i in range(2))
        found.append((chrom.min, chrom.max, pos.min, pos.max))
    assert sum(group.num_rows for group in groups) == len(lines)
    return found


def test_a_row_group_ends_where_the_chromosome_changes(tmp_path):
    # of chr3 to chr5 there are too few rows for a group of their own.
    numbers = {"chr1": 6000, "chr2": 100, "chr3": 30, "chr4": 33, "chr5": 1, "chr6": 5}
    chroms = [name for name, number in numbers.items() for _ in range(number)]
    path = tmp_path / "o.parquet"
    assert groups_of(path, chroms) == [
        ("chr1", "chr1", 1, 4096), ("chr1", "chr1", 4097, 6000), ("chr2", "chr2", 1, 100),
        ("chr3", "chr5", 1, 33), ("chr6", "chr6", 1, 5),
    ]  # fmt: skip
    content = path.read_bytes()
    for rows in (1, 77, len(chroms)):
        groups_of(path, chroms, rows_of_file=rows)
        assert path.read_bytes() == content
    (fragment,) = ds.dataset(path).get_fragments()
    place = (ds.field("chrom") == "chr1") & (ds.field("pos") >= 5000)
    assert [group.id for group in fragment.subset(place).row_groups] == [1]
    assert [group.id for group in fragment.subset(ds.field("chrom") == "chr4").row_groups] == [3]


def test_rows_in_random_order_have_one_group_more_for_each_chromosome_at_most(tmp_path):
    chroms = random.Random(1).choices(["chr1", "chr2", "chr3"], k=3 * 4096)
    assert 3 <= len(groups_of(tmp_path / "o.parquet", chroms)) <= 3 + 3
    # contigs with a row each share groups.
    contigs = [f"c{i:04}" for i in range(640)]
    assert len(groups_of(tmp_path / "o.parquet", contigs)) == 10
