"""GLUE tasks from a tiny transformer that is pre-trained here, and its baselines, in one table.

    python -m benchmarks.quality.glue --text FILE ... --glue DIR --out DIR
        [--tasks cola rte sst2] [--seeds 3] [--limit 4000] [--mlm-steps 4000] [--mdlm-steps 2000]
        [--rate 0.0005] [--with-mlm] [--smoke]

The transformer (`backbone=text_cpu`: two blocks of 128 channels, as BERT-tiny, with short
convolutions and tied embeddings) learns masked language modelling on the given text and then goes
on as a masked diffusion model, in the order of the paper's section on GLUE. It is fine-tuned (with
`--with-mlm` the first half alone too), and so is the same network with random weights; beside them
stand a logistic regression of words and pairs of words, and the commonest label. The vocabulary is
made from the same text, since thirty thousand words do not stand in it often enough. DIR goes on
where it stood.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf

from benchmarks.results_table import Cell, ResultTable, finish
from data_prep.text import main as prepare_text
from dnamdlm.assembly.building.entry_settings import read_settings
from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry
from dnamdlm.assembly.finetune.finetuning import finetune
from dnamdlm.assembly.train.train_settings import read_train_settings
from dnamdlm.assembly.train.training_run import train
from dnamdlm.command_line import config_folder
from dnamdlm.data.tasks.glue import GLUE

# from 4,096 ids on the output layer is computed at hidden positions alone.
VOCABULARY = 5000
SIZES = ("backbone.hidden_size=128", "backbone.num_blocks=2", "backbone.num_heads=2")
BATCH, LENGTH = 8, 128
MASKED, CONTINUED = "MLM", "MLM, then diffusion"
# GLUE table of arXiv:2406.07524, for base-size models; other data and sizes, so for orientation.
PAPER = {"cola": 57.69, "rte": 62.09}


def settings_of(entry: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The composed tree of an entry."""
    folder = str(config_folder(entry) if entry == "finetune" else config_folder())
    with hydra.initialize_config_dir(version_base="1.3", config_dir=folder):
        composed = hydra.compose(entry, overrides=list(overrides))
    tree = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def make_vocabulary(files: Sequence[str], folder: Path) -> None:
    """Write `vocab.txt` of an uncased WordPiece vocabulary of the files."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=special, show_progress=False
    )
    tokenizer.train(list(files), trainer)
    known = tokenizer.get_vocab()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(sorted(known, key=known.__getitem__)) + "\n")


def pretrained(arguments: argparse.Namespace) -> dict[str, Path]:
    """Run folders of both models, trained if they are not there yet."""
    out = Path(arguments.out)
    if not (out / "vocabulary" / "vocab.txt").is_file():
        make_vocabulary(arguments.text, out / "vocabulary")
    files = ",".join(arguments.text)
    if prepare_text(
        [f"files=[{files}]", f"tokenizer={out / 'vocabulary'}", f"out={out / 'corpus'}"]
    ):
        raise SystemExit(1)
    common = [
        "config=text", f"data.corpus={out / 'corpus'}", *SIZES, "trainer.accelerator=cpu",
        "trainer.valid_every=500", "trainer.checkpoint_every=500", "backbone.dropout=0.1",
        "backbone.time_conditioning=false",
        f"trainer.global_batch_size={BATCH}", f"data.length={LENGTH}",
    ]  # fmt: skip
    runs = {MASKED: out / "mlm", CONTINUED: out / "mdlm"}
    steps = {MASKED: arguments.mlm_steps, CONTINUED: arguments.mdlm_steps}
    own = {MASKED: ["lm=mlm"], CONTINUED: [f"init_from={out / 'mlm'}"]}
    for name, run_dir in runs.items():
        train(
            read_train_settings(
                settings_of(
                    "train",
                    [*common, *own[name], f"run_dir={run_dir}", f"trainer.max_steps={steps[name]}"],
                )
            )
        )
    return runs


def task_rows(
    task: str, arguments: argparse.Namespace, runs: dict[str, Path]
) -> list[tuple[Cell, ...]]:
    """One row per predictor of a task."""
    rows: list[tuple[Cell, ...]] = []
    names = [CONTINUED, *([MASKED] if arguments.with_mlm else [])]
    for index, name in enumerate(names):
        run = runs[name]
        overrides = [
            "config=glue", f"task={task}", f"model={run}", f"data.folder={arguments.glue}",
            f"run_dir='{Path(arguments.out) / f'{task}_{run.name}'}'", f"seeds={arguments.seeds}",
            f"limit={arguments.limit}", f"training.learning_rate={arguments.rate}",
            "bootstrap=50", "device=cpu",
        ]  # fmt: skip
        # the baselines do not depend on which model they are compared with.
        overrides += ["baselines=[]"] if index else []
        path, headline = finetune(read_settings(FinetuneEntry, settings_of("finetune", overrides)))
        print(headline)
        results = json.loads(path.read_text(encoding="utf-8"))
        for predictor in results["summary"]:
            own = [split for split in results["splits"] if split["predictor"] == predictor]
            figures = results["summary"][predictor]["test"]
            metric = results["metric"]
            rows.append(
                (
                    task,
                    name if predictor == "model" else predictor.replace("_", " "),
                    {"mcc": "Matthews"}.get(metric, metric),
                    100 * figures[metric]["mean"],
                    _hundred(figures[metric]["standard_deviation"]),
                    100 * figures["accuracy"]["mean"],
                    100 * statistics.mean(split["valid"][metric] for split in own),
                    results["rows"]["train"],
                    results["rows"]["test"],
                    statistics.mean(split["seconds"] for split in own),
                )
            )
    order = [CONTINUED, MASKED, "random weights", "bag of words", "majority"]
    return sorted(rows, key=lambda row: order.index(str(row[1])))


def _hundred(value: float | None) -> float | None:
    """One figure as it is shown; one seed has no deviation."""
    return None if value is None else 100 * value


def main() -> None:
    """Run, print and store."""
    parser = argparse.ArgumentParser(description="GLUE tasks from a tiny pre-trained model.")
    parser.add_argument("--text", nargs="+", required=True, help="files to pre-train on")
    parser.add_argument("--glue", required=True, help="folder with CoLA, RTE, SST-2")
    parser.add_argument("--out", required=True, help="folder of the runs")
    parser.add_argument("--tasks", nargs="+", default=["cola", "rte", "sst2"], choices=list(GLUE))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=4000, help="rows to learn from at most")
    parser.add_argument("--mlm-steps", type=int, default=4000)
    parser.add_argument("--mdlm-steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate of fine-tuning")
    parser.add_argument(
        "--with-mlm", action="store_true", help="fine-tune the first half alone too"
    )
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    arguments = parser.parse_args()
    runs = pretrained(arguments)
    rows = [row for task in arguments.tasks for row in task_rows(task, arguments, runs)]
    table = ResultTable(
        theme="quality-glue",
        title=f"GLUE from a tiny model pre-trained here, dev part, {arguments.seeds} seeds",
        columns=("task", "predictor", "metric", "dev x 100", "deviation over seeds",
                 "dev accuracy x 100", "validation x 100", "training rows", "dev rows",
                 "seconds per seed"),
        rows=rows,
        notes=(
            f"{arguments.mlm_steps} steps of masked language modelling and "
            f"{arguments.mdlm_steps} of diffusion, {BATCH * LENGTH:,} tokens each, on "
            f"{len(arguments.text)} files of text; {VOCABULARY:,} WordPieces of the same text",
            f"at most {arguments.limit:,} random rows of train are used; a tenth of them, another "
            "one for each seed, chooses the epoch, and dev is read once",
            "one learning rate for all tasks and networks, "
            f"{arguments.rate:g}; mean of the last states, linear head, 3 epochs, batches of 32",
            "the paper (arXiv:2406.07524) reports, for BERT of base size continued as a diffusion "
            "model, " + ", ".join(f"{name} {value}" for name, value in PAPER.items())
            + "; this model is a hundred times smaller and has read a thousandth of the text, so "
            "nothing here confirms or refutes them",
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
