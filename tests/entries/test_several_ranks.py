"""Training on one and two ranks, started by torchrun and by Lightning, as a user would."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

# no dropout: its noise belongs to a rank. More N than usual, so that windows differ in valid bases.
SETTINGS = (
    "config=tiny", "trainer.accelerator=cpu", "trainer.log_every=1", "trainer.valid_every=10",
    "trainer.valid_windows=8", "trainer.checkpoint_every=7", "trainer.keep_checkpoints=9",
    "data.valid=null", "data.test=null", "data.annotation=null", "data.max_n_fraction=0.95",
)  # fmt: skip
STEPS = 20
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
PLAIN = (sys.executable,)
# losses are sums of doubles; the norm is one of 32-bit numbers in another order.
TOLERANCES = {"train_bits_per_base": 1e-6, "valid_bits_per_base": 1e-6, "gradient_norm": 1e-5}
FILES = ("weights.safetensors", "average.safetensors", "trainer.safetensors")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    """A genome where a window has from 5 to 100 % bases."""
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    draw = torch.Generator().manual_seed(1)
    lines = []
    for _ in range(400):
        bases = torch.randint(4, (64,), generator=draw).tolist()
        hidden = int(torch.randint(58, (1,), generator=draw))
        lines.append("N" * hidden + "".join("ACGT"[base] for base in bases[hidden:]))
    path.write_text(">one\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def start(fasta):
    """Begins a training process."""

    def begin(launcher, folder, *settings):
        environment = os.environ | {
            "OMP_NUM_THREADS": "1", "DNAMDLM_CACHE_DIR": str(fasta.parent / "cache")
        }  # fmt: skip
        return subprocess.Popen(
            [*launcher, "-m", "dnamdlm.train", *SETTINGS, f"data.fasta={fasta}",
             f"run_dir={folder}", *settings],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return begin


@pytest.fixture(scope="module")
def finish(start):
    """Trains to the end."""

    def run(launcher, folder, *settings):
        process = start(launcher, folder, *settings)
        out, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert out.count("wrote checkpoints") == 1
        return folder

    return run


@pytest.fixture(scope="module")
def alone(finish, tmp_path_factory):
    """A run of one process."""
    return finish(PLAIN, tmp_path_factory.mktemp("alone") / "run")


def rows(folder):
    with (folder / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def assert_alike(folder, other):
    assert [row["step"] for row in rows(folder)] == [str(step + 1) for step in range(STEPS)]
    for row, expected in zip(rows(folder), rows(other), strict=True):
        for name, tolerance in TOLERANCES.items():
            if expected[name]:
                assert float(row[name]) == pytest.approx(float(expected[name]), rel=tolerance), row
    for name in FILES:
        checkpoint = f"checkpoints/step_{STEPS:09d}/{name}"
        found, wanted = load_file(folder / checkpoint), load_file(other / checkpoint)
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            # sums of gradients in another order differ in the last bits, and AdamW spreads them.
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("launcher", "settings"),
    [
        (TORCHRUN, ["trainer.strategy=ddp"]),
        (TORCHRUN, ["trainer.strategy=fsdp2", "trainer.micro_batch_size=2"]),
        (PLAIN, ["trainer.devices=2"]),
        (PLAIN, ["trainer.micro_batch_size=2"]),
    ],
    ids=["torchrun ddp", "torchrun fsdp2", "Lightning's launcher", "one rank, four micro-batches"],
)
def test_ranks_and_micro_batches_share_the_work_of_one(finish, alone, tmp_path, launcher, settings):
    assert_alike(finish(launcher, tmp_path / "run", *settings), alone)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_muon_makes_whole_matrices_orthogonal_on_several_ranks(finish, tmp_path, strategy):
    muon = ("optimizer=muon", "optimizer.learning_rate=0.003", "optimizer.weight_decay=0")
    one = finish(PLAIN, tmp_path / "one", *muon)
    two = finish(TORCHRUN, tmp_path / "two", f"trainer.strategy={strategy}", *muon)
    found, wanted = (
        load_file(run / f"checkpoints/step_{STEPS:09d}/weights.safetensors") for run in (two, one)
    )
    for name, value in wanted.items():
        # a matrix moves by about 20 steps x 0.003 x 0.2 = 0.01 (root mean square), elsewhere if its
        # parts were made orthogonal one by one. Sums of gradients in another order round to another
        # bfloat16 at times, which changes a step by 2^-8 of its length or, along directions where
        # the momentum is tiny, by all of it.
        assert (found[name] - value).square().mean().sqrt() < 0.001, name


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_run_goes_on_with_other_ranks_and_back(finish, alone, tmp_path, strategy):
    folder = tmp_path / "run"
    shutil.copytree(alone, folder)
    for step in (14, STEPS):
        shutil.rmtree(folder / "checkpoints" / f"step_{step:09d}")
    finish(TORCHRUN, folder, f"trainer.strategy={strategy}")
    shutil.rmtree(folder / "checkpoints" / f"step_{STEPS:09d}")
    finish(PLAIN, folder)
    assert_alike(folder, alone)


def wait_for_steps(folder, number):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        path = folder / "metrics.csv"
        if path.is_file() and len(path.read_text().splitlines()) > number:
            return
        time.sleep(0.05)
    raise TimeoutError(f"no {number} steps in {folder}")


def children(number):
    """Process numbers of the children of a process."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(number)], capture_output=True, check=True
    )
    return [int(text) for text in found.stdout.split()]


def stopped_at(text):
    (step,) = re.findall(r"dnamdlm: stopped by SIGTERM after step (\d+)", text)
    return int(step)


@pytest.mark.parametrize("target", ["one rank", "torchrun"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_signal_saves_once_at_one_step_and_the_run_goes_on(
    start, finish, alone, tmp_path, target, strategy
):
    folder = tmp_path / "run"
    # a slow run, so that the signal comes in its midst.
    process = start(
        TORCHRUN, folder, f"trainer.strategy={strategy}", "trainer.log_every=1",
        "trainer.max_steps=100000", "trainer.checkpoint_every=100000",
    )  # fmt: skip
    wait_for_steps(folder, 3)
    number = process.pid if target == "torchrun" else children(process.pid)[-1]
    os.kill(number, signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    step = stopped_at(errors)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [f"step_{step:09d}"]
    if target == "one rank":
        # the first rank to end has saved; torchrun then ends the other on its way out.
        codes = set(re.findall(r"exitcode\s*: (-?\d+)", errors))
        assert "143" in codes <= {"143", "-15"}
    process = start(PLAIN, folder, "trainer.max_steps=100000", "trainer.checkpoint_every=100000")
    wait_for_steps(folder, step + 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_signal_to_the_first_process_of_lightning_gives_its_exit_status(start, tmp_path):
    folder = tmp_path / "run"
    process = start(PLAIN, folder, "trainer.devices=2", "trainer.max_steps=100000")
    wait_for_steps(folder, 3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM
    assert stopped_at(errors) in [int(p.name[5:]) for p in (folder / "checkpoints").iterdir()]


@pytest.mark.parametrize("victim", [0, 1], ids=["first", "second"])
def test_a_killed_rank_ends_the_other_and_loses_no_checkpoint(
    start, finish, alone, tmp_path, victim
):
    folder = tmp_path / "run"
    process = start(TORCHRUN, folder, "trainer.max_steps=100000", "trainer.keep_checkpoints=2")
    wait_for_steps(folder, 10)
    os.kill(children(process.pid)[victim], signal.SIGKILL)
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    sentences = [line for line in errors.splitlines() if line.startswith("dnamdlm: ")]
    assert len(sentences) <= 1
    assert all("another rank has ended" in line for line in sentences)
    process = start(PLAIN, folder, "trainer.max_steps=100000", "trainer.keep_checkpoints=2")
    wait_for_steps(folder, 12)
    process.kill()
    process.communicate(timeout=240)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trainer.strategy=dp"], "trainer.strategy=dp is unknown"),
        (["trainer.devices=3"], "trainer.devices=3 contradicts the launcher, which started 2"),
        (["trainer.global_batch_size=7"], "trainer.global_batch_size=7 cannot be divided among 2"),
    ],
)
def test_a_mistake_is_told_once(start, tmp_path, settings, message):
    process = start(TORCHRUN, tmp_path / "run", *settings)
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    (sentence,) = [line for line in errors.splitlines() if line.startswith("dnamdlm: ")]
    assert message in sentence
    assert "exitcode  : 2" in errors
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_refuses_the_ranks_of_a_second_run(start, tmp_path):
    folder = tmp_path / "run"
    first = start(TORCHRUN, folder, "trainer.max_steps=100000")
    wait_for_steps(folder, 1)
    second = start(TORCHRUN, folder, "trainer.max_steps=100000")
    _, errors = second.communicate(timeout=240)
    assert second.returncode != 0
    (sentence,) = [line for line in errors.splitlines() if line.startswith("dnamdlm: ")]
    assert "is in use by another training process" in sentence
    assert first.poll() is None
    first.terminate()
    _, errors = first.communicate(timeout=240)
    assert stopped_at(errors) > 0
