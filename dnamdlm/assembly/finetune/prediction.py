"""Predictions of fine-tuned heads for new sequences or texts.

The table has one line per sequence of the input, in its order: the columns of the input, length (of
text in tokens, marks included, at most those of a window), the predicted class (or labels), and one
probability per class or label, or one value per number of a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.devices import choose_device, plan_for
from dnamdlm.assembly.divided_network import placed
from dnamdlm.assembly.finetune.finetune_settings import PredictSettings
from dnamdlm.assembly.finetune.finetuning import HEAD_WEIGHTS, SPLITS
from dnamdlm.assembly.finetune.head_record import HEAD, head_of, scale_of
from dnamdlm.assembly.finetune.predicted_parts import (
    ROWS_OF_BATCH,
    TOKENS_AT_ONCE,
    BatchesOfInput,
    SliceOfInput,
    identity_of,
    join_predictions,
    predict_facts,
    spooled_input,
)
from dnamdlm.assembly.finetune.spooled_rows import SpooledRows
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.pretrained import place_of
from dnamdlm.assembly.runner.part_runner import Job, Workforce, run_job
from dnamdlm.assembly.runner.part_settings import batches_of_part
from dnamdlm.assembly.worker_process import Advance
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.path_kinds import what_it_is
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import file_hash, read_tensors, verify_folder
from dnamdlm.lm.module_weights import load_weights
from dnamdlm.lm.published.exported_folder import is_exported
from dnamdlm.lm.states.heads import SequenceClassifier, predict_outputs
from dnamdlm.lm.states.state_pooling import WindowSettings, too_long
from dnamdlm.ops.precision import get_precision
from dnamdlm.ops.selection import get_mode
from dnamdlm.training.head_fitting import TargetScale


def predict(settings: PredictSettings) -> tuple[Path, str]:
    """Write the table of predictions, or compute a shard of it.

    Returns:
        The table, or the folder of the parts of a shard, and a sentence for people.

    Raises:
        CheckpointError: if the run holds no head that can be used.
        DataError: for an input that cannot be read.
    """
    out = Path(settings.out)
    check_target(out, inputs=inputs_of(settings))
    start_ops(settings.ops, settings.device, settings.precision)
    folders = head_folders(Path(settings.model), settings.seed)
    with spooled_input(folders[0], settings.input, settings.data, settings.trust) as rows:
        return _predicted(settings, folders, rows)


def _predicted(
    settings: PredictSettings, folders: Sequence[Path], rows: SpooledRows
) -> tuple[Path, str]:
    """Predict for rows that were checked, see `predict`."""
    reader = HeadReader(folders, settings.device, settings.trust)
    heads = [checked(folder, rows.longest) for folder in folders]
    batches = BatchesOfInput(rows, heads)
    classifier = reader.classifier(0)
    plan = plan_for(
        classifier,
        TOKENS_AT_ONCE,
        threads=settings.threads,
        workers=settings.workers,
        devices=settings.devices,
    )
    device = next(classifier.parameters()).device
    digests = [file_hash(folder / HEAD_WEIGHTS) for folder in folders]
    job = Job(
        entry="predict",
        target=Path(settings.out),
        identity=identity_of(settings, digests, rows, device),
        head={
            "text": batches.head_line,
            "num_sequences": rows.num_sequences,
            "task": heads[-1]["task"],
            "num_heads": len(heads),
            "num_faults": rows.num_faults,
        },
        num_batches=len(batches),
        batches=batches,
        num_rows=rows.num_rows,
        join=join_predictions,
        label="predicting",
        unit="sequences",
    )
    outcome = run_job(
        job,
        Workforce(
            PredictionTask(
                tuple(folders), settings.device, get_mode(), get_precision(), settings.trust
            ),
            plan,
            reader,
        ),
        shard=parse_shard(settings.shard),
        per_part=batches_of_part(
            classifier,
            positions=len(heads) * rows.num_tokens // max(1, len(batches)),
            num_batches=len(batches),
            batch_rows=ROWS_OF_BATCH,
            part_rows=settings.part_rows,
        ),
        keeps_cut=settings.part_rows is None,
    )
    return outcome.path, outcome.shard_sentence or predict_facts(job.head)


class HeadReader:
    """The classifiers of a fine-tuning run, of which the latest are kept in memory."""

    def __init__(
        self, folders: Sequence[Path], device: str, trust: Sequence[str] = (), kept: int = 1
    ) -> None:
        self.folders, self.device, self.trust, self.kept = folders, device, trust, kept
        self._latest: dict[int, SequenceClassifier] = {}

    def classifier(self, number: int) -> SequenceClassifier:
        """The classifier of a folder."""
        if number not in self._latest:
            while len(self._latest) >= self.kept:
                del self._latest[next(iter(self._latest))]
            self._latest[number] = load_head(self.folders[number], self.device, self.trust)[0]
        return self._latest[number]


@dataclass(frozen=True)
class PredictionTask:
    """Prediction in several processes.

    Attributes:
        folders: where each process finds the heads.
        device: where they run.
        ops: implementations of the primitives.
        precision: of the network.
        trust: packages besides dnamdlm whose classes they may name.
    """

    folders: tuple[Path, ...]
    device: str
    ops: str
    precision: str
    trust: tuple[str, ...] = ()

    def open(self) -> HeadReader:
        """What loads heads."""
        start_ops(self.ops, self.device, self.precision)
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
    return placed(classifier, choose_device(device)).eval(), head, scale_of(head)


def checked(folder: Path, longest: int) -> dict[str, Any]:
    """The description of a head; an error if sequences of so many tokens are too long for it."""
    verify_folder(folder)
    head = head_of(folder)
    windows = WindowSettings(**head["windows"])
    if windows.long == "refuse" and longest > windows.length:
        raise too_long(longest, windows.length)
    return head
