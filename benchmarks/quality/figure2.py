"""Quality against time of generation: AR, SEDD and MDLM over the number of steps.

    python -m benchmarks.quality.figure2 --runs RUNS/shakespeare [--steps 4 16 64]

After figure 2 of the MDLM paper, at small scale. RUNS is the folder of `benchmarks.quality.text
--runs`; its `ar_seed1`, `mdlm_time_seed1`, `mdlm_seed1` and `sedd_seed1` make texts of one row, and
the AR model of another seed reads them (or `--scorer`, such as gpt2-large). Entropy is given with
every perplexity, and a sweep over temperatures shows how far one can be had for the other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.results_table import RESULTS, Cell, ResultTable, environment_of_run, store
from benchmarks.text_runs import LABELS
from benchmarks.trained import text_of
from dnamdlm.assembly.judge.judge_text import marks_of, open_scorer, real_texts
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.evaluation.text.scorers import Scorer
from dnamdlm.evaluation.text.text_quality import TextQuality, TextSample, text_quality
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.lm.sampling.samplers import (
    AnalyticSampler,
    AncestralSampler,
    LeftToRightSampler,
    Sampler,
)
from dnamdlm.reporting.drawing import (
    BASELINE,
    EXTRA,
    INK,
    OURS,
    REFERENCE,
    drawn,
    few_log_ticks,
    save_all,
)

COLOURS = {"ar": REFERENCE, "mdlm_time": OURS, "mdlm": OURS, "sedd": BASELINE}
MARKERS = {"ar": "s", "mdlm_time": "o", "mdlm": "v", "sedd": "^"}
LINES = {"mdlm": ":"}
NAMES = {"ar": "AR", "mdlm_time": "MDLM", "mdlm": "MDLM without the time", "sedd": "SEDD"}
MASKED = ("mdlm_time", "mdlm", "sedd")
COLUMNS = (
    "model",
    "sampler",
    "steps",
    "temperature",
    "CPU s per text",
    "network calls per text",
    "generative perplexity",
    "+-",
    "entropy, nats",
    "+-",
    "distinct-2",
    "rep-4",
)


@dataclass(frozen=True)
class Point:
    """One way of making texts, and what came of it."""

    model: str
    sampler: str
    steps: int | None
    temperature: float
    seconds: float
    calls: float
    quality: TextQuality

    def cells(self) -> tuple[Cell, ...]:
        """The row of the table."""
        return (
            LABELS[self.model],
            self.sampler,
            self.steps,
            self.temperature,
            self.seconds,
            self.calls,
            *quality_cells(self.quality),
        )


def quality_cells(quality: TextQuality) -> tuple[Cell, ...]:
    """Perplexity, entropy and repetition."""
    return (
        quality.perplexity,
        quality.perplexity_error,
        quality.entropy.value,
        quality.entropy.standard_error,
        quality.distinct[2],
        quality.repeated[4],
    )


def made(
    loaded: LoadedModel,
    sampler: Sampler,
    *,
    temperature: float,
    num_texts: int,
    length: int,
    seed: int = 1,
) -> tuple[list[TextSample], float, float]:
    """Texts of a model, one after another; CPU seconds and network calls of each."""
    tokenizer = text_of(loaded).open_tokenizer()
    template = Template(torch.full((length,), tokenizer.vocabulary.mask_id).numpy(), None)
    samples: list[TextSample] = []
    calls = 0
    began = time.process_time()
    for key in row_keys(seed, torch.arange(num_texts)).split(1):
        pieces = list(
            generate_pieces(
                loaded.language_model,
                key,
                template,
                sampler=sampler,
                choice=Choice(temperature=temperature),
                trained_length=text_of(loaded).length,
            )
        )
        ids = torch.cat([piece.tokens for piece in pieces], dim=1)[0].numpy()
        samples.append(TextSample(tokenizer.decode(ids), ids))
        calls += sum(piece.row_calls for piece in pieces)
    return samples, (time.process_time() - began) / num_texts, calls / num_texts


def ways(
    steps: Sequence[int], temperatures: Sequence[float]
) -> list[tuple[str, int | None, float]]:
    """Model, steps and temperature of each point: all steps as they are, most steps at all."""
    found: list[tuple[str, int | None, float]] = [("ar", None, 1.0)]
    found += [(model, count, 1.0) for model in MASKED for count in steps]
    for temperature in temperatures:
        if temperature != 1.0:
            found += [("ar", None, temperature)]
            found += [(model, max(steps), temperature) for model in MASKED]
    return found


def points(
    runs: Path,
    scorer: Scorer,
    *,
    steps: Sequence[int],
    temperatures: Sequence[float],
    num_texts: int,
) -> tuple[list[Point], TextQuality]:
    """All points, and the figures of as many held-out rows."""
    models = {name: load_model(str(runs / f"{name}_seed1")) for name in NAMES}
    source = text_of(models["mdlm"])
    opened = source.open()
    marks, length = marks_of(opened.tokenizer), source.length
    found = []
    for model, count, temperature in ways(steps, temperatures):
        sampler: Sampler = LeftToRightSampler()
        if count is not None:
            kind = AnalyticSampler if model == "sedd" else AncestralSampler
            sampler = kind(num_steps=count)
        samples, seconds, calls = made(
            models[model], sampler, temperature=temperature, num_texts=num_texts, length=length
        )
        quality = text_quality(samples, scorer, marks)
        found.append(Point(model, sampler.name, count, temperature, seconds, calls, quality))
        print(found[-1].cells(), flush=True)
    real = text_quality(real_texts(opened, "test", length, num_texts), scorer, marks)
    return found, real


@drawn
def figure(found: Sequence[Point], real: TextQuality, name: str) -> tuple[str, Figure]:
    """Perplexity and entropy against seconds per text, and against each other."""
    canvas = Figure(figsize=(10.5, 3.4), layout="constrained")
    time_axes, entropy_axes, frontier = canvas.subplots(1, 3)
    for model, label in NAMES.items():
        own = [point for point in found if point.model == model]
        plain = sorted((p for p in own if p.temperature == 1.0), key=lambda p: p.seconds)
        style = {"color": COLOURS[model], "marker": MARKERS[model], "label": label}
        style["linestyle"] = LINES.get(model, "-")
        seconds = [point.seconds for point in plain]
        time_axes.plot(seconds, [p.quality.perplexity or 0.0 for p in plain], **style)
        entropy_axes.plot(seconds, [p.quality.entropy.value for p in plain], **style)
        largest = max((p.steps or 0) for p in own)
        swept = sorted((p for p in own if (p.steps or 0) == largest), key=lambda p: p.temperature)
        frontier.plot(
            [p.quality.entropy.value for p in swept],
            [p.quality.perplexity or 0.0 for p in swept],
            **style,
        )
    for axes, value in ((time_axes, real.perplexity or 0.0), (entropy_axes, real.entropy.value)):
        axes.axhline(value, color=INK, linestyle="--", label="held-out text")
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("CPU seconds per text")
    frontier.plot(real.entropy.value, real.perplexity or 0.0, "*", color=EXTRA, markersize=11)
    time_axes.set_ylabel("generative perplexity")
    entropy_axes.set_ylabel("entropy of a text, nats")
    frontier.set_xlabel("entropy of a text, nats")
    frontier.set_ylabel("generative perplexity")
    frontier.set_title("temperatures; star: held-out text", fontsize=10)
    for axes in (time_axes, frontier):
        axes.set_yscale("log")
        few_log_ticks(axes, x=False)
        axes.yaxis.set_minor_formatter(NullFormatter())
    time_axes.legend(fontsize=8)
    return name, canvas


def result_table(
    found: Sequence[Point], real: TextQuality, scorer: Scorer, corpus: str, num_texts: int
) -> ResultTable:
    """The table with what has to be said about it."""
    rows = [point.cells() for point in found]
    rows.append(("held-out text", *(None,) * 5, *quality_cells(real)))
    return ResultTable(
        f"quality-figure2-{corpus}",
        f"Quality against time of generation at small scale: {corpus}",
        COLUMNS,
        rows,
        (
            "after figure 2 of Sahoo et al. 2024, with networks of less than a million parameters "
            "that were trained for minutes; only the shape of the curves can be compared",
            f"{num_texts} texts of one row each, made one after another; time is CPU time of one "
            "thread, tokens as drawn, without reading them",
            f"generative perplexity: texts are tokenized again and read by {scorer.name}, which "
            "made none of them; first tokens are not scored",
            "perplexity alone can be lowered by saying little: entropy of the tokens within a text "
            "is given with it, for held-out text too",
            "MDLM calls the network only in steps that reveal something, SEDD in every step; AR "
            "keeps keys and values",
            "probabilities are float64 and draws exact; the Gumbel noise in float32 of the "
            "original lowers the perplexity of many steps (arXiv:2409.02908)",
        ),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Sample, measure, draw, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, required=True, help="folder of one corpus")
    parser.add_argument("--scorer", help="run, Hugging Face folder or name; default: ar_seed2")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.7, 1.0])
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--smoke", action="store_true", help="a few texts; stores no table")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    scorer = open_scorer(chosen.scorer or str(chosen.runs / "ar_seed2"), "cpu")
    steps, texts = ([2, 4], 2) if chosen.smoke else (chosen.steps, chosen.texts)
    found, real = points(
        chosen.runs, scorer, steps=steps, temperatures=chosen.temperatures, num_texts=texts
    )
    corpus = chosen.runs.resolve().name
    table = result_table(found, real, scorer, corpus, texts)
    if chosen.smoke:
        print(table.markdown(environment_of_run(threads=chosen.threads)))
        path = chosen.results / f"{table.theme}.md"
    else:
        path = store(table, threads=chosen.threads, folder=chosen.results)
    save_all([figure(found, real, path.stem)], chosen.results)


if __name__ == "__main__":
    main()
