"""Seconds per text of 2,048 tokens from a model of 128: windows, whole blocks again and again, AR.

    python -m benchmarks.speed.semi_autoregressive --runs RUNS/shakespeare [--tokens 2048]

After table 5 of the MDLM paper, at small scale. RUNS is the folder of `benchmarks.quality.text
--runs`. All ways read at most one row of the training length at once and continue what they have:

- semi-autoregressive: the second half of a window is filled given the first; revealed tokens stay,
  and the network is asked only in steps that reveal something.
- full regeneration, as SSD-LM does: a block of 25 tokens is drawn as a whole in each step and
  masked again as far as the next step demands; nothing that was asked before can be kept.
- AR: one token after another, with keys and values kept within a window.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.quality.figure2 import quality_cells
from benchmarks.results_table import RESULTS, Cell, ResultTable, environment_of_run, store
from benchmarks.trained import text_of
from dnamdlm.assembly.judge.judge_text import marks_of, open_scorer, real_texts
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import child_keys, row_keys
from dnamdlm.evaluation.text.text_quality import TextQuality, TextSample, text_quality
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import (
    AncestralSampler,
    LeftToRightSampler,
    RemaskSampler,
    Sampler,
)
from dnamdlm.reporting.drawing import BASELINE, INK, OURS, REFERENCE, drawn, save_all

BLOCK_OF_SSD_LM = 25
COLUMNS = (
    "way",
    "new tokens per window",
    "steps per window",
    "CPU s per text",
    "+-",
    "network calls per text",
    "generative perplexity",
    "+-",
    "entropy, nats",
    "+-",
    "distinct-2",
    "rep-4",
    "in the paper, s per text",
    "in the paper, perplexity",
)


@dataclass(frozen=True)
class Way:
    """A way to make long texts.

    Attributes:
        label: as shown.
        model: `ar` or `mdlm_time`.
        sampler: how a window is filled.
        block: new tokens per window.
        paper: seconds and perplexity of table 5.
    """

    label: str
    model: str
    sampler: Sampler
    block: int
    paper: tuple[float | None, float | None] = (None, None)


def ways(steps: int, length: int) -> list[Way]:
    """All ways, with so many steps per window."""
    again = RemaskSampler(num_steps=steps, strategy="rescale", eta=1.0)
    half, small = length // 2, min(BLOCK_OF_SSD_LM, length // 2)
    return [
        Way("MDLM, semi-autoregressive", "mdlm_time", AncestralSampler(steps), half, (89.3, 27.18)),
        Way("MDLM, full regeneration, the same windows", "mdlm_time", again, half),
        Way("MDLM, full regeneration as SSD-LM", "mdlm_time", again, small, (2473.9, 35.43)),
        Way("AR", "ar", LeftToRightSampler(), half),
    ]


def long_text(
    way: Way, loaded: LoadedModel, key: torch.Tensor, num_tokens: int, length: int
) -> tuple[np.ndarray, int]:
    """Ids of one text, and how often the network read a row.

    Args:
        way: how it is made.
        loaded: its model.
        key: noise key, shape (1,).
        num_tokens: tokens in all.
        length: tokens that the network reads at once.
    """
    mask = loaded.lm.vocabulary.mask_id
    ids = np.zeros(0, dtype=np.int64)
    calls, number = 0, 0
    while len(ids) < num_tokens:
        known = ids[len(ids) - min(len(ids), length - way.block) :]
        new = min(length - len(known), num_tokens - len(ids))
        template = Template(np.concatenate([known, np.full(new, mask)]), None)
        pieces = generate_pieces(
            loaded.language_model,
            child_keys(key, number),
            template,
            sampler=way.sampler,
            choice=Choice(),
            trained_length=length,
        )
        (piece,) = pieces
        ids = np.concatenate([ids, piece.tokens[0].numpy()[len(known) :]])
        # an autoregressive model also reads the tokens that are given, once each.
        calls, number = calls + piece.row_calls, number + 1
    return ids, calls


def measured(
    runs: Path, scorer_name: str, *, steps: int, num_tokens: int, num_texts: int
) -> tuple[list[tuple[Way, list[float], float, TextQuality]], TextQuality, str]:
    """Each way with CPU seconds of its texts, calls per text and quality; held-out text; scorer."""
    models = {name: load_model(str(runs / f"{name}_seed1")) for name in ("ar", "mdlm_time")}
    source = text_of(models["mdlm_time"])
    opened = source.open()
    scorer, marks = open_scorer(scorer_name, "cpu"), marks_of(opened.tokenizer)
    found = []
    for way in ways(steps, source.length):
        samples, seconds, calls = [], [], 0
        for key in row_keys(1, torch.arange(num_texts)).split(1):
            began = time.process_time()
            ids, own = long_text(way, models[way.model], key, num_tokens, source.length)
            seconds.append(time.process_time() - began)
            calls += own
            samples.append(TextSample(opened.tokenizer.decode(ids), ids))
        quality = text_quality(samples, scorer, marks)
        found.append((way, seconds, calls / num_texts, quality))
        print(way.label, seconds, quality.perplexity, flush=True)
    real = text_quality(real_texts(opened, "test", num_tokens, num_texts), scorer, marks)
    return found, real, scorer.name


def result_table(
    found: Sequence[tuple[Way, list[float], float, TextQuality]],
    real: TextQuality,
    *,
    scorer: str,
    corpus: str,
    num_tokens: int,
    num_texts: int,
) -> ResultTable:
    """The table with what has to be said about it."""
    rows: list[tuple[Cell, ...]] = []
    for way, seconds, calls, quality in found:
        spread = float(np.std(seconds, ddof=1)) / len(seconds) ** 0.5 if len(seconds) > 1 else None
        rows.append(
            (
                way.label,
                way.block,
                way.sampler.steps,
                float(np.mean(seconds)),
                spread,
                calls,
                *quality_cells(quality),
                *way.paper,
            )
        )
    rows.append(("held-out text", *(None,) * 5, *quality_cells(real), None, None))
    return ResultTable(
        f"speed-semi-autoregressive-{corpus}",
        f"Texts of {num_tokens:,} tokens from a model of one row, at small scale: {corpus}",
        COLUMNS,
        rows,
        (
            "last columns: quoted from Sahoo et al. 2024, table 5, on a GPU with networks of "
            "110 M and 400 M parameters, SSD-LM itself in the row of full regeneration; only "
            "ratios can be compared, and they depend on the number of steps",
            f"{num_texts} texts, made one after another; CPU time of one thread; networks of less "
            "than a million parameters that were trained for minutes",
            "full regeneration: the masked model with every token of the block remasked as far as "
            "the schedule allows in each step (remasking with eta = 1), so each step calls the "
            "network; it is not the network of SSD-LM",
            f"generative perplexity: texts are tokenized again and read by {scorer}, in windows "
            "that begin half a context apart; entropy and repetition of texts of this length",
        ),
    )


@drawn
def figure(
    found: Sequence[tuple[Way, list[float], float, TextQuality]], real: TextQuality, name: str
) -> tuple[str, Figure]:
    """Perplexity against seconds per text."""
    canvas = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = canvas.subplots()
    for (way, seconds, _, quality), colour, marker in zip(
        found, (OURS, BASELINE, BASELINE, REFERENCE), "o^vs", strict=True
    ):
        axes.errorbar(
            float(np.mean(seconds)),
            quality.perplexity or 0.0,
            yerr=quality.perplexity_error,
            color=colour,
            marker=marker,
            linestyle="none",
            label=way.label,
        )
    axes.axhline(real.perplexity or 0.0, color=INK, linestyle="--", label="held-out text")
    axes.set_xscale("log")
    axes.set_xlabel("CPU seconds per text")
    axes.set_ylabel("generative perplexity")
    axes.legend(fontsize=8)
    return name, canvas


def main(arguments: Sequence[str] | None = None) -> None:
    """Sample, measure, draw, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, required=True, help="folder of one corpus")
    parser.add_argument("--scorer", help="run, Hugging Face folder or name; default: ar_seed2")
    parser.add_argument("--steps", type=int, default=32, help="steps per window")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--smoke", action="store_true", help="short texts; stores no table")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    steps, tokens, texts = (
        (2, 40, 2) if chosen.smoke else (chosen.steps, chosen.tokens, chosen.texts)
    )
    found, real, scorer = measured(
        chosen.runs,
        chosen.scorer or str(chosen.runs / "ar_seed2"),
        steps=steps,
        num_tokens=tokens,
        num_texts=texts,
    )
    table = result_table(
        found,
        real,
        scorer=scorer,
        corpus=chosen.runs.resolve().name,
        num_tokens=tokens,
        num_texts=texts,
    )
    if chosen.smoke:
        print(table.markdown(environment_of_run(threads=chosen.threads)))
        path = chosen.results / f"{table.theme}.md"
    else:
        path = store(table, threads=chosen.threads, folder=chosen.results)
    save_all([figure(found, real, path.stem)], chosen.results)


if __name__ == "__main__":
    main()
