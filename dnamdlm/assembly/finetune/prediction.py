"""Predictions of fine-tuned heads for new sequences or texts.

The table has one line per sequence of the input, in its order: the columns of the input, length (of
text in tokens, marks included, at most those of a window), the predicted class (or labels), and one
probability per class or label, or one value per number of a regression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.devices import choose_device, plan_for
from dnamdlm.assembly.finetune.finetune_settings import PredictSettings
from dnamdlm.assembly.finetune.finetuning import HEAD_WEIGHTS, SPLITS
from dnamdlm.assembly.finetune.head_record import HEAD, head_of
from dnamdlm.assembly.finetune.predicted_rows import (
    input_of,
    predicted_columns,
    table_of,
)
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.pretrained import place_of
from dnamdlm.assembly.worker_process import Advance
from dnamdlm.assembly.workers import spread
from dnamdlm.data.files import write_text
from dnamdlm.data.path_kinds import what_it_is
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.data.tasks.sequence_inputs import (
    SequenceSet,
)
from dnamdlm.errors import CheckpointError
from dnamdlm.evaluation.tasks.prediction_metrics import probabilities
from dnamdlm.lm.checkpoint import read_tensors, verify_folder
from dnamdlm.lm.module_weights import load_weights
from dnamdlm.lm.published.exported_folder import is_exported
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
    write_text(out, table_of(rows, rows.spread(predicted_columns(sequences, heads[-1], shares))))
    said = f"predicted {len(sequences)} sequences for {heads[-1]['task']}"
    if len(folders) > 1:
        said += f" with the mean of {len(folders)} heads"
    if rows.faults:
        said += f"; {len(rows.faults)} rows cannot be read, see the column reason"
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


def head_folders(run_dir: Path, seed: int | None, setting: str = "model") -> list[Path]:
    """Splits of a fine-tuning run whose heads can be used, in order.

    Args:
        run_dir: the run folder.
        seed: of one split; None is all.
        setting: what the user calls the folder, for messages.

    Raises:
        CheckpointError: if there are none, or none of this seed.
    """
    folders = sorted((run_dir / SPLITS).glob("model_seed_*"), key=lambda path: _seed_of(path.name))
    usable = [folder for folder in folders if (folder / HEAD).is_file()]
    if not usable and is_exported(place_of(str(run_dir))):
        raise CheckpointError(
            f"model={run_dir} is a language model or an exported head; give the run folder of "
            f"dnamdlm.finetune, which makes a head with model={run_dir} run_dir=NEW"
        )
    if not usable and not run_dir.exists():
        raise CheckpointError(
            f"{setting}={run_dir} does not exist; give a run folder of dnamdlm.finetune"
        )
    if not usable and (found := what_it_is(setting, run_dir, "head")) is not None:
        raise CheckpointError(found)
    if not usable:
        why = (
            "its probe cannot be stored, choose probe=logistic or ridge"
            if folders
            else "run python -m dnamdlm.finetune first"
        )
        raise CheckpointError(f"{setting}={run_dir} holds no fine-tuned head; {why}")
    if seed is None:
        return usable
    chosen = [folder for folder in usable if _seed_of(folder.name) == seed]
    if not chosen:
        seeds = ", ".join(str(_seed_of(folder.name)) for folder in usable)
        raise CheckpointError(f"{setting}={run_dir} has no head of seed={seed}; there are {seeds}")
    return chosen


def _seed_of(name: str) -> int:
    number = name.rpartition("_")[2]
    return int(number) if number.isdigit() else -1


def load_head(
    folder: Path, device: str = "cpu", trust: Sequence[str] = ()
) -> tuple[SequenceClassifier, dict[str, Any], TargetScale]:
    """A fine-tuned classifier, its description and the scale of its numbers.

    Raises:
        CheckpointError: if the folder is damaged or made with another vocabulary.
    """
    verify_folder(folder)
    head = head_of(folder)
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
    head = head_of(folder)
    windows = WindowSettings(**head["windows"])
    longest = int(sequences.lengths.max())
    if windows.long == "refuse" and longest > windows.length:
        raise too_long(longest, windows.length)
    return head
