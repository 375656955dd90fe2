"""What commands do where memory is short, and how much they need."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.entries.commands import command

ROOT = Path(__file__).resolve().parents[2]
# runs a command as its only child, and prints the most memory that it had, in kB.
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
SHORTAGE = "dnamdlm: the memory does not suffice for these settings and data; use smaller batches"


def peak(*words):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout) * 1024


@pytest.mark.slow
def test_many_records_are_embedded_in_flat_memory(trained, tmp_path):
    letters = "".join(np.random.default_rng(1).choice(list("ACGT"), 60))
    peaks = []
    for count in (300, 15_000):
        path = tmp_path / f"{count}.fa"
        path.write_text("".join(f">r{i}\n{letters}\n" for i in range(count)))
        peaks.append(
            peak(*command(
                "embed", f"model={trained}", f"data.fasta={path}", f"data.cache_dir={tmp_path}",
                "pooling=none", "threads=1", "workers=1", f"out={tmp_path}/{count}.npz",
            ))
        )  # fmt: skip
    size = np.load(tmp_path / "15000.npz")["embedding"].nbytes
    # records of 60 bases are names and places: less than two kB each, and no vectors.
    assert peaks[1] - peaks[0] < 15_000 * 2_000 < size / 2


@pytest.mark.slow
def test_a_sequence_that_no_memory_holds_is_one_sentence(trained, tmp_path):
    words = command(
        "sample", f"model={trained}", "num_sequences=1", "length=200000000",
        f"out={tmp_path}/x.fa", "threads=1", "workers=1",
    )  # fmt: skip
    most = 4 << 30
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(SHORTAGE)
    assert not list(tmp_path.iterdir())
