"""Human chromosome 20 from its FASTA file to samples, killed twice on the way.

The commands are those of a user, each in a process of its own. The figures of a run are printed;
`pytest -s` shows them.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.faults.harness import ROOT, checkpoints, leftovers, state, wait_for_row

pytestmark = pytest.mark.faults

STEPS = 200
LENGTH = 2000


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the genome is prepared, once for all commands."""
    return tmp_path_factory.mktemp("cache")


def command(cache, entry, *settings):
    return subprocess.Popen(
        [sys.executable, "-m", f"dnamdlm.{entry}", *settings], cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=os.environ | {"DNAMDLM_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ended(process):
    """Exit status and what was said, once the process has ended."""
    _, said = process.communicate()
    return process.returncode, said


def test_chromosome_20_is_trained_through_two_kills_and_sampled(shared, cache, tmp_path):
    fasta = shared / "data" / "genomes" / "human_b37_chr20.fa.gz"

    def train(run_dir):
        return command(
            cache, "train", "config=hg38_cpu", f"data.fasta={fasta}", f"run_dir={run_dir}",
            "trainer.accelerator=cpu", "trainer.devices=1",
        )  # fmt: skip

    began = time.monotonic()
    assert ended(train(tmp_path / "unbroken"))[0] == 0
    seconds = time.monotonic() - began

    broken = tmp_path / "broken"
    for rows in (3, 7):  # one row of metrics is written every 20 steps
        process = train(broken)
        wait_for_row(broken, rows, limit=300)
        process.kill()
        assert ended(process)[0] == -signal.SIGKILL
        assert checkpoints(broken)[-1] < STEPS
    code, said = ended(train(broken))
    assert code == 0, said
    assert state(broken, STEPS) == state(tmp_path / "unbroken", STEPS)
    assert leftovers(broken) == []

    samples = tmp_path / "samples.fa"
    wanted = ("num_sequences=4", f"length={LENGTH}", f"out={samples}", "device=cpu")
    code, said = ended(command(cache, "sample", f"model={broken}", *wanted))
    assert code == 0, said
    records = samples.read_text().split(">")[1:]
    letters = ["".join(record.splitlines()[1:]) for record in records]
    assert [len(text) for text in letters] == [LENGTH] * 4
    assert set("".join(letters)) <= set("ACGT")
    rows, last = state(broken, STEPS)[1], checkpoints(broken)[-1]
    print(f"\n{last} steps unbroken: {seconds:.0f} s with preparation; last row {rows[-1]}")
