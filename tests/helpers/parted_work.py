"""A command that computes in parts, and takes no time to start: cubes of numbers, a batch a line.

`python -m tests.helpers.parted_work OUT [name=value ...]`
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from dnamdlm.assembly.runner.part_runner import Job, PlainBatches, Workforce, run_job
from dnamdlm.data.files import replacing
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.threads import Plan
from tests.helpers.worker_tasks import Squares


@dataclass(frozen=True)
class Cubes(Squares):
    """Cubes numbers, writing down who did it when."""

    def work(self, context, item, advance):
        return super().work(context, item, advance) * item


def join(head, contents, target):
    """The head, and the lines of all parts."""
    with replacing(target) as partial, partial.open("wb") as file:
        file.write(head["title"].encode())
        for content in contents:
            file.write(content.read())


def run(out, *, work, batches=20, per_part=3, shard=None, workers=1, seconds=0.0, fault=None,
        model="a", keeps_cut=False, threads=None):  # fmt: skip
    """Compute the cubes, see `run_job`."""
    task = Cubes(str(work), (seconds,), fault)
    job = Job(
        entry="score",
        target=Path(out),
        identity={"model": f"sha256:{model}", "batches": batches},
        head={"ending": ".tsv", "text": "number\n", "title": "cubes\n"},
        num_batches=batches,
        batches=PlainBatches(range(batches), lambda cube: Stretch(b"%d\n" % cube, 1, {"n": 1})),
        num_rows=batches,
        join=join,
        label="cubing",
        unit="numbers",
    )
    workforce = Workforce(task, Plan(threads, workers), task.open() if workers == 1 else None)
    return run_job(job, workforce, shard=parse_shard(shard), per_part=per_part, keeps_cut=keeps_cut)


def expected(batches=20):
    """What the file holds in the end."""
    return "cubes\n" + "".join(f"{number**3}\n" for number in range(batches))


if __name__ == "__main__":
    given = dict(word.split("=") for word in sys.argv[2:])
    kinds = {"batches": int, "per_part": int, "workers": int, "seconds": float}
    settings = {name: kinds.get(name, str)(value) for name, value in given.items()}
    print(run(sys.argv[1], **settings))
