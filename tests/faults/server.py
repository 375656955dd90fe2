"""Starts training processes quickly: the packages are imported once, each run is a fork.

Reads one JSON request a line. `start` forks a process, leader of a group of its own, that runs
`dnamdlm.train` with the given arguments and faults, and answers with its number. `wait` answers
with its exit status, as `subprocess` gives it, or with null after the time limit.
"""

import json
import logging
import os
import signal
import sys
import time
import warnings
from pathlib import Path

# what a run imports; no tensor is made here, so that no thread exists when the process forks
import hydra
import lightning.pytorch
import rich.progress
import yaml

import dnamdlm.assembly.train.training_run
import dnamdlm.training.trainer
from dnamdlm.command_line import run_entry
from dnamdlm.train import main
from tests.faults.injection import install

PRELOADED = (hydra, lightning.pytorch, rich.progress, yaml, dnamdlm.assembly.train.training_run)


def run(arguments, faults, log):
    """The child: train, and leave with the code of the command."""
    os.setpgid(0, 0)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    warnings.resetwarnings()
    install(faults)
    try:
        run_entry("train", task, arguments)
    except SystemExit as stop:
        code = stop.code
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - as the interpreter would
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stdout.flush()
        os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)
    sys.stdout.flush()
    os._exit(0)


def task(tree, given):
    """Train; composing switches off the loggers that exist, in a new process there is none yet."""
    for made in logging.root.manager.loggerDict.values():
        if isinstance(made, logging.Logger):
            made.disabled = False
    main(tree, given)


def wait(number, limit):
    """Exit status of a child, negative for a signal; None if it still runs."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def serve():
    """Answer requests until the other side closes."""
    alive = set()
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            number = os.fork()
            if number == 0:
                run(request["arguments"], request["faults"], Path(request["log"]))
            alive.add(number)
            answer = number
        else:
            answer = wait(request["number"], request["limit"])
            if answer is not None:
                alive.discard(request["number"])
        print(json.dumps(answer), flush=True)
    # whatever a test has left running or stopped ends with the tests.
    for number in alive:
        os.killpg(number, signal.SIGKILL)


if __name__ == "__main__":
    serve()
