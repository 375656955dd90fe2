"""What can be known to be wrong is said before a model is read or anything is computed."""

import subprocess
import sys

import pytest

from data_prep.text import main as prepare_text
from dnamdlm.data.genome.mixture import GenomeMixture
from dnamdlm.data.named_files import check_named_files
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from tests.helpers.entries import composed, judge, sample, settings_of, tracks, train

RNG_BASES = "ACGTTGCAAGCTTAGGCCTAGATCCGATATTTGCACCGTGAAACTGTCTTCAGGGATCAATGGA"
GENOME = "".join(f">{name}\n{RNG_BASES * 20}\n" for name in ("chr1", "chr2", "chr3"))
GOOD = "chr1\tx\tCDS\t101\t400\t.\t+\t0\tID=a\n"
SMALL = ["config=tiny", "backbone.hidden_size=16", "backbone.num_blocks=1", "trainer.max_steps=2"]

BAD = {
    "odd strand": (GOOD + "chr1\tx\tgene\t5\t30\t.\t1\t.\tID=z\n", "line 2: strand must be"),
    "past the end": (GOOD + "chr2\tx\tCDS\t1\t99999\t.\t+\t0\tID=z\n", r"data\.circular=\[chr2\]"),
    "too few columns": ("chr1\tCDS\n", "2 tab-separated columns"),
    "another genome": ("20\tx\tCDS\t1\t9\t.\t+\t0\tID=z\n", "record '20' is not in the genome"),
    "no coding features": ("chr1\tx\tgene\t5\t30\t.\t+\t.\tID=z\n", "no CDS feature"),
    "a FASTA file": (">chr1\nACGT\n", "no features"),
    "nothing": ("", "the file is empty"),
    "a page": ("<html></html>\n", "HTML"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(GENOME)
    return tmp_path


def data(*more):
    return ["data.fasta=g.fa", "data.valid=[chr2]", "data.test=[chr3]", "run_dir=run", *more]


@pytest.mark.parametrize("dry", ["true", "false"])
@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_training_reads_the_annotation_that_evaluation_needs(folder, text, message, dry):
    (folder / "a.gff3").write_text(text)
    with pytest.raises(DataError, match=message):
        train(composed("train", *SMALL, *data("data.annotation=a.gff3", f"dry_run={dry}")))
    assert not (folder / "run").exists()


def test_a_dry_run_says_whether_its_folder_holds_another_run(folder):
    given = ["data.annotation=null", *data()]
    train(composed("train", *SMALL, *given))
    held = {path: path.stat().st_mtime_ns for path in (folder / "run").rglob("*")}
    train(composed("train", *SMALL, *given, "dry_run=true"))
    with pytest.raises(ConfigError, match=r"holds a run of another config.*was 0\.001"):
        train(composed("train", *SMALL, *given, "optimizer.learning_rate=0.1", "dry_run=true"))
    (folder / "g.fa").write_text(GENOME.replace("CGTGAA", "CGTGAT"))
    with pytest.raises(ConfigError, match="was trained on other data"):
        train(composed("train", *SMALL, *given, "dry_run=true"))
    train(composed("train", *SMALL, *given, "dry_run=true", "resume.allow=[data]"))
    assert {path: path.stat().st_mtime_ns for path in (folder / "run").rglob("*")} == held


def test_training_takes_an_annotation_of_more_than_the_genome(folder, caplog):
    circle = "chr2\tx\tCDS\t1251\t1270\t.\t+\t0\tIs_circular=true\n"
    (folder / "a.gff3").write_text(f"{GOOD}{circle}scaffold\tx\tCDS\t1\t9999\t.\t+\t0\tID=o\n")
    with caplog.at_level("INFO"):
        train(composed("train", *SMALL, *data("data.annotation=a.gff3", "dry_run=true")))
    assert "such as scaffold, are left out (1 in all)" in caplog.text


def test_the_annotation_of_a_recipe_is_not_that_of_another_genome(folder, caplog):
    with caplog.at_level("INFO"):
        train(composed("train", *SMALL, *data("dry_run=true")))
    assert "data.annotation=embedded:yeast is not used" in caplog.text


def test_the_annotation_of_each_genome_of_a_mixture_is_read(folder):
    (folder / "b.fa").write_text(GENOME.replace("ACGTT", "ACGTA"))
    (folder / "a.gff3").write_text(GOOD)
    (folder / "b.gff3").write_text(BAD["odd strand"][0])
    genomes = {
        name: {"fasta": f"{name}.fa", "annotation": f"{file}.gff3", "valid": ["chr2"]}
        for name, file in (("g", "a"), ("b", "b"))
    }
    opened = GenomeMixture(genomes, length=64).open()
    with pytest.raises(DataError, match=r"data\.genomes\.b: .*b\.gff3, line 2: strand"):
        opened.check_files()


def test_a_split_of_a_bed_file_may_hold_rows_of_other_records(folder, caplog):
    rows = [
        ("chr1", "train"),
        ("chr2", "valid"),
        ("chrUn", "train"),
        ("chr3", "test"),
        ("chrX", "x"),
    ]
    bed = "".join(f"{name}\t0\t900\t{part}\n" for name, part in rows)
    (folder / "s.bed").write_text(bed)
    given = ["data.fasta=g.fa", "data.valid=null", "data.test=null", "data.bed=s.bed"]
    with caplog.at_level("INFO"):
        train(composed("train", *SMALL, *given, "run_dir=run", "dry_run=true"))
    assert "such as line 3, are left out (2 in all)" in caplog.text
    (folder / "s.bed").write_text("1\t0\t900\ttrain\n2\t0\t900\tvalid\n")
    with pytest.raises(DataError, match=r"record '1' is not in the genome, but 'chr1' is.*nor"):
        train(composed("train", *SMALL, *given, "run_dir=run", "dry_run=true"))


def test_training_on_text_looks_for_the_shards_of_every_split(folder):
    (folder / "t.txt").write_text("\n".join(f"line number {i} of a text" for i in range(400)))
    prepare_text(["files=[t.txt]", "tokenizer=bytes", "out=corpus"])
    tree = composed(
        "train", "config=text", "data.corpus=corpus", "run_dir=run", "dry_run=true",
        "backbone=text_tiny", "data.length=32",
    )  # fmt: skip
    train(tree)
    (shard,) = (folder / "corpus").glob("test_*.bin")
    shard.unlink()
    with pytest.raises(DataError, match=r"test_00000\.bin is missing"):
        train(tree)


@pytest.mark.parametrize(
    ("entry", "given", "error", "message"),
    [
        (sample, ["out=x.fa", "motif=[TATA]"], ConfigError, "write letters@place"),
        (sample, ["out=x.fa", "motif=[T4TA@3]"], DataError, "holds '4'"),
        (sample, ["out=x.fa", "motif=[TATA@8]", "length=10"], ConfigError, "ends at 12"),
        (sample, ["out=x.fa", "motif=[TATA@0,GG@1]", "length=10"], ConfigError, "contradicts"),
        (tracks, ["out=x.wig", "locus=chr1:0-5"], ConfigError, "must end in"),
        (tracks, ["out=x.tsv", "locus=chr1"], ConfigError, "not a valid locus"),
        (judge, ["samples=g.fa", "motifs=g.fa"], DataError, "motifs"),
        (judge, ["samples=g.fa", "genetic_code=8"], ConfigError, "genetic_code=8 is unknown"),
    ],
)
def test_settings_are_checked_before_the_model_is_read(folder, entry, given, error, message):
    name = {sample: "sample", tracks: "tracks", judge: "judge"}[entry]
    assert settings_of(name, "model=nowhere", *given)
    with pytest.raises(error, match=message):
        entry(composed(name, "model=nowhere", *given))
    assert not list(folder.glob("x.*"))


def test_what_is_right_gets_as_far_as_the_model(folder):
    with pytest.raises((CheckpointError, DataError), match="nowhere"):
        sample(composed("sample", "model=nowhere", "out=x.fa", "motif=[TATA@3]"))


@pytest.mark.parametrize("package", ["pyjaspar", "pyrodigal"])
def test_a_missing_package_is_seen_before_the_model_is_read(folder, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    entry, name, given = {
        "pyjaspar": (judge, "judge", ["samples=g.fa", "motifs=jaspar:fungi"]),
        "pyrodigal": (judge, "judge", ["samples=g.fa", "genes=true"]),
    }[package]
    with pytest.raises(ConfigError, match=f"needs {package}, which is not installed"):
        entry(composed(name, "model=nowhere", *given))


MISSING = [
    ("score", ["variants=no.vcf", "data.fasta=g.fa", "out=o.tsv"], "variants=no.vcf: no such file"),
    ("score", ["variants=g.fa", "data.fasta=no.fa", "out=o.tsv"], "data.fasta=no.fa: no such file"),
    (
        "score",
        ["variants=g.fa", "data.fasta=g.fa", "out=no/o.tsv"],
        "out=no/o.tsv lies in a folder",
    ),
    ("embed", ["data.fasta=g.fa", "data.bed=no.bed", "out=o.npz"], "data.bed=no.bed: no such file"),
    ("sample", ["template=no.fa", "out=o.fa"], "template=no.fa: no such file"),
    ("sample", ["edit=no.fa", "out=o.fa"], "edit=no.fa: no such file"),
    ("sample", ["infill=no.bed", "data.fasta=g.fa", "out=o.fa"], "infill=no.bed: no such file"),
    ("judge", ["samples=no.fa"], "samples=no.fa: no such file"),
    ("judge", ["samples=g.fa", "reference=no.fa"], "reference=no.fa: no such file"),
    ("judge", ["samples=g.fa", "motifs=no.meme"], "motifs=no.meme: no such file"),
    ("predict", ["input=no.csv", "out=o.tsv"], "input=no.csv: no such file"),
    ("evaluate", ["data.annotation=no.gff3"], "data.annotation=no.gff3: no such file"),
    ("tracks", ["data.fasta=no.fa", "locus=a:0-5", "out=o.tsv"], "data.fasta=no.fa: no such file"),
]


@pytest.mark.parametrize(("entry", "given", "message"), MISSING)
def test_a_file_that_is_not_there_is_named_with_its_setting(folder, entry, given, message):
    with pytest.raises(DataError) as found:
        check_named_files(composed(entry, "model=x", *given))
    assert message in str(found.value)


def test_a_model_is_looked_for_where_its_folder_exists(folder):
    (folder / "runs").mkdir()
    (folder / "runs" / "a").mkdir()
    given = ["data.fasta=g.fa", "out=o.npz"]
    for name in ("runs/b", f"{folder}/b", f"{folder}/runs/b"):
        with pytest.raises(DataError, match=f"model={name} does not exist; give a run folder"):
            check_named_files(composed("embed", f"model={name}", *given))
    # what may be a name of the hub, or a folder, is left to the reader of models.
    for name in ("runs/a", "b", "organisation/b"):
        check_named_files(composed("embed", f"model={name}", *given))


def test_files_of_training_are_looked_for_too(folder):
    def message(*given):
        with pytest.raises(DataError) as found:
            check_named_files(composed("train", "run_dir=r", *given))
        return str(found.value)

    assert "data.labels=no.tsv: no such file" in message("config=tiny", "data.labels=no.tsv")
    assert "python -m data_prep.hg38" in message("config=hg38")
    assert "data.genomes" in message("config=species10")
    tree = composed("finetune", "config=table", "data.train=no.csv", "model=x", "run_dir=r")
    with pytest.raises(DataError, match=r"data\.train=no\.csv: no such file"):
        check_named_files(tree)


def test_what_stands_for_something_else_than_a_file_is_no_missing_file(folder):
    check_named_files(composed("train", "config=tiny", "run_dir=r"))
    check_named_files(composed("judge", "model=x", "samples=g.fa", "motifs=jaspar:fungi"))
    check_named_files(composed("sample", "model=x", "out=-"))
    check_named_files({"out": None, "data": None})


def test_a_missing_file_is_seen_before_torch_is_imported(folder):
    code = (
        "import sys\n"
        "from dnamdlm.command_line import run_entry\n"
        "from dnamdlm.score import main\n"
        "try:\n"
        "    run_entry('score', main, sys.argv[1:])\n"
        "finally:\n"
        "    print('torch' in sys.modules, 'pandas' in sys.modules)\n"
    )
    given = ["model=x", "variants=no.vcf", "data.fasta=g.fa", "out=o.tsv"]
    found = subprocess.run(
        [sys.executable, "-c", code, *given],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 2, found.stderr
    assert found.stderr.strip() == (
        "dnamdlm: variants=no.vcf: no such file; check the path, or write a variant as "
        "chrom:pos:ref:alt"
    )
    assert found.stdout.split() == ["False", "False"]
