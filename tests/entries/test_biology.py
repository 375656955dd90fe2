"""Files of biologists as they are: larger in scope than the genome, circular, or with a bad row."""

import json

import pytest

from tests.entries.commands import run

BASES = "GGATCACAGTCTACACTGCTCACTCCAACCCCGGCCCCTGAGTCCGAGGAGAGGGTGCTTCAGAGTATGTATACCACTGGGTAG"
RECORDS = {"chr1": 2000, "chr2": 1200, "chr3": 900, "plasmid": 1500}
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
CODING = (
    "chr1\tx\tCDS\t101\t400\t.\t+\t0\tID=a\nchr3\tx\tCDS\t11\t40\t.\t-\t0\tID=b\n"
    "plasmid\tx\tCDS\t11\t40\t.\t-\t0\tID=c\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biology")
    text = ""
    for turn, (name, size) in enumerate(RECORDS.items()):
        shown = BASES[11 * turn :] + BASES[: 11 * turn]
        text += f">{name}\n{(shown * 30)[:size]}\n"
    (folder / "g.fa").write_text(text)
    (folder / "circle.gff3").write_text(
        f"##gff-version 3\n{CODING}"
        "plasmid\tRefSeq\tregion\t1\t1500\t.\t+\t.\tID=r;Is_circular=true\n"
        "plasmid\tRefSeq\tCDS\t1401\t1640\t.\t+\t0\tID=w\n"
    )
    (folder / "extra.gff3").write_text(f"{CODING}chrUn_1\tx\tCDS\t1\t30\t.\t+\t0\tID=d\n")
    (folder / "strand.gff3").write_text(f"{CODING}chr1\tx\tgene\t5\t30\t.\t1\t.\tID=z\n")
    return folder


def rows(first=100, count=8):
    """Variants of chr1 that agree with the genome."""
    chosen = (BASES * 30)[first - 1 : first - 1 + count]
    return "".join(
        f"chr1\t{first + i}\t.\t{ref}\t{'ACGT'['CGTA'.index(ref)]}\t.\t.\t.\n"
        for i, ref in enumerate(chosen)
    )


def scored(trained, folder, text, *more):
    (folder / "v.vcf").write_text(HEADER + text)
    result = run(
        "score", f"model={trained}", f"variants={folder}/v.vcf", f"data.fasta={folder}/g.fa",
        f"out={folder}/o.tsv", "scores=[llr]", *more, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = (folder / "o.tsv").read_text().splitlines()
    return [line.split("\t") for line in lines if not line.startswith("##")]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ("chr2\t1201\tt\tN\t.[chr1:77[\t.\t.\tSVTYPE=BND\n", "telomere_end"),
        ("chr2\t1201\tt\tN\t<DUP>\t.\t.\tSVTYPE=DUP\n", "telomere_end"),
        ("chr2\t0\tt\tN\t<DUP>\t.\t.\tSVTYPE=DUP\n", "position_zero"),
        ("chr1\t300\tt\tN\t<DEL>\t.\t.\tSVTYPE=DEL\n", "ambiguous"),
        ("chr1\t300\tt\tACACACACAC\t<DEL>\t.\t.\tSVTYPE=DEL\n", "ref_mismatch"),
        ("chr1\t1x\tt\tA\tC\t.\t.\t.\n", "malformed"),
        ("chr1\t300\n", "malformed"),
    ],
)
def test_one_odd_row_does_not_decide_about_the_genome(trained, folder, odd, reason):
    names, *table = scored(trained, folder, rows() + odd)
    assert [row[-1] for row in table] == ["."] * 8 + [reason]
    assert names == ["chrom", "pos", "id", "ref", "alt", "llr", "reason"]
    assert all(row[5] != "." for row in table[:8])


def test_a_shard_without_variants_gives_a_header(trained, folder):
    (names,) = scored(trained, folder, "")
    assert names == ["chrom", "pos", "id", "ref", "alt", "llr", "reason"]
    head = (folder / "o.tsv").read_text().splitlines()[0]
    assert head.startswith("## llr: log p(ALT) - log p(REF)")


def evaluated(trained, folder, annotation, *more):
    out = folder / f"{annotation}.json"
    result = run(
        "evaluate", f"model={trained}", f"data.fasta={folder}/g.fa", "data.train=[chr1]",
        "data.valid=[chr2]", "data.test=[chr3,plasmid]", f"data.annotation={folder}/{annotation}",
        "draws=1", "max_order=2", f"out={out}", *more, check=False,
    )  # fmt: skip
    return result, out


@pytest.mark.parametrize(("annotation", "coding"), [("circle.gff3", 30 + 240), ("extra.gff3", 60)])
def test_an_annotation_of_circles_and_of_other_records_is_used(trained, folder, annotation, coding):
    result, out = evaluated(trained, folder, annotation)
    assert result.returncode == 0, result.stderr
    found = json.loads(out.read_text())["likelihood"]
    (model,) = [row for row in found["rows"] if row["name"] == "model"]
    assert model["classes"]["coding"]["bases"] == coding
    assert model["classes"]["all"]["bases"] == 2400
    assert ("chrUn_1" in result.stderr) == (annotation == "extra.gff3")


@pytest.mark.slow
def test_what_evaluation_refuses_a_dry_run_refuses(trained, folder):
    result, out = evaluated(trained, folder, "strand.gff3")
    assert (result.returncode, out.exists()) == (2, False)
    dry = run(
        "train", "config=tiny", "dry_run=true", f"data.fasta={folder}/g.fa", "data.valid=[chr2]",
        "data.test=[chr3]", f"data.annotation={folder}/strand.gff3", f"run_dir={folder}/run",
        check=False,
    )  # fmt: skip
    assert dry.returncode == 2
    for message in (result.stderr, dry.stderr):
        assert "strand.gff3, line 4: strand must be '+', '-' or '.', got '1'" in message
