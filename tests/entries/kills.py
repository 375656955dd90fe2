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
        kills: at random moments, over all shards.
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
    """The attempts of a case.

    A kill counts if it found a command with work to do, of one shard or of all. So the parts of a
    shard that came to its end are removed before it is tried again, and a shard that has no part
    is not. Kills of `gather` do not count.
    """

    def __init__(self, case, log):
        self.case, self.log = case, log
        self.draw = random.Random(case.seed)
        self.folder = Path(f"{case.out}.parts")
        self.num_killed = 0
        numbers = range(1, case.count + 1)
        self.shards = [f"shard={k}/{case.count}" for k in numbers] if case.count > 1 else []
        # by shard: its parts, as far as they were seen; seconds to its first part and to its end.
        self.made = {shard: set() for shard in self.shards}
        self.seconds = {}

    def parts(self):
        """Names of the parts that there are."""
        return {path.name for path in self.folder.glob("part-*")}

    def attempt(self, shard):
        """Kill a command after a new part, or at any moment of its first second.

        A shard that came to its end before that is killed within the time that it took, and more
        often where it had begun to write.
        """
        before, began = self.parts(), time.time()
        first, last = self.seconds.get(shard, (0.0, 1.0))
        is_late = self.draw.random() < 0.6
        after_part = is_late and shard not in self.seconds
        longest = 0.1 if after_part else last
        seconds = self.draw.uniform(0.9 * first if is_late else 0.0, longest)
        number = forked(self.case.entry, self.arguments(shard), self.log)
        status = killed(number, seconds, lambda: not after_part or not self.parts() <= before)
        assert status in (0, -signal.SIGKILL), (status, self.log.read_text()[-3000:])
        self.num_killed += status != 0
        if shard is None:
            return
        new = self.parts() - before
        self.made[shard] |= new
        if status == 0 and new:
            to_first = min((self.folder / name).stat().st_mtime for name in new) - began
            took = (to_first, time.time() - began)
            # the shortest, so that the kill after one that came too late is earlier.
            self.seconds[shard] = tuple(map(min, took, self.seconds.get(shard, took)))
        elif status == 0 and self.made[shard]:
            # a kill came after its last part, so that how long it takes is not known.
            self.seconds.setdefault(shard, (0.0, 1.0))
        elif status == 0:
            self.shards.remove(shard)

    def undo(self, shard):
        """Give a shard that has all its parts its work again; the whole command keeps its own."""
        if shard in self.seconds and self.made[shard] <= self.parts():
            for name in self.made[shard]:
                (self.folder / name).unlink()

    def arguments(self, shard):
        """The settings of a command."""
        return [*self.case.given, *([] if shard is None else [shard])]

    def kill(self):
        """Kill the command, or its shards in turn, as often as the case asks for."""
        for tries in range(self.case.kills + _MORE_TRIES):
            is_enough = self.num_killed >= self.case.kills
            if is_enough and (self.parts() or not self.case.damage):
                return
            shard = self.shards[tries % len(self.shards)] if self.case.count > 1 else None
            if is_enough and shard is not None:
                # no part is there to be damaged, and a shard that comes to its end leaves some.
                self.end(shard)
            else:
                self.undo(shard)
                self.attempt(shard)

    def end(self, shard):
        """Let a command come to its end."""
        status = ended(forked(self.case.entry, self.arguments(shard), self.log))
        assert status == 0, self.log.read_text()[-3000:]

    def run(self):
        """All of it."""
        case, every = self.case, [*self.shards] or [None]
        self.kill()
        name = self.damaged() if case.damage else None
        for shard in every:
            self.end(shard)
        if case.count > 1:
            for _ in range(2):
                self.gather(lambda number: killed(number, self.draw.uniform(0, 0.6), lambda: True))
            self.gather(ended)
        return {"killed": self.num_killed, "damaged": name}

    def gather(self, until):
        """Join the parts; there is nothing left to join where an attempt before has done it."""
        is_there = Path(self.case.out).exists()
        status = until(forked("gather", [f"out={self.case.out}"], self.log))
        assert status in (0, -signal.SIGKILL) or is_there, (status, self.log.read_text()[-3000:])

    def damaged(self):
        """Damage a part, if there is one; its name."""
        parts = sorted(self.parts())
        if not parts:
            return None
        chosen = self.folder / self.draw.choice(parts)
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
