"""Predictions of fine-tuned heads for new sequences or texts.

The table has one line per sequence of the input, in its order: name, length (of text in tokens,
marks included, at most those of a window), the predicted class
(or labels), and one probability per class or label, or one value per number of a regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.devices import choose_device, plan_for
from dnamdlm.assembly.finetune.finetune_settings import PredictedInput, PredictSettings
from dnamdlm.assembly.finetune.finetuning import HEAD, HEAD_WEIGHTS, SPLITS
from dnamdlm.assembly.finetune.text_tasks import encoder_of
from dnamdlm.assembly.modality import Text
from dnamdlm.assembly.operations import start_ops
from dnamdlm.data.files import write_text
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import read_bed
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.data.tasks.sentences import TextEncoder, chosen, read_table
from dnamdlm.data.tasks.sequence_inputs import SequenceSet, encode_dna, interval_ids
from dnamdlm.data.tasks.task_tables import NAME_COLUMNS, read_label_rows
from dnamdlm.data.textfile import plain_cell
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.evaluation.tasks.prediction_metrics import probabilities
from dnamdlm.lm.checkpoint import load_weights, read_json, read_tensors, verify_folder
from dnamdlm.lm.states.heads import SequenceClassifier, predict_outputs
from dnamdlm.lm.states.state_pooling import WindowSettings, too_long
from dnamdlm.threads import running_with
from dnamdlm.training.head_fitting import TargetScale

_TOKENS_AT_ONCE = 4096


def predict(settings: PredictSettings) -> tuple[Path, str]:
    """Write the table of predictions.

    Returns:
        The table, and a sentence for people.

    Raises:
        CheckpointError: if the run holds no head that can be used.
        DataError: for an input that cannot be read.
    """
    out = Path(settings.out)
    check_target(out, inputs=inputs_of(settings))
    start_ops(settings.ops, settings.device)
    folders = head_folders(Path(settings.model), settings.seed)
    sequences = _input_of(folders[0], settings)
    total: NDArray[np.float64] | None = None
    head: dict[str, Any] = {}
    for folder in folders:
        classifier, head, scale = load_head(folder, settings.device)
        longest = int(sequences.lengths.max())
        if classifier.windows.long == "refuse" and longest > classifier.windows.length:
            raise too_long(longest, classifier.windows.length)
        plan = plan_for(classifier, _TOKENS_AT_ONCE, threads=settings.threads)
        with running_with(plan.threads):
            outputs = predict_outputs(
                classifier,
                sequences,
                tokens_at_once=_TOKENS_AT_ONCE,
                device=next(classifier.parameters()).device,
            )
        found = probabilities(head["kind"], scale.restore(outputs))
        total = found if total is None else total + found
    assert total is not None
    shares = total / len(folders)
    write_text(out, _table(sequences, head, shares))
    return out, (
        f"predicted {len(sequences)} sequences for {head['task']} with the mean of "
        f"{len(folders)} heads"
    )


def head_folders(run_dir: Path, seed: int | None) -> list[Path]:
    """Splits of a fine-tuning run whose heads can be used, in order.

    Raises:
        CheckpointError: if there are none, or none of this seed.
    """
    folders = sorted((run_dir / SPLITS).glob("model_seed_*"), key=lambda path: _seed_of(path.name))
    usable = [folder for folder in folders if (folder / HEAD).is_file()]
    if not usable:
        why = (
            "its probe cannot be stored, choose probe=logistic or ridge"
            if folders
            else "run python -m dnamdlm.finetune first"
        )
        raise CheckpointError(f"model={run_dir} holds no fine-tuned head; {why}")
    if seed is None:
        return usable
    chosen = [folder for folder in usable if _seed_of(folder.name) == seed]
    if not chosen:
        seeds = ", ".join(str(_seed_of(folder.name)) for folder in usable)
        raise CheckpointError(f"model={run_dir} has no head of seed={seed}; there are {seeds}")
    return chosen


def _seed_of(name: str) -> int:
    number = name.rpartition("_")[2]
    return int(number) if number.isdigit() else -1


def load_head(
    folder: Path, device: str = "cpu"
) -> tuple[SequenceClassifier, dict[str, Any], TargetScale]:
    """A fine-tuned classifier, its description and the scale of its numbers.

    Raises:
        CheckpointError: if the folder is damaged or made with another vocabulary.
    """
    verify_folder(folder)
    head = read_json(folder / HEAD)
    lm = ModelConfig.stored(head["model_config"]).build(seed=0)
    if head["vocabulary"] != lm.vocabulary.fingerprint():
        raise CheckpointError(
            f"{folder} was made with another vocabulary; use the version that wrote it"
        )
    windows = WindowSettings(**head["windows"])
    classifier = SequenceClassifier(lm, len(head["label_names"]), windows, head["strand"])
    load_weights(classifier, read_tensors(folder / HEAD_WEIGHTS), folder / HEAD_WEIGHTS)
    scale = TargetScale(np.array(head["target_mean"]), np.array(head["target_deviation"]))
    return classifier.to(choose_device(device)).eval(), head, scale


def _input_of(folder: Path, settings: PredictSettings) -> SequenceSet:
    """The sequences or texts to predict for, as ids of the model of a head."""
    verify_folder(folder)
    head = read_json(folder / HEAD)
    modality = ModelConfig.stored(head["model_config"]).modality
    if not isinstance(modality, Text):
        return read_input(settings.input, settings.data)
    encoder = encoder_of(modality, head["windows"]["length"])
    return read_texts(settings.input, settings.data, head.get("text_columns", ()), encoder)


def read_input(path: str, data: PredictedInput) -> SequenceSet:
    """Sequences of a FASTA file, a table, or the intervals of a BED file.

    Intervals on the reverse strand are reverse-complemented.

    Raises:
        ConfigError: for a BED file without its genome.
        DataError: for a file that the strict readers refuse.
    """
    if not path.removesuffix(".gz").endswith(".bed"):
        rows = read_label_rows(Path(path), sequence_column=data.sequence_column, labelled=False)
        return encode_dna(rows.names, rows.sequences, path)
    if data.fasta is None:
        raise ConfigError(f"input={path} is a BED file and needs its genome; give data.fasta=FILE")
    store = open_genome(data.fasta, cache_dir=data.cache_dir)
    table = read_bed(path, store.lengths)
    names, arrays = [], []
    for interval, name in zip(table.intervals, table.names, strict=True):
        arrays.append(interval_ids(store, interval))
        names.append(name if name not in (None, ".") else str(interval))
    return SequenceSet.of(names, arrays)


def read_texts(
    path: str, data: PredictedInput, columns: Sequence[str], encoder: TextEncoder
) -> SequenceSet:
    """Texts of a table, in the columns that the task had, as ids of a model of text.

    In a `.csv` file quotes group fields; in a `.tsv` file they are letters.

    Raises:
        ConfigError: for a setting that is for DNA.
        DataError: for a file that is missing, or without these columns.
    """
    if data.fasta is not None:
        raise ConfigError("data.fasta is for models of DNA, and this is one of text; leave it out")
    if not path.removesuffix(".gz").endswith((".csv", ".tsv")):
        raise ConfigError(
            f"input={path} must end in .csv or .tsv for a model of text, with the columns "
            f"{', '.join(columns)}"
        )
    if data.sequence_column is not None and len(columns) == 1:
        columns = (data.sequence_column,)
    table, _ = read_table(Path(path), quoted=".csv" in Path(path).suffixes)
    texts = list(zip(*chosen(table, columns, Path(path)), strict=True))
    count = len(texts)
    name_column = next((name for name in NAME_COLUMNS if name in table), None)
    names = table[name_column] if name_column else [f"row_{row + 1}" for row in range(count)]
    return encoder.encode(names, texts, path)


def _table(sequences: SequenceSet, head: Mapping[str, Any], shares: NDArray[np.float64]) -> str:
    kind, labels = head["kind"], head["label_names"]
    column = "value" if kind == "regression" else "probability"
    header = ["name", "length", *([] if kind == "regression" else ["prediction"])]
    lines = ["\t".join([*header, *(f"{column}_{label}" for label in labels)])]
    for row, name in enumerate(sequences.names):
        cells = [plain_cell(name), str(sequences.lengths[row])]
        if kind == "classes":
            cells.append(labels[int(shares[row].argmax())])
        elif kind == "labels":
            cells.append(";".join(np.array(labels)[shares[row] > 0.5].tolist()))
        lines.append("\t".join([*cells, *(f"{share:.6g}" for share in shares[row])]))
    return "\n".join(lines) + "\n"
