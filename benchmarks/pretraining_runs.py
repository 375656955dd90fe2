"""The networks of the benchmark of pre-training, each trained and read when it is wanted."""

from __future__ import annotations

import gzip
import itertools
import json
import resource
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from Bio import SeqIO

import dnamdlm
from benchmarks.kept_results import kept
from benchmarks.measured_rows import Parts, write_parts
from benchmarks.started import completed
from dnamdlm.assembly.api import Model
from dnamdlm.data.files import write_text

_WIDTH = ("backbone.hidden_size=64", "backbone.num_blocks=3")
_DIT = ("backbone=dit", "backbone.num_heads=2", "backbone.mlp_ratio=2", *_WIDTH)
MASKED = {
    "transformer": _DIT,
    "transformer with convolutions": (*_DIT, "backbone.conv_width=9"),
    "Caduceus-PS": ("backbone=caduceus_ps", *_WIDTH),
}
_CAUSAL = {
    "causal transformer": ("backbone=ar", "backbone.num_heads=2", "backbone.mlp_ratio=2", *_WIDTH),
    "causal Mamba": ("backbone=mamba", *_WIDTH),
}
_OBJECTIVES = {
    "mdlm": ("lm=mdlm_count", "lm.objective.lowest=0.1"),
    "mlm": ("lm=mlm",),
    "ar": ("lm=ar",),
}
_NETWORKS = MASKED | _CAUSAL
_HELD, _WINDOWS, _DRAWS = 0.05, 256, 4
BATCH, _TRIAL = 32, (20, 120)


@dataclass(frozen=True)
class Point:
    """One network of the table.

    Attributes:
        backbone: a key of `_NETWORKS`.
        objective: a key of `_OBJECTIVES`.
        share: of the genome that may be read.
        minutes: of the processor.
        length: bases of a window.
        change: what is different from its neighbours; empty in the sweep.
        settings: other settings of train.
        probe: other settings of finetune.
    """

    backbone: str
    objective: str
    share: float
    minutes: float
    length: int
    change: str = ""
    settings: tuple[str, ...] = field(default=())
    probe: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> str:
        """What decides the time of a step, for the folder of its trials."""
        settings = [text for text in self.settings if not text.startswith("seed=")]
        words = (self.backbone, self.objective, str(self.length), *settings)
        return "-".join(words).replace(" ", "_")

    @property
    def name(self) -> str:
        """Of the folder of the run."""
        words = (self.backbone, self.objective, f"{self.share:g}", self.change)
        return "-".join(filter(None, words)).replace(" ", "_").replace(",", "")


def sweep(shares: Sequence[float], minutes: float, length: int) -> list[Point]:
    """Every backbone with every objective that it can have, on every share of the genome."""
    pairs: list[tuple[str, str]] = [
        *itertools.product(MASKED, ("mdlm", "mlm")),
        *itertools.product(_CAUSAL, ("ar",)),
    ]
    return [
        Point(backbone, objective, share, minutes, length)
        for backbone, objective in pairs
        for share in shares
    ]


def unchanged(largest: float, minutes: float, length: int) -> Point:
    """The point of a sweep from which the changes depart."""
    return Point("transformer with convolutions", "mdlm", largest, minutes, length)


def changes(largest: float, minutes: float, length: int) -> list[Point]:
    """One thing changed at a time."""
    base = unchanged(largest, minutes, length)
    head = ("backbone.num_heads=2",)
    return [
        replace(base, change="seed 2", settings=("seed=2",)),
        replace(base, change="seed 3", settings=("seed=3",)),
        replace(base, change="a quarter of the time", minutes=minutes / 4),
        replace(base, change="four times the time", minutes=4 * minutes),
        replace(base, change="32 channels", settings=("backbone.hidden_size=32", *head)),
        replace(base, change="128 channels", settings=("backbone.hidden_size=128", *head)),
        replace(base, change="windows of a third", length=max(16, length // 3)),
        replace(base, change="windows three times as long", length=3 * length),
        replace(base, change="one strand in training", settings=("data.reverse_complement=false",)),
        replace(base, change="one strand read", probe=("strand=one",)),
    ]


class Work:
    """The runs of one table, each done when it is wanted and then kept."""

    def __init__(self, folder: Path, genome: Path, parts: Parts) -> None:
        self.folder = folder
        write_parts(folder, parts)
        opened = gzip.open if genome.name.endswith(".gz") else open
        with opened(genome, "rt", encoding="utf-8") as file:
            self.records = [(item.id, str(item.seq)) for item in SeqIO.parse(file, "fasta")]

    def _total(self) -> int:
        return sum(len(text) for _, text in self.records)

    def prefix(self, share: float) -> Path:
        """A FASTA file of the first bases of the genome."""
        path = self.folder / f"prefix-{share:g}.fa"
        if not path.is_file():
            left, lines = self.bases(share), []
            for name, text in self.records:
                lines.append(f">{name}\n{text[:left]}" if left else "")
                left -= min(left, len(text))
            write_text(path, "\n".join(filter(None, lines)) + "\n")
        return path

    def bases(self, share: float) -> int:
        """Bases of a prefix, none of which is held out."""
        return int(share * (1 - _HELD) * self._total())

    def held_windows(self, length: int) -> list[str]:
        """Windows of the last twentieth of the genome, at equal distances, without N."""
        text = "".join(text for _, text in self.records)[self.bases(1.0) :].upper()
        starts = np.linspace(0, len(text) - length, _WINDOWS, dtype=int)
        found = (text[at : at + length] for at in starts)
        return [window for window in found if not set(window) - set("ACGT")]

    def settings(self, point: Point) -> tuple[str, ...]:
        """How a network is trained, without its number of steps."""
        return (
            "config=tiny", *_NETWORKS[point.backbone], *_OBJECTIVES[point.objective],
            f"data.fasta={self.prefix(point.share)}", "data.annotation=null", "data.valid=null",
            "data.test=null", "data.valid_fraction=0.02", "data.test_fraction=0.02",
            f"data.length={point.length}", "optimizer.learning_rate=0.003", "threads=1",
            "learning_rate.hold_fraction=0.3", "trainer.valid_windows=32", "trainer.log_every=100",
            f"trainer.global_batch_size={BATCH}", "trainer.averaging_decay=0.99", "seed=1",
            *point.settings,
        )  # fmt: skip

    def steps(self, point: Point) -> int:
        """As many steps as the processor time allows, by two trials of different length.

        The trials are those of the first point of a kind, so that networks that differ by the
        bases that they may read take the same number of steps.
        """
        seconds = [
            self.trained(self.folder / "trials" / f"{point.kind}-{steps}", point, steps)
            for steps in _TRIAL
        ]
        each = max(1e-4, (seconds[1] - seconds[0]) / (_TRIAL[1] - _TRIAL[0]))
        return max(20, round(point.minutes * 60 / each))

    def trained(self, run: Path, point: Point, steps: int) -> float:
        """Train, unless that is done; processor seconds, as they were then.

        A run that was interrupted begins anew, since the seconds of its first part are not known.
        """

        def compute() -> float:
            shutil.rmtree(run, ignore_errors=True)
            before = _children()
            completed(
                run, "train", *self.settings(point), f"trainer.max_steps={steps}",
                f"learning_rate.warmup_steps={min(50, steps // 4)}",
                f"trainer.valid_every={steps}", f"trainer.checkpoint_every={max(50, steps // 4)}",
            )  # fmt: skip
            return _children() - before

        return float(kept(run / "processor_seconds.json", compute))

    def results(self, point: Point, baselines: Sequence[str]) -> dict[str, Any]:
        """What the regression on the frozen states found."""
        run = self.folder / f"{point.name}-probe"
        completed(
            run, "finetune", "config=table", f"model={self.folder / point.name}",
            *(f"data.{name}={self.folder / name}.tsv" for name in ("train", "valid", "test")),
            "data.label_column=activity", "data.kind=regression", "data.metric=pearson",
            "method=probe", "probe=ridge", "seeds=1", f"baselines=[{','.join(baselines)}]",
            "threads=1", *point.probe,
        )  # fmt: skip
        return json.loads((run / "results.json").read_text(encoding="utf-8"))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bits_of(run: Path, windows: Sequence[str]) -> float:
    """Mean bits per base of windows, by the bound (exact for a causal model)."""
    model = dnamdlm.load(run)
    assert isinstance(model, Model)
    nats = -model.log_likelihood(list(windows), draws=_DRAWS)
    return float(nats.sum() / np.log(2) / sum(map(len, windows)))
