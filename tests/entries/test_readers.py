"""Every entry reads the same files alike: through pipes, as RNA, with rows that are no DNA."""

import hashlib
import json
import shutil
import subprocess

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from dnamdlm.lm.checkpoint import MANIFEST
from tests.entries.commands import SHORT, command, run
from tests.entries.forks import run_all

VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
GENOME = "ACGTTGCAAC" * 40
SHORT_FT = (
    "config=table", "baselines=[]", "seeds=1", "training.epochs=1", "bootstrap=0", "method=probe",
)  # fmt: skip


def piped(text, entry, *arguments):
    result = subprocess.run(
        command(entry, *arguments), input=text, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")
    (folder / "g.fa").write_text(f">c\n{GENOME}\n")
    (folder / "u.fa").write_text(f">c\n{GENOME.replace('T', 'U')}\n")
    (folder / "v.vcf").write_text(f"{VCF}c\t201\t=x\x1b[31m\tA\tC\t.\t.\t.\n")
    return folder


@pytest.fixture(scope="module")
def head(trained, folder):
    rows = "".join(f"{GENOME[i : i + 30]},{i % 2}\n" for i in range(40))
    (folder / "train.csv").write_text(f"sequence,label\n{rows}")
    run(
        "finetune", f"model={trained}", *SHORT_FT, f"data.train={folder}/train.csv",
        f"run_dir={folder}/ft",
    )  # fmt: skip
    return folder / "ft"


@pytest.mark.slow
def test_variants_through_a_pipe_and_rna_score_as_files_of_dna_do(trained, folder):
    settings = (f"model={trained}", "scores=[llr]")
    run("score", *settings, f"variants={folder}/v.vcf", f"data.fasta={folder}/g.fa",
        f"out={folder}/file.tsv")  # fmt: skip
    piped((folder / "v.vcf").read_text(), "score", *settings, "variants=/dev/stdin",
          f"data.fasta={folder}/u.fa", "data.rna=true", f"out={folder}/pipe.tsv")  # fmt: skip
    table = (folder / "file.tsv").read_text()
    assert table == (folder / "pipe.tsv").read_text()
    assert "\t=x\\x1b[31m\t" in table
    for ending in ("vcf", "parquet"):
        run("score", *settings, f"variants={folder}/v.vcf", f"data.fasta={folder}/g.fa",
            f"out={folder}/o.{ending}")  # fmt: skip
    assert "\t=x\\x1b[31m\t" in (folder / "o.vcf").read_text()
    assert pd.read_parquet(folder / "o.parquet").id.tolist() == ["=x\\x1b[31m"]


def test_a_genome_through_a_pipe_is_embedded_and_n_alone_is_counted(trained, folder):
    text = f">c\n{GENOME.replace('T', 'U')}\n>n\n{'N' * 50}\n"
    result = piped(text, "embed", f"model={trained}", "data.fasta=/dev/stdin", "data.rna=true",
                   f"out={folder}/e.parquet")  # fmt: skip
    assert pd.read_parquet(folder / "e.parquet").name.tolist() == ["c", "n"]
    assert "1 of 2 sequences consist of N alone, the first is 'n'" in " ".join(
        result.stderr.split()
    )


def test_a_template_of_rna_through_a_pipe_is_filled(trained, folder):
    piped(">t\nACGUNNNN\n", "sample", f"model={trained}", "template=/dev/stdin", "data.rna=true",
          "num_sequences=1", f"out={folder}/s.fa")  # fmt: skip
    (sequence,) = (folder / "s.fa").read_text().splitlines()[1:]
    assert sequence.startswith("ACGT")
    assert set(sequence) <= set("ACGT")


def test_a_row_that_is_no_dna_has_a_reason_and_the_others_a_prediction(head, folder):
    text = "name,sequence\n=a,ACGTTGCA\nb,\nc,ACXT\n-d,ACGTNNNN\n"
    result = piped(text, "predict", f"model={head}", "input=/dev/stdin", f"out={folder}/p.tsv")
    table = pd.read_csv(folder / "p.tsv", sep="\t", keep_default_na=False)
    assert table.name.tolist() == ["=a", "b", "c", "-d"]
    assert table.prediction.astype(bool).tolist() == [True, False, False, True]
    assert [reason[:5] for reason in table.reason] == ["", "is em", "has '", ""]
    assert "2 rows cannot be read" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "given", ["data.fasta={folder}/g.fa", "data.cache_dir={folder}"], ids=["fasta", "cache_dir"]
)
def test_predict_refuses_a_genome_without_effect(head, folder, given):
    result = run("predict", f"model={head}", f"input={folder}/train.csv", f"out={folder}/x.tsv",
                 given.format(folder=folder), check=False)  # fmt: skip
    assert result.returncode == 2
    assert "has no effect: no genome is read for a file that ends in .csv" in result.stderr


@pytest.mark.slow
def test_predict_refuses_what_embed_refuses(head, trained, folder):
    (folder / "twice.fa").write_text(">a\nACGT\n>a\nACGT\n")
    for entry, *given in (
        ("predict", f"model={head}", f"input={folder}/twice.fa", f"out={folder}/x.tsv"),
        ("embed", f"model={trained}", f"data.fasta={folder}/twice.fa", f"out={folder}/x.npz"),
    ):
        result = run(entry, *given, check=False)
        assert result.returncode == 2
        assert "'a' was used before" in " ".join(result.stderr.split())


def test_a_checkpoint_of_nan_gives_no_result(trained, folder, head):
    del head
    step = spoiled(trained, folder / "nan")
    commands = [
        [entry, f"model={step}", *given]
        for entry, *given in (
            ("sample", "num_sequences=1", f"out={folder}/n.fa"),
            ("score", f"variants={folder}/v.vcf", f"data.fasta={folder}/g.fa",
             f"out={folder}/n.tsv"),
            ("embed", f"data.fasta={folder}/g.fa", f"out={folder}/n.npz"),
            ("evaluate", "limit=4", "max_order=0", f"out={folder}/n.json"),
            ("tracks", "locus=c:10-100", f"data.fasta={folder}/g.fa", f"out={folder}/n2.tsv"),
            ("finetune", *SHORT_FT, f"data.train={folder}/train.csv", f"run_dir={folder}/n"),
            ("finetune", *SHORT_FT[:-1], "method=full", f"data.train={folder}/train.csv",
             f"run_dir={folder}/n"),
        )
    ]  # fmt: skip
    commands.append(["train", *SHORT, f"init_from={step}", f"run_dir={folder}/n"])
    for asked, (code, _, err) in zip(commands, run_all(commands, folder), strict=True):
        assert code == 2, (asked, err)
        assert "are NaN or infinite" in err.splitlines()[-1]
    assert not [path for path in folder.glob("n*") if path.is_file()]


@pytest.mark.slow
def test_a_run_does_not_resume_from_a_checkpoint_of_nan(trained, folder):
    run_dir = folder / "nan_run"
    shutil.copytree(trained, run_dir)
    newest = max((run_dir / "checkpoints").glob("step_*"))
    shutil.rmtree(newest)
    spoiled(trained, newest)
    result = run("train", *SHORT, "trainer.max_steps=21", "resume.allow=[trainer]",
                 f"run_dir={run_dir}", check=False)  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert "are NaN or infinite" in result.stderr.splitlines()[-1]


def spoiled(run_dir, target):
    """A copy of the newest checkpoint with weights of NaN and a manifest that fits."""
    newest = max((run_dir / "checkpoints").glob("step_*"))
    shutil.copytree(newest, target)
    manifest = json.loads((target / MANIFEST).read_text())
    for name in ("weights.safetensors", "average.safetensors"):
        file = target / name
        if file.is_file():
            save_file({k: v * float("nan") for k, v in load_file(file).items()}, file)
            content = file.read_bytes()
            manifest["files"][name] |= {
                "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
            }  # fmt: skip
    (target / MANIFEST).write_text(json.dumps(manifest))
    return target
