"""Predictions of fine-tuned heads for new sequences or texts.

The table has one line per sequence of the input, in its order: the columns of the input, length (of
text in tokens, marks included, at most those of a window), the predicted class (or labels), and one
probability per class or label, or one value per number of a regression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
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
from dnamdlm.assembly.worker_process import Advance
from dnamdlm.assembly.workers import spread
from dnamdlm.data.files import write_text
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import read_bed
from dnamdlm.data.path_kinds import what_it_is
from dnamdlm.data.piped_files import on_disk
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.data.tasks.delimited import ending_of, read_delimited
from dnamdlm.data.tasks.sentences import TextEncoder, chosen
from dnamdlm.data.tasks.sequence_inputs import (
    SequenceSet,
    encode_dna,
    faults_of_dna,
    interval_ids,
    warn_of_n_alone,
)
from dnamdlm.data.tasks.task_tables import NAME_COLUMNS, read_label_rows
from dnamdlm.data.textfile import plain_cell
from dnamdlm.errors import CheckpointError, ConfigError
from dnamdlm.evaluation.tasks.prediction_metrics import probabilities
from dnamdlm.lm.checkpoint import load_weights, read_description, read_tensors, verify_folder
from dnamdlm.lm.states.heads import SequenceClassifier, calls_of, in_order, predict_outputs
from dnamdlm.lm.states.state_pooling import WindowSettings, too_long
from dnamdlm.ops.selection import get_mode
from dnamdlm.training.head_fitting import TargetScale

TOKENS_AT_ONCE = 4096
_CALLS_PER_ITEM = 4


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
    rows = input_of(folders[0], settings.input, settings.data, settings.trust)
    sequences = rows.sequences
    reader = HeadReader(folders, settings.device, settings.trust)
    heads = [checked(folder, sequences) for folder in folders]
    calls = calls_of(sequences.lengths, TOKENS_AT_ONCE)
    plan = plan_for(
        reader.classifier(0), TOKENS_AT_ONCE, threads=settings.threads, workers=settings.workers
    )
    task = PredictionTask(tuple(folders), settings.device, get_mode(), settings.trust)
    items = SlicesOfInput(len(folders), sequences, calls)
    with spread(task, items, plan, opened=reader) as results:
        shares = mean_outputs(heads, items, results)
    write_text(out, _text(rows, rows.spread(predicted_columns(sequences, heads[-1], shares))))
    said = f"predicted {len(sequences)} sequences for {heads[-1]['task']}"
    if len(folders) > 1:
        said += f" with the mean of {len(folders)} heads"
    if rows.faults:
        said += f"; {len(rows.faults)} rows are no DNA, see the column reason"
    return out, said


def mean_outputs(
    heads: Sequence[Mapping[str, Any]], items: SlicesOfInput, results: Iterable[NDArray]
) -> NDArray[np.float64]:
    """Probabilities or numbers, the mean over heads, shape (N, C).

    Args:
        heads: their descriptions.
        items: the slices of the input.
        results: outputs for each slice.
    """
    rest = iter(results)
    found = []
    for head in heads:
        outputs = in_order(items.calls, list(islice(rest, items.per_head)))
        found.append(probabilities(head["kind"], _scale_of(head).restore(outputs)))
    return sum(found[1:], start=found[0]) / len(heads)


@dataclass(frozen=True)
class PredictedRows:
    """What is predicted for.

    Attributes:
        sequences: ids of the model, of the rows that can be read.
        columns: those of the input in their order, with all rows.
        faults: number of each row that cannot be read -> why.
    """

    sequences: SequenceSet
    columns: Mapping[str, Sequence[str]]
    faults: Mapping[int, str] = field(default_factory=dict)

    def spread(self, predicted: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Predicted columns with all rows: those with a fault are empty and have a `reason`."""
        if not self.faults:
            return dict(predicted)
        count = len(self.sequences) + len(self.faults)
        columns = {}
        for name, values in predicted.items():
            rest = iter(values)
            columns[name] = ["" if row in self.faults else next(rest) for row in range(count)]
        return columns | {"reason": [self.faults.get(row, "") for row in range(count)]}


class HeadReader:
    """The classifiers of a fine-tuning run, one of which is loaded at a time."""

    def __init__(self, folders: Sequence[Path], device: str, trust: Sequence[str] = ()) -> None:
        self.folders, self.device, self.trust = folders, device, trust
        self._latest: tuple[int, SequenceClassifier] | None = None

    def classifier(self, number: int) -> SequenceClassifier:
        """The classifier of a folder."""
        if self._latest is None or self._latest[0] != number:
            self._latest = number, load_head(self.folders[number], self.device, self.trust)[0]
        return self._latest[1]


@dataclass(frozen=True)
class SliceOfInput:
    """Sequences of some calls of the network.

    Attributes:
        head: number of the head that predicts for them.
        sequences: token ids of each, in the order of `calls_of`.
    """

    head: int
    sequences: list[NDArray[np.integer]]


@dataclass(frozen=True)
class SlicesOfInput:
    """All sequences for each head, some calls at a time.

    Attributes:
        num_heads: number of heads.
        sequences: what is predicted for.
        calls: the sequences of each call.
    """

    num_heads: int
    sequences: SequenceSet
    calls: Sequence[NDArray[np.intp]]

    @property
    def per_head(self) -> int:
        """Slices that a head has."""
        return math.ceil(len(self.calls) / _CALLS_PER_ITEM)

    def __len__(self) -> int:
        """Number of slices."""
        return self.num_heads * self.per_head

    def __iter__(self) -> Iterator[SliceOfInput]:
        for head in range(self.num_heads):
            for first in range(0, len(self.calls), _CALLS_PER_ITEM):
                chosen = np.concatenate(self.calls[first : first + _CALLS_PER_ITEM])
                yield SliceOfInput(head, [self.sequences[i] for i in chosen])


@dataclass(frozen=True)
class PredictionTask:
    """Prediction in several processes.

    Attributes:
        folders: where each process finds the heads.
        device: where they run.
        ops: implementations of the primitives.
        trust: packages besides dnamdlm whose classes they may name.
    """

    folders: tuple[Path, ...]
    device: str
    ops: str
    trust: tuple[str, ...] = ()

    def open(self) -> HeadReader:
        """What loads heads."""
        start_ops(self.ops, self.device)
        return HeadReader(self.folders, self.device, self.trust)

    def work(
        self, context: HeadReader, item: SliceOfInput, advance: Advance
    ) -> NDArray[np.float32]:
        """The outputs for a slice, shape (N, C)."""
        del advance
        classifier = context.classifier(item.head)
        return predict_outputs(
            classifier,
            item.sequences,
            tokens_at_once=TOKENS_AT_ONCE,
            device=next(classifier.parameters()).device,
        )


def head_folders(run_dir: Path, seed: int | None) -> list[Path]:
    """Splits of a fine-tuning run whose heads can be used, in order.

    Raises:
        CheckpointError: if there are none, or none of this seed.
    """
    folders = sorted((run_dir / SPLITS).glob("model_seed_*"), key=lambda path: _seed_of(path.name))
    usable = [folder for folder in folders if (folder / HEAD).is_file()]
    if not usable and not run_dir.exists():
        raise CheckpointError(
            f"model={run_dir} does not exist; give a run folder of dnamdlm.finetune"
        )
    if not usable and (found := what_it_is("model", run_dir, "head")) is not None:
        raise CheckpointError(found)
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


def _head_of(folder: Path) -> dict[str, Any]:
    return read_description(
        folder / HEAD, model_config=dict, vocabulary=str, windows=dict, label_names=list,
        strand=str, target_mean=list, target_deviation=list, kind=str, task=str,
    )  # fmt: skip


def load_head(
    folder: Path, device: str = "cpu", trust: Sequence[str] = ()
) -> tuple[SequenceClassifier, dict[str, Any], TargetScale]:
    """A fine-tuned classifier, its description and the scale of its numbers.

    Raises:
        CheckpointError: if the folder is damaged or made with another vocabulary.
    """
    verify_folder(folder)
    head = _head_of(folder)
    lm = ModelConfig.stored(head["model_config"], trust).build(seed=0)
    if head["vocabulary"] != lm.vocabulary.fingerprint():
        raise CheckpointError(
            f"{folder} was made with another vocabulary; use the version that wrote it"
        )
    windows = WindowSettings(**head["windows"])
    classifier = SequenceClassifier(lm, len(head["label_names"]), windows, head["strand"])
    load_weights(classifier, read_tensors(folder / HEAD_WEIGHTS), folder / HEAD_WEIGHTS)
    return classifier.to(choose_device(device)).eval(), head, _scale_of(head)


def _scale_of(head: Mapping[str, Any]) -> TargetScale:
    return TargetScale(np.array(head["target_mean"]), np.array(head["target_deviation"]))


def checked(folder: Path, sequences: SequenceSet) -> dict[str, Any]:
    """The description of a head; an error if a sequence is too long for it."""
    verify_folder(folder)
    head = _head_of(folder)
    windows = WindowSettings(**head["windows"])
    longest = int(sequences.lengths.max())
    if windows.long == "refuse" and longest > windows.length:
        raise too_long(longest, windows.length)
    return head


def input_of(
    folder: Path, source: str, data: PredictedInput, trust: Sequence[str] = ()
) -> PredictedRows:
    """The sequences or texts of a file to predict for, as ids of the model of a head."""
    verify_folder(folder)
    head = _head_of(folder)
    modality = ModelConfig.stored(head["model_config"], trust).modality
    if not isinstance(modality, Text):
        return read_input(source, data)
    encoder = encoder_of(modality, head["windows"]["length"])
    return read_texts(source, data, head.get("text_columns", ()), encoder)


def read_input(path: str, data: PredictedInput) -> PredictedRows:
    """Sequences of a FASTA file, a table, or the intervals of a BED file.

    Intervals on the reverse strand are reverse-complemented.

    Raises:
        ConfigError: for a BED file without its genome.
        DataError: for a file that the strict readers refuse.
    """
    if ending_of(on_disk(path)) != ".bed":
        return _read_table(path, data)
    if data.fasta is None:
        raise ConfigError(f"input={path} is a BED file and needs its genome; give data.fasta=FILE")
    store = open_genome(data.fasta, cache_dir=data.cache_dir, rna=data.rna)
    table = read_bed(path, store.lengths)
    names, arrays = [], []
    for interval, name in zip(table.intervals, table.names, strict=True):
        arrays.append(interval_ids(store, interval))
        names.append(name if name not in (None, ".") else str(interval))
    columns = {
        "chrom": [interval.chrom for interval in table.intervals],
        "start": [str(interval.start) for interval in table.intervals],
        "end": [str(interval.end) for interval in table.intervals],
        "name": names,
        "strand": [interval.strand for interval in table.intervals],
    }
    sequences = SequenceSet.of(names, arrays)
    warn_of_n_alone(sequences, path)
    return PredictedRows(sequences, columns)


def _read_table(path: str, data: PredictedInput) -> PredictedRows:
    """Sequences of a table or a FASTA file; a row that is no DNA has a fault in place of ids."""
    rows = read_label_rows(
        Path(path), sequence_column=data.sequence_column, labelled=False, rna=data.rna
    )
    faults = faults_of_dna(rows.sequences, rna=data.rna)
    kept = [row for row in range(len(rows.names)) if row not in faults]
    # without one good row the input is of another kind, and the first fault says of which.
    chosen_rows = kept or range(len(rows.names))
    sequences = encode_dna(
        [rows.names[row] for row in chosen_rows],
        [rows.sequences[row] for row in chosen_rows],
        path,
        rna=data.rna,
    )
    return PredictedRows(sequences, _with_names(rows.table, rows.names), faults)


def _with_names(table: Mapping[str, list[str]], names: list[str]) -> Mapping[str, list[str]]:
    """The columns of a table, after one of names where it has none."""
    return table if any(name in table for name in NAME_COLUMNS) else {"name": names, **table}


def read_texts(
    path: str, data: PredictedInput, columns: Sequence[str], encoder: TextEncoder
) -> PredictedRows:
    """Texts of a table, in the columns that the task had, as ids of a model of text.

    In a `.csv` file quotes group fields; in a `.tsv` file they are letters.

    Raises:
        ConfigError: for a setting that is for DNA.
        DataError: for a file that is missing, or without these columns.
    """
    if data.fasta is not None:
        raise ConfigError("data.fasta is for models of DNA, and this is one of text; leave it out")
    if ending_of(on_disk(path)) not in (".csv", ".tsv"):
        raise ConfigError(
            f"input={path} must end in .csv or .tsv for a model of text, with the columns "
            f"{', '.join(columns)}"
        )
    if data.sequence_column is not None and len(columns) == 1:
        columns = (data.sequence_column,)
    table = read_delimited(on_disk(path)).columns
    texts = list(zip(*chosen(table, columns, Path(path)), strict=True))
    count = len(texts)
    name_column = next((name for name in NAME_COLUMNS if name in table), None)
    names = table[name_column] if name_column else [f"row_{row + 1}" for row in range(count)]
    return PredictedRows(encoder.encode(names, texts, path), _with_names(table, names))


def predicted_columns(
    sequences: SequenceSet, head: Mapping[str, Any], shares: NDArray[np.float64]
) -> dict[str, list[Any]]:
    """Length, predicted class or labels, and a probability or value of each.

    Args:
        sequences: N of them.
        head: the description of a head.
        shares: probabilities or numbers (N, C).
    """
    kind, labels = head["kind"], head["label_names"]
    columns: dict[str, list[Any]] = {"length": sequences.lengths.tolist()}
    if kind == "classes":
        columns["prediction"] = [labels[int(row.argmax())] for row in shares]
    elif kind == "labels":
        columns["prediction"] = [";".join(np.array(labels)[row > 0.5].tolist()) for row in shares]
    stem = "value" if kind == "regression" else "probability"
    return columns | {f"{stem}_{label}": shares[:, i].tolist() for i, label in enumerate(labels)}


def distinct_columns(
    kept: Iterable[str], predicted: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    """The predicted columns; one that the input has too is renamed to NAME_predicted."""
    taken = set(kept)
    renamed: dict[str, list[Any]] = {}
    for name, values in predicted.items():
        free = name
        while free in taken:
            free += "_predicted"
        taken.add(free)
        renamed[free] = values
    return renamed


def _text(rows: PredictedRows, predicted: Mapping[str, list[Any]]) -> str:
    added = distinct_columns(rows.columns, predicted)
    cells = [[plain_cell(value) for value in column] for column in rows.columns.values()]
    cells += [
        [f"{value:.6g}" if isinstance(value, float) else str(value) for value in column]
        for column in added.values()
    ]
    header = [plain_cell(name) for name in (*rows.columns, *added)]
    lines = [header, *zip(*cells, strict=True)]
    return "".join("\t".join(line) + "\n" for line in lines)
