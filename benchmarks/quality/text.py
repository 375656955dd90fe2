"""AR, MDLM, SEDD and D3PM on three small corpora of text, at equal steps, tokens and seeds.

    python -m benchmarks.quality.text [--steps 4000] [--seeds 2] [--corpora lm1b] [--runs DIR]

All models of a corpus have the same transformer (64 channels, 2 blocks, tied embeddings; AR with
causal attention, the others with short convolutions before it), optimizer, rows and order. All but
AR see the time, as SEDD does, on the same network; MDLM comes without it too. Perplexities are
those of held-out rows, bounds but for AR, beside counts of short contexts. With `--runs DIR` the
run folders stay, for `benchmarks.quality.figure2` and `benchmarks.speed.semi_autoregressive`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.count_models import CountModel
from benchmarks.results_table import RESULTS, Cell, ResultTable, environment_of_run, store
from benchmarks.text_runs import (
    CORPORA,
    DATA,
    LABELS,
    MODELS,
    SMOKE,
    Size,
    SmallCorpus,
    prepare,
    train_run,
)
from benchmarks.trained import text_of
from dnamdlm.assembly.models import load_model
from dnamdlm.data.text.corpus import OpenText
from dnamdlm.evaluation.rates import Rate
from dnamdlm.evaluation.text.perplexity import TextReport, text_report
from dnamdlm.evaluation.window_scores import score_windows

# perplexities that the MDLM paper reports on LM1B (table 1), after 33 billion tokens.
PAPER = {"ar": 22.32, "mdlm": 27.04, "mdlm_time": None, "sedd": 32.79, "d3pm": 76.90}
COUNTED = {0: "unigram counts", 1: "bigram counts", 2: "trigram counts"}
COLUMNS = (
    "corpus",
    "model",
    "kind",
    "perplexity of a token",
    "+- (seeds)",
    "+- (rows)",
    "bits per byte",
    "+- (seeds)",
    "minus MDLM, bits per byte",
    "+- (paired seeds)",
    "training, CPU s",
    "LM1B in the paper (table 1)",
)


def measured(
    corpus: SmallCorpus,
    folder: Path,
    *,
    data: Path,
    models: Sequence[str],
    num_seeds: int,
    num_rows: int,
    draws: int,
    size: Size,
) -> list[tuple[Cell, ...]]:
    """Train and score all models on one corpus."""
    place = prepare(corpus, folder, data, size.vocabulary)
    reports: dict[str, list[TextReport]] = {}
    seconds: dict[str, list[float | None]] = {}
    opened: OpenText | None = None
    for model in models:
        reports[model], seconds[model] = [], []
        for seed in range(1, num_seeds + 1):
            run = folder / f"{model}_seed{seed}"
            seconds[model].append(train_run(model, place, run, seed, size))
            loaded = load_model(str(run))
            opened = text_of(loaded).open()
            # the noise of the estimate differs between seeds, the rows do not.
            windows = opened.evaluation_windows("test", limit=num_rows, seed=seed)
            lm, began = loaded.language_model, time.perf_counter()
            scores = score_windows(lm, windows, draws=draws, batch_size=8)
            reports[model].append(
                text_report(
                    scores,
                    windows,
                    opened.split("test"),
                    None,
                    draws=draws,
                    seconds=time.perf_counter() - began,
                    vocabulary=lm.vocabulary,
                )
            )
            report = reports[model][-1]
            print(f"{run.name} of {corpus.name}: {report.perplexity:.2f}", flush=True)
    assert opened is not None
    rows = counted(corpus, opened, num_rows, next(iter(reports.values()))[0])
    compared = next((model for model in ("mdlm_time", "mdlm") if model in reports), None)
    base = [report.bits_per_byte for report in reports.get(compared or "", [])]
    for model in models:
        bits = [report.bits.value for report in reports[model]]
        of_bytes = [report.bits_per_byte or math.nan for report in reports[model]]
        gaps = [
            ours - theirs
            for ours, theirs in zip(of_bytes, base, strict=False)
            if theirs is not None and model != compared
        ]
        perplexity = 2.0 ** statistics.fmean(bits)
        factor = perplexity * math.log(2.0)
        rows.append(
            (
                corpus.label,
                LABELS[model],
                reports[model][0].kind,
                perplexity,
                _times(factor, error(bits)),
                factor * statistics.fmean(r.bits.standard_error for r in reports[model]),
                statistics.fmean(of_bytes),
                error(of_bytes),
                statistics.fmean(gaps) if gaps else None,
                error(gaps),
                _mean_seconds(seconds[model]),
                PAPER[model] if corpus.name == "lm1b" else None,
            )
        )
    return rows


def counted(
    corpus: SmallCorpus, opened: OpenText, num_rows: int, report: TextReport
) -> list[tuple[Cell, ...]]:
    """The rows of the count models, on the same test rows."""
    train = opened.split("train")
    tokens = train.read(0, train.num_tokens)
    windows = opened.evaluation_windows("test", limit=num_rows)
    bits = {
        order: CountModel(tokens, opened.tokenizer.vocabulary, order).bits(windows)
        for order in COUNTED
    }
    return [
        (
            corpus.label,
            COUNTED[order],
            "exact",
            2.0**rate.value,
            None,
            2.0**rate.value * math.log(2.0) * rate.standard_error,
            _bits_per_byte(rate, report),
            *(None,) * 5,
        )
        for order, rate in bits.items()
    ]


def _bits_per_byte(rate: Rate, report: TextReport) -> float | None:
    """Bits per byte of a rate on the rows of a report."""
    if report.bits_per_byte is None:
        return None
    return report.bits_per_byte * (rate.value / report.bits.value)


def error(values: Sequence[float]) -> float | None:
    """Standard error of a mean, which needs two values."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def _mean_seconds(values: Sequence[float | None]) -> float | None:
    """Mean over the runs that were trained here."""
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 1) if known else None


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def result_table(rows: list[tuple[Cell, ...]], size: Size, facts: Sequence[str]) -> ResultTable:
    """The table with what has to be said about it."""
    tokens = size.steps * size.batch * size.length
    return ResultTable(
        "quality-text",
        f"Text at small scale: {size.steps} steps of {size.batch} x {size.length} tokens",
        COLUMNS,
        rows,
        (
            "small scale: networks of less than a million parameters, minutes of training, "
            f"{tokens:,} tokens read by each; the order of models need not be that of long "
            "training",
            "last column: quoted from Sahoo et al. 2024, table 1, networks of 110 M parameters "
            "after 33 billion tokens (D3PM and SEDD as cited there), of the tokens of BERT; not "
            "comparable in size with what was measured here, only in order",
            "perplexity is of a token of the corpus, a byte-level BPE vocabulary of "
            f"{size.vocabulary:,} learned from the training part, or one of 27 characters; "
            "bits per byte do not depend on the vocabulary, and are bits per character for tiny "
            "Shakespeare",
            "the part of LM1B here is the published held-out part: its first 85 % are trained on, "
            "its last 10 % tested; of WikiText-2 the validation part is trained on and the test "
            "part tested; of tiny Shakespeare the last 5 % are tested",
            "rows are packed blocks without marks around them (the paper pads sentences); every "
            "row is read by itself, by counts as well",
            "seeds: standard error of the mean over seeds of weights, order and noise; rows: over "
            "test rows, as of one network; MDLM, SEDD and D3PM are upper bounds",
            "counts: Witten-Bell interpolation, nothing tuned, fitted on the whole training part, "
            "of which the networks read the tokens named above",
            "MDLM, SEDD and D3PM have the same network, which sees the time, the same rows and the "
            "same steps, and differ in the objective; the paper's MDLM does not see the time",
            "bits per byte divide by the bytes of the test rows that were read, taken as their "
            "share of the tokens of the test part",
            *facts,
        ),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=128, help="test rows, spread over the split")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--corpora", nargs="+", choices=list(CORPORA), default=list(CORPORA))
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the text files")
    parser.add_argument("--runs", type=Path, help="folder in which corpora and runs stay")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--smoke", action="store_true", help="two steps; print only")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    size = SMOKE if chosen.smoke else Size(chosen.steps)
    seeds, num_rows = (1, 4) if chosen.smoke else (chosen.seeds, chosen.rows)
    rows: list[tuple[Cell, ...]] = []
    with tempfile.TemporaryDirectory() as temporary:
        runs = (chosen.runs or Path(temporary)).resolve()
        for name in chosen.corpora:
            rows += measured(
                CORPORA[name],
                runs / name,
                data=chosen.data,
                models=chosen.models,
                num_seeds=seeds,
                num_rows=num_rows,
                draws=chosen.draws,
                size=size,
            )
    facts = (f"{seeds} seeds, {num_rows} test rows, {chosen.draws} draws of the noise per row",)
    table = result_table(rows, size, facts)
    if chosen.smoke:
        print(table.markdown(environment_of_run(threads=chosen.threads)))
        return
    if set(chosen.corpora) != set(CORPORA):
        table = replace(table, theme="-".join([table.theme, *chosen.corpora]))
    store(table, threads=chosen.threads, folder=chosen.results)


if __name__ == "__main__":
    main()
