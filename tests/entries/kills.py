"""Kills a command again and again, lets it end, and says what happened.

The packages are imported once; each attempt is a fork, so that the moments of the kills are those
of the work rather than of the imports. Reads a `Case` as JSON and writes what was done as JSON.
"""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.entries.forks import ROOT, import_what_works, in_child

_SECONDS = 120
# how many kills a case may need beyond those that it asks for, since commands end before some.
_MORE_TRIES = 30


@dataclass(frozen=True)
class Case:
    """A command that is killed, and how often.

    Attributes:
        entry: its name.
        given: its settings besides the shard.
        out: what it writes.
        count: shards.
        kills: at random moments, over all shards and joining them.
        damage: whether a part is damaged after the kills.
        seed: of the moments and of the damage.
    """

    entry: str
    given: list[str]
    out: str
    count: int
    kills: int
    damage: bool
    seed: str


def run_case(case, folder):
    """What happened: kills that found the command at work, and the part that was damaged."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.entries.kills"], cwd=ROOT,
        input=json.dumps([str(folder), asdict(case)]), capture_output=True, text=True,
        check=False, timeout=1500,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    return json.loads(ended.stdout)


def forked(entry, arguments, log):
    """Begin a command in a process of its own; its number."""
    sys.stdout.flush()
    number = os.fork()
    if number == 0:
        with Path(os.devnull).open() as nothing, log.open("ab") as file:
            in_child(entry, arguments, (nothing, file, file), _SECONDS)
    return number


def killed(number, seconds, is_time):
    """Kill a process after some seconds, counted from the first moment at which `is_time` holds."""
    begin = None
    while True:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if begin is None and is_time():
            begin = time.monotonic()
        if begin is not None and time.monotonic() - begin >= seconds:
            os.kill(number, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        time.sleep(0.002)


def ended(number):
    """The exit status of a process, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def damage_of(content, draw):
    """A part with a fault of one of five kinds."""
    place = draw.randrange(4096, len(content)) if len(content) > 4096 else 5
    return draw.choice([
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        content[:-1], b"", b"{" + content, content + b"x",
    ])  # fmt: skip


class Kills:
    """The attempts of a case."""

    def __init__(self, case, log):
        self.case, self.log = case, log
        self.draw = random.Random(case.seed)
        self.parts = Path(f"{case.out}.parts")
        self.num_killed = 0
        self.seconds = {}

    def attempt(self, entry, arguments):
        """Kill a command after a new part, or at any moment of its first second.

        One that ended before that has no new parts the next time, and is killed sooner.
        """
        before, began = self.num_parts(), time.monotonic()
        is_done = arguments[-1] in self.seconds
        after_part = self.draw.random() < 0.6 and not is_done
        longest = self.seconds.get(arguments[-1], 1.0)
        seconds = self.draw.uniform(0, 0.1 if after_part else longest)
        number = forked(entry, arguments, self.log)
        status = killed(number, seconds, lambda: not after_part or self.num_parts() > before)
        assert status in (0, -signal.SIGKILL), (status, self.log.read_text()[-3000:])
        self.num_killed += status != 0
        if status == 0 and self.case.count > 1:
            self.seconds[arguments[-1]] = time.monotonic() - began

    def num_parts(self):
        """How many there are."""
        return len(list(self.parts.glob("part-*")))

    def run(self):
        """All of it."""
        case, draw = self.case, self.draw
        numbers = range(1, case.count + 1)
        shards = [[f"shard={k}/{case.count}"] for k in numbers] if case.count > 1 else [[]]
        # joining is killed too.
        wanted = case.kills - (2 if case.count > 1 else 0)
        for tries in range(wanted + _MORE_TRIES):
            # a command that ended before the last kill has no parts that could be damaged.
            if self.num_killed >= wanted and (self.num_parts() or not case.damage):
                break
            shard = shards[tries % case.count]
            self.attempt(case.entry, [*case.given, *shard])
        name = self.damaged() if case.damage else None
        for shard in shards:
            status = ended(forked(case.entry, [*case.given, *shard], self.log))
            assert status == 0, self.log.read_text()[-3000:]
        if case.count > 1:
            for _ in range(2):
                number = forked("gather", [f"out={case.out}"], self.log)
                self.num_killed += killed(number, draw.uniform(0, 0.6), lambda: True) != 0
            status = ended(forked("gather", [f"out={case.out}"], self.log))
            # the second time there is nothing left to join.
            assert status == 0 or Path(case.out).exists(), self.log.read_text()[-3000:]
        return {"killed": self.num_killed, "damaged": name}

    def damaged(self):
        """Damage a part, if there is one; its name."""
        parts = sorted(self.parts.glob("part-*"))
        if not parts:
            return None
        chosen = self.draw.choice(parts)
        chosen.write_bytes(damage_of(chosen.read_bytes(), self.draw))
        return chosen.name


def main():
    """Answer the request on standard input."""
    folder, fields = json.load(sys.stdin)
    case = Case(**fields)
    import_what_works(case.entry)
    importlib.import_module("dnamdlm.assembly.gathering")
    os.chdir(folder)
    print(json.dumps(Kills(case, Path(f"{case.out}.log")).run()))


if __name__ == "__main__":
    main()
