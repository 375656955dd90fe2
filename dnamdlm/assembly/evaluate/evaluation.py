"""Held-out likelihood of a split under a trained model, compared with baselines.

The windows are scored in parts, and the figures are made of all of them at the end.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol

from dnamdlm.assembly.block_lengths import with_block_length
from dnamdlm.assembly.class_labels import asked_label
from dnamdlm.assembly.devices import plan_for, windows_at_once
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluate.evaluated_parts import ScoredSweep, SweptBatches, scores_in
from dnamdlm.assembly.evaluate.genome_evaluation import GenomeEvaluation
from dnamdlm.assembly.evaluate.scoring_task import ScoringTask
from dnamdlm.assembly.evaluate.text_evaluation import TextEvaluation
from dnamdlm.assembly.modality import Text, refuse_foreign
from dnamdlm.assembly.model_data import DataChanges
from dnamdlm.assembly.model_source import ModelSource
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.runner.part_runner import Job, Workforce, run_job
from dnamdlm.assembly.runner.part_settings import batches_of_part, surroundings_of
from dnamdlm.assembly.strands import with_strands
from dnamdlm.data.files import make_folder
from dnamdlm.data.output_streams import stream_of
from dnamdlm.data.parts.cutting import parse_shard
from dnamdlm.data.parts.part_folders import HASHED
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.window_scores import WindowScores
from dnamdlm.threads import running_with

# what does not change a figure, or stands in the identity of parts under another name.
_NOT_COMPARED = frozenset({
    "model", "out", "data", "batch_size", "device", "trust", "precision", "threads", "workers",
    "devices", "label", "condition", "shard", "part_rows", "given",
})  # fmt: skip


class Evaluation(Protocol):
    """What is scored, and what becomes of the scores."""

    @property
    def out(self) -> Path:
        """The file that figures go to."""
        ...

    @property
    def unit(self) -> str:
        """What is counted, a plural."""
        ...

    @property
    def sweeps(self) -> tuple[ScoredSweep, ...]:
        """What is scored."""
        ...

    @property
    def data(self) -> str:
        """Hash of what is scored, for the identity of parts."""
        ...

    def prepare(self) -> None:
        """Compute what needs no scores."""
        ...

    def finish(
        self, target: Path, found: Sequence[tuple[WindowScores, float]], command: Sequence[str]
    ) -> str:
        """Write the figures; the headline."""
        ...


def evaluate(settings: EvaluateSettings) -> tuple[Path, str]:
    """Score a split and write the figures, or score a shard of it.

    Returns:
        The JSON file, or the folder of the parts of a shard, and its headline for people.

    Raises:
        ConfigError: for a setting that does not suit the model or the data.
        DataError: for data that cannot be used, or on which the model was trained.
    """
    start_ops(settings.ops, settings.device, settings.precision)
    loaded = load_model(
        settings.model, weights=settings.weights, device=settings.device, trust=settings.trust
    )
    loaded = with_block_length(loaded, settings.block_length)
    refuse_foreign(settings, loaded.modality)
    lm = with_strands(loaded.language_model, settings.strands)
    lm.chosen_estimator(settings.estimator)
    given = asked_label(loaded, settings.label, settings.condition)
    at_once = settings.batch_size or windows_at_once(
        loaded.length, loaded.device, len(lm.vocabulary)
    )
    plan = plan_for(
        loaded.lm,
        at_once * loaded.length,
        threads=settings.threads,
        workers=settings.workers,
        devices=settings.devices,
    )
    shard = parse_shard(settings.shard)
    task = ScoringTask(
        ModelSource.of(loaded), settings.strands, settings.draws, settings.estimator, given
    )
    with running_with(plan.threads):
        evaluation = _opened(settings, loaded)
        # of several jobs one finds out whether the figures can be made.
        if shard.number == 1:
            evaluation.prepare()
        job = _job(settings, loaded, evaluation)
        passes = settings.draws * (2 if settings.strands == "both" else 1)
        outcome = run_job(
            job,
            Workforce(task, plan, (lm, loaded.device)),
            shard=shard,
            per_part=batches_of_part(
                loaded.lm,
                positions=at_once * loaded.length * passes,
                num_batches=job.num_batches,
                batch_rows=at_once,
                part_rows=settings.part_rows,
            ),
            keeps_cut=settings.part_rows is None,
        )
    return outcome.path, outcome.shard_sentence or outcome.said or ""


def join_evaluation(head: Mapping[str, Any], contents: Iterable[IO[bytes]], target: Path) -> str:
    """Write the figures from all parts, with the model and the data, but without the network.

    Returns:
        The headline.

    Raises:
        ConfigError: if the model or the data have changed since the parts were computed.
        DataError: if the data cannot be used, or the file cannot be written.
    """
    fields = dict(head["settings"])
    given = frozenset(fields.pop("given"))
    changes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in fields.pop("data").items()
    }
    data = DataChanges(**changes)
    settings = EvaluateSettings(**fields, data=data, given=given, out=str(target), device="cpu")
    loaded = load_model(
        settings.model, weights=settings.weights, device="cpu", trust=settings.trust
    )
    loaded = with_block_length(loaded, settings.block_length)
    positions = fields["batch_size"] * loaded.length
    plan = plan_for(loaded.lm, positions, threads=settings.threads)
    # the file says with how many threads it was made: as many as one command would use.
    with running_with(plan.threads):
        evaluation = _opened(settings, loaded)
        found = _contents_of(loaded, evaluation)
        if changed := [name for name, value in found.items() if head["contents"][name] != value]:
            raise ConfigError(
                f"the {changed[0]} has another content than when the parts of {target} were "
                "computed; give back what it was, or remove the folder of parts and start anew"
            )
        return evaluation.finish(target, scores_in(contents, evaluation.sweeps), head["command"])


def _opened(settings: EvaluateSettings, loaded: LoadedModel) -> Evaluation:
    if isinstance(loaded.modality, Text):
        return TextEvaluation(settings, loaded)
    return GenomeEvaluation(settings, loaded)


def _contents_of(loaded: LoadedModel, evaluation: Evaluation) -> dict[str, str]:
    return {"model": f"{HASHED}{loaded.digest}", "data": evaluation.data}


def _job(settings: EvaluateSettings, loaded: LoadedModel, evaluation: Evaluation) -> Job[Any, Any]:
    batches = SweptBatches(evaluation.sweeps)
    fields = dataclasses.asdict(settings)
    compared = {name: value for name, value in fields.items() if name not in _NOT_COMPARED}
    contents = _contents_of(loaded, evaluation)
    sizes = [sweep.batch_size for sweep in evaluation.sweeps]
    kept = replace(
        settings, model=str(loaded.folder.resolve()), batch_size=sizes[-1], devices=None,
        shard=None, part_rows=None, given=frozenset(),
    )  # fmt: skip
    own = {
        name: value
        for name, value in dataclasses.asdict(kept).items()
        if name not in ("out", "device")
    }
    if stream_of(evaluation.out) is None:
        make_folder(evaluation.out.parent)
    return Job(
        entry="evaluate",
        target=evaluation.out,
        identity={
            **contents, **compared, **settings.asked, "batch_size": sizes,
            **surroundings_of(loaded.device),
        },
        head={
            "settings": {**own, "given": sorted(settings.given)},
            "contents": contents,
            "unit": evaluation.unit,
            "command": sys.argv,
        },
        num_batches=len(batches),
        batches=batches,
        num_rows=sum(len(sweep.windows) for sweep in evaluation.sweeps),
        join=lambda head, parts, target: evaluation.finish(
            target, scores_in(parts, evaluation.sweeps), head["command"]
        ),
        label="scoring",
        unit=evaluation.unit,
    )  # fmt: skip
