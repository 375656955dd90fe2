"""The wheel: what it holds, and that an environment without the checkout runs every command."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from dnamdlm.__main__ import ENTRIES
from tests.repository.sources import ROOT

LARGEST = 8_000_000
ONE_LINER = "import dnamdlm; print(dnamdlm.load('yeast-demo').fill('ACGTNNNNACGT'))"
# each command once, in the order in which one needs what another wrote.
TINY = (
    "doctor",
    "train config=tiny run_dir=run trainer.max_steps=2 trainer.valid_windows=2 "
    "data.annotation=null backbone.hidden_size=16 backbone.num_heads=2 backbone.num_blocks=1",
    "evaluate model=run split=valid limit=4 draws=1 max_order=1",
    "sample model=yeast-demo num_sequences=4 length=64 out=s.fa",
    "design model=yeast-demo reward=[{motif:TATA}] num_sequences=2 length=40 out=d.fa "
    "likelihood_draws=0",
    "judge samples=s.fa reference=s.fa model=run out=j.json",
    "report run_dir=run",
    "tracks model=yeast-demo locus=chrI:1000-1200 out=t.tsv",
    "tracks model=yeast-demo locus=chrI:1000-1200 out=t",
    "interpret model=yeast-demo locus=chrI:1000-1020 out=i parts=[mutagenesis]",
    "score model=yeast-demo variants=v.vcf data.fasta=g.fa out=v.tsv draws=1",
    "score model=yeast-demo variants=v.vcf data.fasta=g.fa out=w.tsv draws=1 shard=1/2",
    "score model=yeast-demo variants=v.vcf data.fasta=g.fa out=w.tsv draws=1 shard=2/2",
    "gather out=w.tsv",
    "embed model=yeast-demo data.fasta=s.fa out=e.npz",
    "finetune config=table data.train=t.csv model=yeast-demo run_dir=ft baselines=[] seeds=1 "
    "training.epochs=1 bootstrap=0 method=probe",
    "predict model=ft input=t.csv out=p.tsv",
    "slim run_dir=run out=slim",
    "export model=run out=exported",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the checkout, built without a network."""
    pytest.importorskip("build", reason="build is not installed")
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_one_name_and_everything_that_a_command_reads(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    first = {name.partition("/")[0] for name in names}
    assert {name for name in first if not name.endswith(".dist-info")} == {"dnamdlm"}
    folders = {
        "pretrained/yeast-demo": ("README.md", "config.json", "model.safetensors",
                                  "tokenizer.json"),
        "configs": tuple(f"{name}.yaml" for name in ENTRIES if name != "finetune"),
        "configs/finetune": ("finetune.yaml",),
        "scripts/data_prep": ("species.tsv",),
        "data/genome/embedded": ("checksums.json",),
        "": ("py.typed", *(f"{name}.py" for name in ENTRIES)),
    }  # fmt: skip
    for folder, files in folders.items():
        for file in files:
            assert str(Path("dnamdlm", folder, file)) in names
    assert wheel.stat().st_size < LARGEST


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs `dnamdlm` or Python in an environment that has the wheel and not the checkout."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, "--quiet", wheel], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip does not install the wheel: {done.stderr.strip()[-200:]}")
    # the dependencies are those of this environment, but for the package itself.
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others) + "\n")
    work = folder / "work"
    work.mkdir()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"DNAMDLM_CACHE_DIR": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}

    def run(*words):
        command = [folder / "venv" / "bin" / words[0], *words[1:]]
        return subprocess.run(
            command, cwd=work, env=variables, capture_output=True, text=True, check=False
        )

    run.work = work
    where = run("python", "-c", "import dnamdlm; print(dnamdlm.__file__)").stdout
    assert Path(where.strip()).is_relative_to(site), where
    return run


@pytest.mark.slow
def test_the_model_of_the_package_works_at_once(installed):
    done = installed("python", "-c", ONE_LINER)
    assert done.returncode == 0, done.stderr
    assert (done.stdout[:4], done.stdout[8:], len(done.stdout)) == ("ACGT", "ACGT\n", 13)


@pytest.mark.slow
def test_every_command_of_the_wheel_says_what_it_does(installed):
    for name in ENTRIES:
        done = installed("dnamdlm", name, "--help")
        assert done.returncode == 0, done.stderr
        assert "Settings (key=value" in done.stdout


@pytest.mark.slow
def test_every_command_of_the_wheel_runs(installed):
    work = installed.work
    (work / "g.fa").write_text(">c\n" + "ACGTTGCATTAGCCAT" * 40 + "\n")
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (work / "v.vcf").write_text(head + "c\t100\t.\tT\tA\t.\t.\t.\n")
    rows = [f"{'ACGT' * 8}{'AC' * i},{'yes' if i % 2 else 'no'}\n" for i in range(20)]
    (work / "t.csv").write_text("sequence,label\n" + "".join(rows))
    assert {line.split()[0] for line in TINY} == set(ENTRIES)
    for line in TINY:
        done = installed("dnamdlm", *line.split())
        assert done.returncode == 0, f"{line}\n{done.stderr}"
