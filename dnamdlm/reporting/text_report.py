"""The report of a run on text: curve, perplexity of held-out text, samples and their quality."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnamdlm.data.files import make_folder, text_file, write_together
from dnamdlm.data.text.sample_files import read_text_records
from dnamdlm.evaluation.evaluation_files import read_evaluation
from dnamdlm.reporting.drawing import Drawing, drawing_files, inline
from dnamdlm.reporting.figures import training_curve
from dnamdlm.reporting.run_files import SPLITS, RunFiles, read_run_files
from dnamdlm.reporting.run_report import data_files, environment
from dnamdlm.reporting.tables import flat

SAMPLES = ("samples.jsonl", "samples.txt")
_EXAMPLES, _EXAMPLE_LETTERS = 5, 1200


def write_text_report(run_dir: str | Path) -> Path:
    """Write run_dir/report.html and run_dir/report_data/ of a run on text.

    Texts are those of samples.jsonl or samples.txt in the run folder. Parts that are missing are
    listed with the command that makes them.

    Returns:
        Path of the HTML file.

    Raises:
        DataError: if the folder does not hold a run, or a file in it is damaged.
    """
    files = read_run_files(Path(run_dir))
    _, likelihood = files.section("text") or ("", None)
    split, compared = files.section("generated_text") or ("", None)
    texts = _texts(files.run_dir)
    drawing = _curve(files)
    run = shlex.quote(str(files.run_dir))
    page = (
        environment()
        .get_template("text.html.j2")
        .render(
            run_name=files.run_dir.resolve().name,
            cards=_cards(files) + ([] if compared is None else _sample_cards(compared)),
            missing=_missing(files, bool(texts)),
            report_command=f"python -m dnamdlm.report run_dir={run}",
            curve=inline(drawing),
            likelihood=likelihood,
            others=_other_corpora(files.run_dir),
            compared=None if compared is None else _rows(compared),
            split=split,
            scorer=None if compared is None else compared["scorer"],
            mauve=None if compared is None else compared.get("mauve"),
            examples=texts[:_EXAMPLES],
            facts=list(flat(files.run)),
            config=files.config,
        )
    )
    folder = files.run_dir / "report_data"
    make_folder(folder)
    target = files.run_dir / "report.html"
    drawn = drawing_files([] if drawing is None else [drawing], folder)
    texts = {folder / name: text_file(text) for name, text in data_files(files).items()}
    write_together(texts | drawn | {target: text_file(page)})
    return target


def _curve(files: RunFiles) -> Drawing | None:
    # runs of earlier versions have these columns named for bases.
    unit = "token" if "train_bits_per_token" in files.metrics else "base"
    train, valid = (files.column(f"{split}_bits_per_{unit}") for split in ("train", "valid"))
    if not len(train[0]) + len(valid[0]):
        return None
    return training_curve(train, valid, {}, x_label="training step", y_label="bits per token")


def _cards(files: RunFiles) -> list[dict[str, str]]:
    found = files.section("text")
    if found is None:
        return []
    split, text = found
    bound = ", an upper bound" if text["kind"] == "upper bound" else ""
    error = text["perplexity_standard_error"]
    cards = [
        {
            "title": f"Perplexity of a token, {split} split",
            "value": f"{text['perplexity']:.2f}",
            "note": f"{'one row' if error is None else f'+- {error:.2f}'}{bound}",
        },
        {
            "title": "Bits per token",
            "value": f"{text['bits_per_token']:.4f}",
            "note": f"blind guessing needs {math.log2(text['uniform_perplexity']):.2f}",
        },
    ]
    if text["bits_per_byte"] is not None:
        cards.append(
            {"title": "Bits per byte", "value": f"{text['bits_per_byte']:.4f}", "note": "of text"}
        )
    if text["unigram_perplexity"] is not None:
        cards.append(
            {
                "title": "Token frequencies alone",
                "value": f"{text['unigram_perplexity']:.2f}",
                "note": "perplexity without any context",
            }
        )
    return cards


def _sample_cards(compared: Mapping[str, Any]) -> list[dict[str, str]]:
    ours, real = compared["generated"], compared["real"]
    if ours["perplexity"] is None:
        return []
    cards = [
        {
            "title": "Generative perplexity",
            "value": f"{ours['perplexity']:.2f}",
            "note": f"held-out text {_shown(real['perplexity'], 2)}; entropy "
            f"{_shown(ours['entropy_nats'], 3)}, of held-out text "
            f"{_shown(real['entropy_nats'], 3)} nats",
        }
    ]
    if compared.get("mauve") is not None:
        note = "0 to 1, samples compared with held-out text; higher is better"
        cards.append({"title": "MAUVE", "value": f"{compared['mauve']:.3f}", "note": note})
    return cards


def _rows(compared: Mapping[str, Any]) -> list[dict[str, str]]:
    """The table of samples and held-out text."""
    return [
        {
            "label": label,
            "texts": f"{part['num_texts']:,}{_empty(part)}",
            "perplexity": _shown(part["perplexity"], 2),
            "entropy": _shown(part["entropy_nats"], 3),
            "distinct": _shown(part["distinct"]["2"], 3),
            "repeated": _shown(part["repeated"]["4"], 3),
        }
        for label, part in (("samples", compared["generated"]), ("held-out text", compared["real"]))
    ]


def _empty(part: Mapping[str, Any]) -> str:
    """How many texts are empty; files of older versions lack it."""
    return f", {part['num_empty']:,} empty" if part.get("num_empty") else ""


def _other_corpora(run_dir: Path) -> list[dict[str, str]]:
    """Figures of other corpora, each in a file SPLIT.CORPUS.json."""
    rows = []
    folder = run_dir / "evaluation"
    for path in sorted(path for split in SPLITS for path in folder.glob(f"{split}.*.json")):
        content = read_evaluation(path)
        if (text := content.get("text")) is not None:
            rows.append(
                {
                    "corpus": text.get("corpus", path.stem.partition(".")[2]),
                    "split": content["split"],
                    "perplexity": _shown(text["perplexity"], 2),
                    "error": _shown(text["perplexity_standard_error"], 2),
                    "bits_per_byte": _shown(text["bits_per_byte"], 4),
                }
            )
    return rows


def _texts(run_dir: Path) -> list[dict[str, Any]]:
    path = next((run_dir / name for name in SAMPLES if (run_dir / name).is_file()), None)
    if path is None:
        return []
    return [
        {
            "name": f"sample {number}",
            "text": record["text"][:_EXAMPLE_LETTERS],
            "left_out": max(len(record["text"]) - _EXAMPLE_LETTERS, 0),
        }
        for number, record in enumerate(read_text_records(path), start=1)
        if record["text"].strip()
    ]


def _missing(files: RunFiles, has_texts: bool) -> list[dict[str, str]]:
    """What the run folder lacks, and the commands that make it."""
    run = shlex.quote(str(files.run_dir))
    samples = shlex.quote(str(files.run_dir / SAMPLES[0]))
    evaluate = f"python -m dnamdlm.evaluate model={run} split=test"
    parts = []
    if files.section("text") is None:
        parts.append(("perplexity of held-out text", evaluate))
    if not has_texts:
        command = f"python -m dnamdlm.sample model={run} num_sequences=64 out={samples}"
        parts.append(("generated text", command))
    if files.section("generated_text") is None:
        after = "" if has_texts else " (after sampling)"
        command = f"python -m dnamdlm.judge model={run} samples={samples} scorer=gpt2-large"
        parts.append((f"comparison of generated with real text{after}", command))
    return [{"what": what, "command": command} for what, command in parts]


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
