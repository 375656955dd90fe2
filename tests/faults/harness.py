"""Training runs that are broken on purpose, and what is compared afterwards.

`Trainer.run` trains a tiny model in a process of its own and waits for its end; `Trainer.start`
does not wait. `state` is everything that a run leaves and that a resumed run must leave alike.
"""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12
# two micro-batches a step, dropout, a row for each step, and saves and validations out of step
TINY = (
    "config=tiny", f"trainer.max_steps={STEPS}", "trainer.micro_batch_size=4",
    "trainer.log_every=1", "trainer.valid_every=4", "trainer.valid_windows=8",
    "trainer.checkpoint_every=3", "backbone.dropout=0.1", "trainer.accelerator=cpu",
    "trainer.devices=1",
)  # fmt: skip
_TIMED = ("seconds", "bases_per_second")
_STATE_FILES = (
    "weights.safetensors", "average.safetensors", "trainer.safetensors", "trainer.json",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status, negative for a signal, and what it said."""

    code: int
    text: str

    @property
    def sentence(self):
        """The one line that tells the user what happened."""
        (line,) = [line for line in self.text.splitlines() if line.startswith("dnamdlm: ")]
        return line


class Trainer:
    """Starts training processes; one server per test session."""

    def __init__(self, logs):
        self.logs = logs
        self.count = 0
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"], cwd=ROOT, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self, run_dir, *settings, faults=()):
        """Begin a run; the number of its process, and where it writes what it says."""
        self.count += 1
        log = self.logs / f"{self.count}.log"
        arguments = [*TINY, f"run_dir={run_dir}", *settings]
        request = {"do": "start", "arguments": arguments, "faults": list(faults), "log": str(log)}
        return self._ask(request), log

    def wait(self, number, log, limit=300.0):
        """The end of a run; it is killed, and that is an error, if it does not come in time."""
        code = self._ask({"do": "wait", "number": number, "limit": limit})
        if code is None:
            os.killpg(number, signal.SIGKILL)
            raise TimeoutError(f"no end after {limit} s: {log.read_text()}")
        return Ended(code, log.read_text())

    def run(self, run_dir, *settings, faults=()):
        """Run to the end, whatever it is."""
        return self.wait(*self.start(run_dir, *settings, faults=faults))

    def finish(self, run_dir, *settings, faults=()):
        """Run to the last step."""
        ended = self.run(run_dir, *settings, faults=faults)
        assert ended.code == 0, ended.text
        return ended

    def close(self):
        """End the server."""
        self.server.stdin.close()
        self.server.wait(timeout=120)
        self.server.stdout.close()

    def _ask(self, request):
        self.server.stdin.write(json.dumps(request) + "\n")
        return json.loads(self.server.stdout.readline())


def checkpoints(run_dir):
    """Steps of the finished checkpoints of a run."""
    return sorted(int(p.name.removeprefix("step_")) for p in run_dir.glob("checkpoints/step_*"))


def leftovers(run_dir):
    """Names in the checkpoint folder that are no finished checkpoint."""
    return sorted(p.name for p in run_dir.glob("checkpoints/*") if not p.name.startswith("step_"))


def metrics(run_dir):
    """Rows of the metrics file without what depends on the clock."""
    with (run_dir / "metrics.csv").open() as stream:
        return [
            {key: value for key, value in row.items() if key not in _TIMED}
            for row in csv.DictReader(stream)
        ]


def digests(run_dir, step=STEPS):
    """SHA-256 of weights, average, moments and counters after a step."""
    folder = run_dir / "checkpoints" / f"step_{step:09d}"
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _STATE_FILES}


def state(run_dir, step=STEPS):
    """Everything that a broken and resumed run must leave as the unbroken one does."""
    return digests(run_dir, step), metrics(run_dir)


def wait_for_row(run_dir, rows, limit=300.0):
    """Wait until the metrics file has so many rows."""
    path = run_dir / "metrics.csv"
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if path.is_file() and path.read_text().count("\n") > rows:
            return
        time.sleep(0.005)
    raise TimeoutError(f"{path} has not reached {rows} rows")


def wait_until_stopped(number, limit=300.0):
    """Wait until a process has stopped itself; only then it can be told to go on."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return
        time.sleep(0.005)
    raise TimeoutError(f"process {number} does not stop")
