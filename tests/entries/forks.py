"""Runs many commands quickly: the packages are imported once, each command is a fork.

Reads requests, each a line of JSON: the name of an entry and its arguments, the folder and the
environment, and the seconds that the command may take. Answers each with a line: exit status,
standard output and standard error.
"""

import atexit
import functools
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# what an entry imports when it begins to work, in dnamdlm.assembly.
_WORKERS = {
    "train": ["train.training_run"],
    "evaluate": ["evaluate.evaluation"],
    "judge": ["judge.judging"],
    "sample": ["sample.sampling"],
    "design": ["design.designing"],
    "score": ["score.scoring"],
    "embed": ["embed.embedding"],
    "finetune": ["finetune.finetuning"],
    "predict": ["finetune.prediction"],
    "tracks": ["tracks.locus"],
}


# variables that Python and the libraries read when they start.
_READ_AT_START = ("PYTHON", "OMP", "MKL", "GOMP", "KMP", "OPENBLAS", "ATEN", "ONEDNN", "CUDA",
                  "TORCH", "TRITON", "MALLOC", "HF_", "LC_", "LANG")  # fmt: skip


def _read_at_start(environment):
    """What of an environment has no effect on a process that runs already."""
    return {name: environment[name] for name in environment if name.startswith(_READ_AT_START)}


_START = _read_at_start(os.environ)


def can_serve():
    """Whether commands in a fork find what the environment of this moment sets."""
    return _read_at_start(os.environ) == _START


class Forks:
    """A process that has the packages, and forks for each command."""

    def __init__(self):
        later = {name: os.environ[name] for name in os.environ.keys() - _read_at_start(os.environ)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.entries.forks"], cwd=ROOT, env=later | _START,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        atexit.register(self.close)

    def run(self, entry, arguments, folder, seconds):
        """Exit status, output and errors of a command that has the environment of this moment."""
        request = [entry, [*map(str, arguments)], str(folder), dict(os.environ), seconds]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks commands has ended"
        return json.loads(answer)

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


forks = functools.cache(Forks)


def run_all(commands, folder, each=300):
    """Exit status, output and errors of each command, run in a folder one after the other.

    Args:
        commands: name of an entry and its arguments.
        folder: where they run.
        each: seconds for each; one that takes longer is ended by SIGALRM.
    """
    return [forks().run(entry, arguments, folder, each) for entry, *arguments in commands]


def in_child(entry, arguments, files, each):
    """Run a command in this process, which ends with it."""
    from dnamdlm.command_line import run_entry

    signal.alarm(each)
    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
    sys.argv = [str(ROOT / "dnamdlm" / f"{entry}.py"), *arguments]
    main = importlib.import_module(f"dnamdlm.{entry}").main

    def task(tree, given):
        # hydra silences the loggers that exist, which in a new process are none of ours.
        for name in [*logging.root.manager.loggerDict]:
            if name.startswith("dnamdlm"):
                logging.getLogger(name).disabled = False
        return main(tree, given)

    code = 0
    try:
        run_entry(entry, task, arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def import_what_works(entry):
    """Import what the commands of an entry need; no tensor is made, and so no thread exists."""
    for name in _WORKERS.get(entry, []):
        importlib.import_module(f"dnamdlm.assembly.{name}")
    if entry == "train":
        # Lightning, which takes as long as everything else.
        importlib.import_module("dnamdlm.training.trainer")


def answer(entry, arguments, folder, environment, each):
    """Run one command in a fork."""
    import_what_works(entry)
    with (
        Path(os.devnull).open() as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        number = os.fork()
        if number == 0:
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            sys.path[0] = folder
            in_child(entry, arguments, (nothing, out, err), each)
        _, status = os.waitpid(number, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return [os.waitstatus_to_exitcode(status), *texts]


def main():
    """Answer requests on standard input until it ends."""
    for request in sys.stdin:
        print(json.dumps(answer(*json.loads(request))), flush=True)


if __name__ == "__main__":
    main()
