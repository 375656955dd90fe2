"""The right name that somebody probably meant by a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Collection

# what settings are called elsewhere -> their names here, those of several commands in order.
_ELSEWHERE = {
    "n": ("num_sequences",),
    "num": ("num_sequences",),
    "num_samples": ("num_sequences",),
    "count": ("num_sequences",),
    "steps": ("trainer.max_steps", "sampler.num_steps"),
    "epochs": ("training.epochs", "trainer.max_steps"),
    "lr": ("optimizer.learning_rate", "training.learning_rate"),
    "bs": ("trainer.global_batch_size", "training.batch_size", "batch_size"),
    "batch": ("trainer.global_batch_size", "training.batch_size", "batch_size"),
    "batch_size": ("trainer.global_batch_size", "training.batch_size"),
    "o": ("out", "run_dir"),
    "output": ("out", "run_dir"),
    "outfile": ("out",),
    "output_dir": ("run_dir", "out"),
    "outdir": ("run_dir", "out"),
    "m": ("model",),
    "run": ("model", "run_dir"),
    "checkpoint": ("model", "init_from"),
    "ckpt": ("model", "init_from"),
    "i": ("input", "data.fasta"),
    "fa": ("data.fasta",),
    "genome": ("data.fasta",),
    "reference": ("data.fasta",),
    "vcf": ("variants",),
    "csv": ("data.train", "input"),
    "table": ("data.train", "input"),
    "region": ("locus", "data.bed"),
    "recipe": ("config",),
    "gpu": ("device", "trainer.accelerator"),
    "gpus": ("trainer.devices", "device"),
    "cuda": ("device", "trainer.accelerator"),
    "dtype": ("trainer.precision",),
    "fp16": ("trainer.precision",),
    "num_threads": ("threads",),
    "j": ("workers",),
    "jobs": ("workers",),
    "temp": ("temperature",),
}

# a beginning of fewer letters says nothing.
_LEAST_LETTERS = 3


def nearest(word: str, choices: Collection[str]) -> str | None:
    """The choice that a word probably means, or None.

    In this order: the last part of a dotted name, a usual name, a misspelt name, a beginning.

    >>> nearest("n", ["model", "num_sequences"]), nearest("fasta", ["model", "data.fasta"])
    ('num_sequences', 'data.fasta')
    >>> nearest("models", ["model", "data.fasta"])
    'model'
    """
    word = word.lower().replace("-", "_")
    by_last = {choice.rpartition(".")[2]: choice for choice in reversed(list(choices))}
    last = word.rpartition(".")[2]
    dotted = [choice for choice in choices if choice.endswith(f".{last}")] if "." in word else []
    if found := next(iter(dotted), by_last.get(last)):
        return found
    for usual in _ELSEWHERE.get(word, ()):
        if usual in choices:
            return usual
    for known in (list(choices), list(by_last)):
        if close := difflib.get_close_matches(word, known, n=1, cutoff=0.5):
            return by_last.get(close[0], close[0])
    begun = [choice for last, choice in by_last.items() if last.startswith(word)]
    return begun[-1] if len(word) >= _LEAST_LETTERS and begun else None


def did_you_mean(word: str, choices: Collection[str]) -> str:
    """` (did you mean CHOICE?)`, to follow the wrong word in a sentence; empty without a guess."""
    found = nearest(word, choices)
    return f" (did you mean {found}?)" if found else ""
