"""What every entry shares: composing the config, one-sentence errors, exit codes and `--help`.

Exit codes: 0 success, 1 a failed run, 2 a mistake of the user (one sentence, no traceback), 128+n
stopped by signal n after saving. `debug=true` shows tracebacks.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dnamdlm import __version__
from dnamdlm.arguments import Arguments, read_arguments
from dnamdlm.composing import (
    Given,
    Job,
    Tree,
    check_apart,
    composed,
    explain_composition_error,
    given_settings,
    job_of,
    known_keys,
    overrides_of,
    repeated_key,
    without_leftovers,
)
from dnamdlm.data.named_files import check_named_files
from dnamdlm.errors import ConfigError, DnamdlmError, OutOfMemory, is_out_of_memory
from dnamdlm.freed_memory import keep_freed_memory
from dnamdlm.help_text import entry_help
from dnamdlm.interrupts import interruptible
from dnamdlm.launched_jobs import errors_of_launcher, lost_job, without_launcher
from dnamdlm.quoting import quoted_text
from dnamdlm.setting_files import config_folder
from dnamdlm.standard_streams import prepare_standard_streams
from dnamdlm.threads import let_idle_threads_sleep
from dnamdlm.training.launch import is_child_of_rank_zero, is_torchrun_worker, launched_rank

# a launcher ends all ranks soon after one has failed; on a busy machine it takes seconds to notice.
_RANK_ZERO_FIRST_S = 10.0

# of a message; what a file holds in place of a heading may be quoted in it.
_MOST_LETTERS = 1000

Task = Callable[[Tree, Given], None]


class Stopped(DnamdlmError):
    """A run ended early by request, with everything saved; `exit_code` goes to the shell."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@interruptible
def run_entry(name: str, task: Task, arguments: Sequence[str] | None = None) -> None:
    """Run `python -m dnamdlm.<name>`: compose `configs/<name>.yaml` with the command line.

    Args:
        name: entry and primary config.
        task: receives the resolved config tree as plain dictionaries and lists, and the dotted
            names of the settings that the command line gives.
        arguments: command line without the program name; `sys.argv` by default.
    """
    prepare_standard_streams()
    let_idle_threads_sleep()
    keep_freed_memory()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "debug=true" in (word.lower() for word in words)
    if not debug:
        sys.excepthook = _one_line_failure
    with _ranks_of(name, debug=debug):
        _run(name, task, words, debug=debug)


@contextmanager
def _ranks_of(name: str, *, debug: bool) -> Iterator[None]:
    """What several ranks of one command share; those after the first exit here."""
    if not is_torchrun_worker():
        yield
        return
    from dnamdlm.assembly.weight_ranks import has_several_ranks, sharing_weights

    try:
        several = has_several_ranks(name)
    except ConfigError as error:
        _fail(error, debug=debug)
    with sharing_weights() if several else nullcontext():
        yield


def _run(name: str, task: Task, words: Sequence[str], *, debug: bool) -> None:
    # a path may have letters that the terminal does not know.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    # whatever the surroundings allow, what is written here is not writable for everybody.
    os.umask(os.umask(0o077) | 0o002)
    try:
        read = read_arguments(words, name, partial(known_keys, name))
        if "--help" in read.options:
            print(_help(name, read))
            return
        for setting in read.settings:
            if (key := repeated_key(setting)) is not None:
                raise ConfigError(f"{key} is given twice in {setting}; give it once")
    except ConfigError as error:
        _fail(error, debug=debug)
    if "--version" in read.options:
        print(f"dnamdlm {__version__}")
        return
    jobs = _composed_jobs(name, task, read, debug=debug)
    _perform(jobs, task, debug=debug)


def help_of(name: str) -> str:
    """The text of `dnamdlm NAME --help`."""
    return _help(name, read_arguments([], name, partial(known_keys, name)))


def _help(name: str, read: Arguments) -> str:
    try:
        tree, choices = composed(name, read.settings)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain_composition_error(error, name, read.settings) from error
    return entry_help(config_folder(name), name, tree, choices)


def _composed_jobs(name: str, task: Task, read: Arguments, *, debug: bool) -> list[Job]:
    """The jobs of a command line; what a launcher takes to another process is done there.

    Hydra only composes, and the tasks run after it, so that it wraps none of their errors.
    """
    # the environment variable makes hydra raise its errors here instead of printing them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    options = dict(read.options)
    shows_config = options.get("--cfg") == "job" and "--package" not in options
    is_resolved = shows_config and "--resolve" in options
    if shows_config:
        options = {key: value for key, value in options.items() if key == "--multirun"}
    of_this_process = without_launcher(read.settings)
    is_run = read.is_sweep and not {"--cfg", "--info"} & read.options.keys()
    if is_run and of_this_process != read.settings:
        # what is wrong with the jobs is said before one of them is sent away.
        _composed_jobs(name, task, replace(read, settings=of_this_process), debug=debug)
    found: list[Job | DnamdlmError] = []

    def receive(config: DictConfig) -> None:
        if shows_config:
            print(_shown_config(config, name, is_resolved=is_resolved), end="")
            return
        try:
            job = job_of(config, name)
        except DnamdlmError as error:
            if _is_launched_elsewhere():
                _fail(error, debug=debug)
            found.append(error)
            return
        if _is_launched_elsewhere():
            _perform([job], task, debug=debug)
        else:
            found.append(job)

    folder = str(config_folder(name))
    application = hydra.main(version_base="1.3", config_path=folder, config_name=name)
    with _sweep_folder(read) as settings:
        sys.argv = [f"dnamdlm.{name}", *Arguments(options, (*read.settings, *settings)).for_hydra]
        try:
            application(receive)()
        except (HydraException, OmegaConfBaseException) as error:
            _fail(explain_composition_error(error, name, read.settings), debug=debug)
        except errors_of_launcher() as error:
            lost = lost_job(str(error))
            lost.__cause__ = error
            _fail(lost, debug=debug, code=lost.exit_code)
    sys.argv = [f"dnamdlm.{name}", *read.for_hydra]
    for error in found:
        if isinstance(error, DnamdlmError):
            _fail(error, debug=debug)
    jobs = [job for job in found if isinstance(job, Job)]
    try:
        check_apart([job.tree for job in jobs], name)
    except ConfigError as error:
        _fail(error, debug=debug)
    return jobs


def _shown_config(config: DictConfig, name: str, *, is_resolved: bool) -> str:
    """The config as YAML, for `--cfg job`."""
    of_hydra = HydraConfig.get()
    given = given_settings(overrides_of(of_hydra))
    whole, _ = without_leftovers(config, name, given, dict(of_hydra.runtime.choices))
    return OmegaConf.to_yaml(whole, resolve=is_resolved)


@contextmanager
def _sweep_folder(read: Arguments) -> Iterator[list[str]]:
    """Settings that keep what Hydra writes of a sweep out of the present folder.

    A launcher of another package may need a folder that all machines see.
    """
    own = ("hydra/launcher=", "hydra.sweep.dir=")
    if not read.is_sweep or any(item.lstrip("+").startswith(own) for item in read.settings):
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="dnamdlm-") as folder:
        yield [f"hydra.sweep.dir={quoted_text(folder)}"]


def _is_launched_elsewhere() -> bool:
    job = HydraConfig.get()
    is_here = str(job.launcher.get("_target_")).endswith(".BasicLauncher")
    return job.mode == RunMode.MULTIRUN and not is_here


def _perform(jobs: Sequence[Job], task: Task, *, debug: bool) -> None:
    _configure_logging()
    try:
        for job in jobs:
            check_named_files(job.tree)
        for job in jobs:
            for remark in job.remarks:
                logging.getLogger(__name__).info(remark)
            task(job.tree, job.given)
    except DnamdlmError as error:
        _fail(error, debug=debug, code=error.exit_code)
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        shortage = OutOfMemory(
            "the memory does not suffice for these settings and data; use smaller batches, shorter "
            "windows, fewer workers, or a machine or device with more memory"
        )
        _fail(shortage.with_traceback(error.__traceback__), debug=debug, code=shortage.exit_code)


def _configure_logging() -> None:
    # of several ranks only the first speaks; the others still report what goes wrong.
    level = logging.INFO if launched_rank() == 0 else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr, force=True)
    for noisy in ("matplotlib", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def say(text: str) -> None:
    """Print for the user; of several ranks only the first does."""
    if launched_rank() == 0:
        print(text)


def _wait_for_rank_zero() -> str:
    """Give rank 0 the time to report the same mistake; the launcher then ends this process.

    Returns:
        What to put before the message of this rank.
    """
    number = launched_rank()
    if number == 0:
        return "dnamdlm"
    time.sleep(_RANK_ZERO_FIRST_S)
    return f"dnamdlm: on rank {number}"


def _fail(error: DnamdlmError, *, debug: bool, code: int = 2) -> NoReturn:
    if isinstance(error, Stopped) and launched_rank() > 0:
        # all ranks stop together; the first says so, and answers for those that it started.
        sys.exit(0 if is_child_of_rank_zero() else code)
    speaker = _wait_for_rank_zero()
    if debug:
        traceback.print_exception(error)
    else:
        print(f"{speaker}: {one_line(str(error))}", file=sys.stderr)
    sys.exit(code)


def one_line(message: str) -> str:
    r"""A message as one line that a terminal shows as it is, however strange the file it quotes.

    >>> print(one_line("x.fa: 'a\x1b[31m' is unknown\n give another"))
    x.fa: 'a\x1b[31m' is unknown give another
    """
    text = " ".join(line.strip() for line in message.strip().splitlines())
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    if len(text) <= _MOST_LETTERS:
        return text
    half = _MOST_LETTERS // 2
    return f"{text[:half]} ... {text[-half:]}"


def _one_line_failure(
    kind: type[BaseException], error: BaseException, _: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("dnamdlm: interrupted", file=sys.stderr)
        return
    detail = str(error).strip().splitlines()
    reason = detail[0] if detail else "no message"
    print(
        f"{_wait_for_rank_zero()}: failed with {kind.__name__}: {reason}; "
        "run again with debug=true for the traceback",
        file=sys.stderr,
    )
