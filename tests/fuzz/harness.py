"""What the fuzzing scripts share: how bytes are changed, how findings are shown and kept.

A reader either returns a value or raises `DnamdlmError` with one line. Anything else is a finding:
another exception, an error of several lines, an input that takes more than five seconds, or more
than one gigabyte of memory. The input of a finding is kept in a file.

With the package atheris (`pip install atheris`) inputs are led by which lines of the readers they
reach; without it they are random changes of the seeds, with the same sequence in every run.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from dnamdlm.assembly.worker_process import Caught
from dnamdlm.errors import DnamdlmError

MAX_SECONDS = 5
MAX_BYTES = 1 << 30
_INTERESTING = (
    b"\0", b"\n", b"\r\n", b"\r", b"\t", b">", b";", b"#", b"@", b"-1", b"0", b"1e9", b"\xff" * 4,
    b"9" * 30, b"9" * 5000, b"\xef\xbb\xbf", b"\x1f\x8b", b"\xc3\x28", b" ", b'"', b",",
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"N" * 300, b"chr1", b"track ",
)  # fmt: skip


class Fuzzer:
    """Runs one reader on changed bytes until its time is over, and says what it found.

    Args:
        name: of the reader, part of the names of kept files.
        read: takes the path of a file and reads all of it.
        seeds: contents to begin from.
        suffixes: endings of the file's name, each tried.
    """

    def __init__(self, name, read, seeds, suffixes=("",)):
        self.name = name
        self.read = read
        self.seeds = list(seeds)
        self.suffixes = suffixes
        self.inputs = self.values = self.errors = 0
        self.findings = {}

    def main(self):
        """Read the command line and fuzz."""
        parser = argparse.ArgumentParser(description=f"Fuzz the reader of {self.name}.")
        parser.add_argument("--minutes", type=float, default=10.0)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
        parser.add_argument("--findings", default="fuzz_findings", help="folder of kept inputs")
        parser.add_argument("inputs", nargs="*", help="files to read once, in place of fuzzing")
        arguments = parser.parse_args()
        has_atheris = importlib.util.find_spec("atheris") is not None
        engine = arguments.engine
        if engine == "auto":
            engine = "atheris" if has_atheris else "random"
        self.keep = Path(arguments.findings)
        signal.signal(signal.SIGALRM, _too_long)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            self.folder = Path(folder)
            if arguments.inputs:
                for path in arguments.inputs:
                    self.one(Path(path).read_bytes())
            elif engine == "atheris":
                self._run_atheris(arguments)
            else:
                self._run_random(arguments, began)
        self.report(engine, time.monotonic() - began)

    def one(self, content):
        """Read one content under every suffix; note what is no documented outcome."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for suffix in self.suffixes:
            path = self.folder / f"input{suffix}"
            path.write_bytes(content)
            self.inputs += 1
            signal.alarm(MAX_SECONDS)
            with Caught() as caught:
                self.read(path)
            signal.alarm(0)
            error = caught.error
            if error is None:
                self.values += 1
            elif isinstance(error, DnamdlmError):
                self.errors += 1
                if "\n" in str(error):
                    self._found("an error of several lines", content)
            else:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                self._found(f"{type(error).__name__} at {frame.name}:{frame.lineno}", content)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if after > before and after * 1024 > MAX_BYTES:
            self._found("more than 1 GB of memory", content)

    def report(self, engine, seconds):
        """One line of figures and one for each kind of finding."""
        print(
            f"{self.name} ({engine}): {self.inputs:,} inputs in {seconds / 60:.1f} minutes, "
            f"{self.values:,} values, {self.errors:,} errors, {len(self.findings)} findings",
            flush=True,
        )
        for what, path in self.findings.items():
            print(f"  {what}: {path}")

    def _found(self, what, content):
        if what in self.findings:
            return
        self.keep.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(content).hexdigest()[:12]
        path = self.keep / f"{self.name.replace(' ', '_')}_{digest}"
        path.write_bytes(content)
        self.findings[what] = path
        print(f"finding: {what}; kept as {path}", flush=True)

    def _run_random(self, arguments, began):
        chance = random.Random(arguments.seed)
        for seed in self.seeds:
            self.one(seed)
        while time.monotonic() - began < arguments.minutes * 60:
            self.one(mutated(chance.choice(self.seeds), chance))

    def _run_atheris(self, arguments):
        import atheris

        corpus = self.folder / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(self.seeds):
            (corpus / str(number)).write_bytes(seed)
        chance = random.Random(arguments.seed)

        def custom(content, max_size, _seed):
            if chance.random() < 0.5:
                return atheris.Mutate(content, max_size)
            return mutated(bytes(content), chance)[:max_size]

        began = time.monotonic()

        def until_the_end(content):
            self.one(content)
            seconds = time.monotonic() - began
            if seconds > arguments.minutes * 60:
                self.report("atheris", seconds)
                # libFuzzer knows no other way to stop from inside
                shutil.rmtree(self.folder, ignore_errors=True)
                os._exit(0)

        atheris.Setup(
            [
                sys.argv[0], str(corpus), "-max_len=20000", f"-seed={arguments.seed + 1}",
                "-verbosity=0",
            ],
            until_the_end, custom_mutator=custom,
        )  # fmt: skip
        atheris.Fuzz()


def instrumented():
    """A context in which imported readers are watched, where atheris is there."""
    if importlib.util.find_spec("atheris") is None or "random" in sys.argv:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=["dnamdlm"])


def mutated(content, chance):
    """The content after one random change, or a few."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randint(0, len(data))
        size = min(len(data) - place, 1 << chance.randint(0, 6))
        change = chance.randrange(7)
        if change == 0 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif change == 1:
            del data[place : place + size]
        elif change == 2:
            data[place:place] = chance.choice(_INTERESTING)
        elif change == 3:
            data[place : place + size] = chance.choice(_INTERESTING)
        elif change == 4:
            data[place:place] = data[place : place + size] * chance.randint(1, 3)
        elif change == 5:
            data[place : place + size] = chance.randbytes(size)
        else:
            del data[place:]
    return bytes(data)


def _too_long(*_):
    raise TimeoutError(f"more than {MAX_SECONDS} seconds")
