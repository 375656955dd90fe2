"""Runs many commands quickly: the packages are imported once, each command is a fork.

Reads a folder, a list of commands as JSON, each the name of an entry and its arguments, and the
seconds that each may take, and writes a list with exit status, standard output and standard error
of each.
"""

import importlib
import json
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


def run_all(commands, folder, limit=300, each=300):
    """Exit status, output and errors of each command, run in a folder one after the other.

    Args:
        commands: name of an entry and its arguments.
        folder: where they run.
        limit: seconds for all.
        each: seconds for each; one that takes longer is ended by SIGALRM.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "tests.entries.forks"], cwd=ROOT,
        input=json.dumps([str(folder), commands, each]), capture_output=True, text=True,
        check=False, timeout=limit,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def in_child(entry, arguments, files, each):
    """Run a command in this process, which ends with it."""
    from dnamdlm.command_line import run_entry

    signal.alarm(each)
    for number, file in enumerate(files, start=1):
        os.dup2(file.fileno(), number)
    code = 0
    try:
        run_entry(entry, importlib.import_module(f"dnamdlm.{entry}").main, arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main():
    """Answer the request on standard input."""
    folder, commands, each = json.load(sys.stdin)
    # no tensor is made here, so that no thread exists when the process forks.
    for entry in {entry for entry, *_ in commands}:
        for name in _WORKERS.get(entry, []):
            importlib.import_module(f"dnamdlm.assembly.{name}")
        if entry == "train":
            # Lightning, which takes as long as everything else.
            importlib.import_module("dnamdlm.training.trainer")
    os.chdir(folder)
    answers = []
    for entry, *arguments in commands:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            number = os.fork()
            if number == 0:
                in_child(entry, arguments, (out, err), each)
            _, status = os.waitpid(number, 0)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
            answers.append([os.waitstatus_to_exitcode(status), *texts])
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
